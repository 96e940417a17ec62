"""A session: admission, command budgets, silent and expired sockets, and how it ends."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import pytest
import uvicorn
import websockets

from protocol.closes import Close
from protocol.wire import Role
from server import limits
from server.processes.node import Server
from server.store import keys
from tests.conftest import Stores
from tests.program import eventually
from tests.site import Site, Viewer, new_gift_id

AnotherSite = Callable[[], Awaitable[Site]]


# --- admission -----------------------------------------------------------------------------------------------------
async def refused(site: Site, **how: Any) -> tuple[int, str, str | None]:
    """An upgrade that is answered with an error: status, reason, Retry-After."""
    options = {"additional_headers": how.pop("headers", None), "subprotocols": how.pop("subprotocols", None)}
    with pytest.raises(websockets.InvalidStatus) as error:
        await websockets.connect(site.address(**how), compression=None, proxy=None, **options)
    response = error.value.response
    body = response.body.decode()
    assert set(json.loads(body)) == {"error"}
    return response.status_code, json.loads(body)["error"]["reason"], response.headers.get("Retry-After")


async def test_refusals_before_the_upgrade(site: Site) -> None:
    """Refused with HTTP. No token, a forged or expired one, one for another room, and a room that does not exist."""
    good = site.token("alice")
    assert await refused(site) == (401, "token_missing", None)
    assert await refused(site, headers={"Authorization": "Basic x"}) == (401, "token_missing", None)
    assert await refused(site, token="x") == (401, "bad_token", None)
    assert await refused(site, token=good[:-3]) == (401, "bad_token", None)
    assert await refused(site, token=site.token("alice", ttl_s=-1)) == (401, "bad_token", None)
    for role in get_args(Role):
        assert await refused(site, token=site.token("alice", role, room="other")) == (403, "wrong_room", None)
    assert await refused(site, room="none", token=good) == (404, "no_such_room", None)
    for since in ("x", "1", ":5", "e:", "e:-1", "e:x", "e:" + "9" * 16, "e" * 65 + ":1"):
        assert (await refused(site, token=good, since=since))[:2] == (400, "bad_since"), since
    for chats in ("many", "-1", "1.5", "1" * 10, "%C2%B2"):
        assert (await refused(site, token=good, chats=chats))[:2] == (400, "bad_request"), chats
    assert (await site.join("alice", token=site.token("alice", room="demo"))).welcome["you"]["user_id"] == "alice"


async def join_with(site: Site, *offered: str) -> Viewer:
    """Join with these subprotocols and nothing in the address."""
    names = [websockets.Subprotocol(name) for name in offered]
    connection = await websockets.connect(site.address(), subprotocols=names, compression=None, proxy=None)
    viewer = Viewer(connection, "msgpack" if (connection.subprotocol or "").endswith("msgpack") else "json")
    site.viewers.append(viewer)
    await viewer.happened("welcome")
    return viewer


async def test_a_token_as_a_subprotocol(site: Site) -> None:
    """So it stands in no address and no log. It is never the one that is chosen, and one in the address comes first."""
    token = f"liveroom.token.{site.token('alice')}"
    for offered, chosen in (
        (("liveroom.v1.json", token), "liveroom.v1.json"),
        ((token, "liveroom.v1.msgpack"), "liveroom.v1.msgpack"),
        ((token,), None),
    ):
        viewer = await join_with(site, *offered)
        assert viewer.welcome["you"]["user_id"] == "alice"
        assert viewer.connection.subprotocol == chosen
    assert await refused(site, subprotocols=["liveroom.v1.json", "liveroom.token.x"]) == (401, "bad_token", None)
    assert await refused(site, subprotocols=["liveroom.v1.json", "liveroom.token."]) == (401, "token_missing", None)
    assert await refused(site, token="x", subprotocols=[token]) == (401, "bad_token", None)


async def test_an_unknown_subprotocol(site: Site) -> None:
    """Who offers only those that we do not speak is refused; beside one that we speak they are ignored."""
    good = site.token("alice")
    token = f"liveroom.token.{good}"
    for offered in (["graphql-ws"], ["liveroom.v2.json", "chat"], ["liveroom.v2.json", token]):
        assert await refused(site, token=good, subprotocols=offered) == (400, "unknown_subprotocol", None)
    viewer = await join_with(site, "liveroom.v2.json", "liveroom.v1.json", token)
    assert viewer.connection.subprotocol == "liveroom.v1.json"


async def test_only_who_gives_a_ref_gets_an_ok(site: Site) -> None:
    """A refusal always comes, and a gift is always answered."""
    alice = await site.join("alice")
    await alice.tell([{"type": "ping"}, {"type": "likes.send", "count": 3}, {"type": "chat.send", "text": "hi"}])
    await alice.tell({"type": "chat.shout"})
    assert (await alice.happened("refused"))["ref"] is None
    id = new_gift_id()
    await alice.tell({"type": "gifts.send", "id": id, "gift": "rose", "count": 1})
    assert (await alice.happened("ok", id=id))["ref"] is None
    await alice.tell({"type": "gifts.send", "id": new_gift_id(), "gift": "pebble", "count": 1})
    await alice.happened("refused", reason="unknown_gift")
    await alice.happened("chat.sent", text="hi")
    await alice.ask("ping")
    assert [m.get("ref") for m in alice.told if m["type"] == "ok"] == [None, "ref-1"]


async def test_a_token_in_the_header(site: Site) -> None:
    """`Authorization: Bearer` works as `?token=` does."""
    headers = {"Authorization": f"Bearer {site.token('alice')}"}
    connection = await websockets.connect(site.address(), additional_headers=headers, compression=None, proxy=None)
    viewer = Viewer(connection, "json")
    site.viewers.append(viewer)
    assert (await viewer.happened("welcome"))["you"]["user_id"] == "alice"


async def test_a_node_that_admits_nobody(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full node and a draining one say when to come again; so does a node whose room store is away."""
    token = site.token("alice")
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 1)
    await site.join("bob")
    assert await refused(site, token=token) == (503, "full", str(limits.RETRY_AFTER_S))
    monkeypatch.undo()
    site.node.sessions.draining = True
    assert await refused(site, token=token) == (503, "draining", str(limits.RETRY_AFTER_S))
    site.node.sessions.draining = False
    await site.node.room_store.stop()
    status, reason, retry_after = await refused(site, token=token, room="other")
    assert (status, reason) == (503, "unavailable")
    assert retry_after


# --- resuming ------------------------------------------------------------------------------------------------------
async def said(viewer: Viewer, *texts: str) -> int:
    """Post these messages; the seq of the last."""
    for text in texts:
        reply = await viewer.ask("chat.send", text=text)
    return int(reply["seq"])


async def test_resuming(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was missed is replayed in order and marked. If that is more than is kept, the viewer gets a gap."""
    alice = await site.join("alice")
    epoch, first = alice.welcome["epoch"], await said(alice, "one")
    last = await said(alice, "two", "three")
    bob = await site.join("bob", since=f"{epoch}:{first}")
    assert (bob.welcome["resumed"], bob.welcome["gap"]) == (True, None)
    await bob.happened("chat.sent", seq=last)
    replayed = [event for event in bob.events() if event.get("replayed")]
    assert [event["seq"] for event in replayed] == list(range(first + 1, bob.welcome["seq"] + 1))
    await said(alice, "four")
    assert "replayed" not in await bob.happened("chat.sent", text="four")
    monkeypatch.setattr(limits, "REPLAY_EVENTS_MAX", 1)
    carol = await site.join("carol", since=f"{epoch}:{first}")
    assert carol.welcome["resumed"] is False
    assert carol.welcome["gap"] == {"from": first + 1, "to": carol.welcome["seq"]}
    for since in ("another:1", f"{epoch}:{last + 1_000}"):
        gap = await site.join("dave", since=since)
        assert gap.welcome["resumed"] is False
        assert gap.welcome["gap"]["to"] == gap.welcome["seq"]


async def test_resuming_on_another_node(another_site: AnotherSite) -> None:
    """A node that has just opened the room reads its past from the history."""
    first = await another_site()
    alice = await first.join("alice")
    seq = await said(alice, "one")
    await said(alice, "two", "three")
    second = await another_site()
    bob = await second.join("bob", codec="msgpack", since=f"{alice.welcome['epoch']}:{seq}")
    assert bob.welcome["resumed"] is True
    await bob.happened("chat.sent", text="three")
    assert [event["text"] for event in bob.events("chat.sent")] == ["two", "three"]


# --- how much a client may ask -------------------------------------------------------------------------------------
async def test_too_many_commands(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above its budget each command is refused with the time to wait; a flood ends the socket; a bot may do more."""
    monkeypatch.setattr(limits, "COMMANDS_BURST", 10.0)
    monkeypatch.setattr(limits, "COMMANDS_PER_S", 0.001)
    alice, bot = await site.join("alice"), await site.join("bot", "bot")
    replies = [await alice.ask("ping") for _ in range(12)]
    assert [reply["type"] for reply in replies] == ["ok"] * 10 + ["refused"] * 2
    assert {reply["reason"] for reply in replies[10:]} == {"rate_limited"}
    assert replies[11]["retry_after_ms"] > 0
    assert (await alice.gift())["reason"] == "rate_limited"
    assert [(await bot.ask("ping"))["type"] for _ in range(40)] == ["ok"] * 40
    for _ in range(20):
        await alice.tell({"type": "chat.shout"})
    assert await alice.closed() == Close.PROTOCOL_ERROR
    assert await refused(site, token=site.token("alice")) == (429, "flooded", str(int(limits.FLOOD_WAIT_S)))


async def test_a_budget_fills_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the reported wait the next command is accepted."""
    monkeypatch.setattr(limits, "COMMANDS_BURST", 3.0)
    monkeypatch.setattr(limits, "COMMANDS_PER_S", 20.0)
    alice = await site.join("alice")
    replies = await asyncio.gather(*(alice.ask("ping") for _ in range(5)))
    wait_ms = max(reply["retry_after_ms"] for reply in replies if reply["type"] == "refused")
    assert 0 < wait_ms <= 200
    until = time.monotonic() + wait_ms / 1000
    while time.monotonic() < until:
        await asyncio.sleep(0)
    assert (await alice.ask("ping"))["type"] == "ok"


async def test_commands_under_way_have_a_bound(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that wait for a store are bounded per socket: more are refused, and every command has its one reply."""
    monkeypatch.setattr(limits, "COMMANDS_IN_FLIGHT_MAX", 5)
    alice = await site.join("alice")
    ids = [new_gift_id() for _ in range(20)]
    await alice.tell([{"type": "gifts.send", "id": id, "gift": "rose", "count": 1, "ref": id} for id in ids])
    replies = await alice.until(
        lambda told: [m for m in told if m.get("ref") in ids and m["type"] != "wallet.changed"][19:]
    )
    assert replies
    outcomes = [m["type"] for m in alice.told if m["type"] in ("ok", "refused")]
    assert (outcomes.count("ok"), outcomes.count("refused")) == (5, 15)
    assert (await alice.gift())["coins"] == 10_000 - 6


async def test_a_store_that_is_away_refuses_commands(site: Site) -> None:
    """A command that needs it is refused as unavailable, to be repeated later; the socket stays."""
    alice = await site.join("alice")
    await site.node.room_store.stop()
    reply = await alice.ask("chat.send", text="hello?")
    assert reply["reason"] == "unavailable"
    assert reply["retry_after_ms"] > 0
    assert (await alice.ask("ping"))["type"] == "ok"


# --- time ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def quick_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are checked ten times a second, and all timeouts are a fraction of the real ones."""
    monkeypatch.setattr(limits, "WHEEL_S", 0.1)
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.5)
    monkeypatch.setattr(limits, "UNRESPONSIVE_S", 3.0)


async def test_a_token_that_expires(quick_wheel: None, another_site: AnotherSite) -> None:
    """A socket ends with its token: 4003. With a fresh token it resumes where it was."""
    site = await another_site()
    alice = await site.join("alice", token=site.token("alice", ttl_s=2))
    assert await alice.closed() == Close.TOKEN_EXPIRED
    back = await site.join("alice", since=f"{alice.welcome['epoch']}:{alice.welcome['seq']}")
    assert back.welcome["resumed"] is True


async def test_a_quiet_room_beats(quick_wheel: None, another_site: AnotherSite) -> None:
    """When there is nothing else to send, a heartbeat comes, in both codecs; a peer that answers pings stays."""
    site = await another_site()
    for codec in ("json", "msgpack"):
        viewer = await site.join("screen", "overlay", codec=codec)
        await viewer.until(lambda told: sum(message == {"type": "heartbeat"} for message in told) >= 2)
        assert (await viewer.ask("ping"))["type"] == "ok"


async def test_a_peer_that_is_gone(quick_wheel: None, another_site: AnotherSite) -> None:
    """A peer that sends nothing, not even a pong, is closed with 4004."""
    site = await another_site()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    request = (
        f"GET /v1/rooms/demo/ws?token={site.token('alice')} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    writer.write(request.encode())
    heard = b""
    async with asyncio.timeout(15):
        while b"unresponsive" not in heard:
            more = await reader.read(65_536)
            assert more, heard[-200:]
            heard += more
    assert int(Close.UNRESPONSIVE).to_bytes(2) + b"unresponsive" in heard
    assert b"\x89\x00" in heard  # the node pinged it before
    writer.close()
    await writer.wait_closed()


async def test_a_socket_whose_check_fails(
    quick_wheel: None, another_site: AnotherSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sockets after it are still checked."""
    site = await another_site()
    first = await site.join("alice")
    [broken] = site.node.sessions.connections
    second = await site.join("screen", "overlay")
    look_at = site.node.sessions._wheel.look_at

    def look_at_others(connection: Any, *args: Any) -> None:
        assert connection is not broken
        look_at(connection, *args)

    monkeypatch.setattr(site.node.sessions._wheel, "look_at", look_at_others)
    await second.happened("heartbeat")
    assert (await first.ask("ping"))["type"] == "ok"


async def test_a_failed_balance_message_is_retried(
    quick_wheel: None, another_site: AnotherSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody welcomed without a balance still gets it when the first attempt to send it fails."""
    site = await another_site()
    alice = await site.join("alice")
    coins, failed = site.node.wallet.coins, list[str]()

    async def fail_once(user_id: str) -> int | None:
        if not failed:
            failed.append(user_id)
            raise RuntimeError("once")
        return await coins(user_id)

    monkeypatch.setattr(site.node.wallet, "coins", fail_once)
    balances = site.node.balances
    balances.waiting.update(balances._by_user["alice"])
    await alice.happened("wallet.changed", coins=10_000, cause="reopened")
    assert failed == ["alice"]


async def test_a_closed_partition_holds_up_no_balance(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of other partitions get their balance, however many wait for one that cannot be read."""
    monkeypatch.setattr(limits, "FLUSH_CHUNK", 1)
    closed, others = {"alice", "eve", "fay"}, ("bob", "cleo", "dan")
    viewers = {user: await site.join(user) for user in (*closed, *others)}
    balances, coins = site.node.balances, site.node.wallet.coins

    async def of_others(user_id: str) -> int | None:
        return None if user_id in closed else await coins(user_id)

    monkeypatch.setattr(site.node.wallet, "coins", of_others)
    balances.waiting.update(*balances._by_user.values())
    await balances.tell_reopened(site.node.wallet)
    assert {member.user_id for member in balances.waiting} == closed
    for user in others:
        await viewers[user].happened("wallet.changed", cause="reopened")


# --- ending --------------------------------------------------------------------------------------------------------
async def test_draining(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that leaves asks everybody to come back, finishes the gifts under way, and closes with 4001."""
    viewers = [await site.join(f"viewer-{n}", codec=("json", "msgpack")[n % 2]) for n in range(6)]
    alice = await site.join("alice")
    ids = [new_gift_id() for _ in range(20)]
    await alice.tell([{"type": "gifts.send", "id": id, "gift": "rose", "count": 1, "ref": id} for id in ids])
    await alice.happened("ok")
    await site.node.sessions.drain()
    spread = []
    for viewer in (*viewers, alice):
        assert await viewer.closed() == Close.DRAINING
        notice = next(message for message in viewer.told if message["type"] == "notice")
        assert notice["kind"] == "draining"
        spread.append(notice["reconnect_in_ms"])
    assert all(0 <= wait_ms <= limits.DRAIN_SPREAD_MS for wait_ms in spread)
    assert len([m for m in alice.told if m["type"] == "ok"]) == 20
    with stores.wallet.client() as look:
        assert look.hget(keys.wallet("alice"), "c") == "9980"


async def test_a_drain_that_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node still ends: no later signal would begin another drain."""
    began = asyncio.Event()

    async def fail() -> None:
        began.set()
        raise RuntimeError("cannot drain")

    monkeypatch.setattr(site.node.sessions, "drain", fail)
    server = Server(uvicorn.Config("unused:app"), site.node)
    server.started = True
    server.handle_exit(signal.SIGTERM, None)
    await began.wait()
    await eventually(lambda: server.should_exit, 5, "the end")
