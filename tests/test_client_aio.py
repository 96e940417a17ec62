"""The asyncio client on real servers: it stays in its room through lost connections, slow handlers and old tokens."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol import aio
from protocol.aio import Refused, Room, join
from protocol.chat import ChatSent
from protocol.client import Lost, Missed
from protocol.gifts import GiftSent
from protocol.ids import uuid7_ms
from protocol.ping import Ping
from protocol.session import WalletChanged, Welcome
from protocol.wire import Codec
from tests.program import Program, eventually
from tests.site import WAIT_S, Site
from tests.unsteady import UnsteadyWire


@pytest.fixture
async def wire(site: Site) -> AsyncIterator[UnsteadyWire]:
    """A wire to the site's port, which a test cuts and holds."""
    made = UnsteadyWire(lambda: site.port)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of reconnects stay random, and short."""
    monkeypatch.setattr("protocol.connecting.BACKOFF_MAX_S", 0.05)


def entering(wire: UnsteadyWire, token: Any, **options: Any) -> Room:
    return join(f"http://127.0.0.1:{wire.port}", "demo", token=token, proxy=None, **options)


async def until(room: Room, kind: type[Any], **fields: Any) -> Any:
    """The next of this kind with these fields. The ones before it are handled; itself is not yet."""
    async with asyncio.timeout(WAIT_S):
        async for told in room:
            if isinstance(told, kind) and all(getattr(told, name) == value for name, value in fields.items()):
                return told
    raise AssertionError(f"it ended without {kind}")


# --- being there ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_it_joins_and_talks_and_gives(site: Site, wire: UnsteadyWire, codec: Codec) -> None:
    """Replies are typed, events come typed, and the room and the balance are up to date."""
    bob = await site.join("bob")
    async with entering(wire, site.token("alice"), codec=codec) as room:
        await room.ready()
        assert (await room.chat("hello")).seq == (await until(room, ChatSent, text="hello")).seq
        ok = await room.gift("heart", 2, message="Hi!")
        assert (ok.duplicate, ok.coins) == (False, 9_990)
        gift = await until(room, GiftSent, id=ok.id)
        assert (gift.coins, gift.message, room.client.gift_coins) == (10, "Hi!", 10)
        assert room.client.room is not None
        assert room.client.you is not None
        assert (room.client.room.coins, room.client.you.coins) == (10, 9_990)
        with pytest.raises(Refused) as refused:
            await room.gift("no-such-gift")
        assert (refused.value.reason, refused.value.id is not None) == ("unknown_gift", True)
    await bob.happened("gifts.sent", id=ok.id)
    assert room.client.unanswered == ()


async def test_who_is_not_let_in_learns_why(site: Site, wire: UnsteadyWire) -> None:
    """Everybody who waits is refused with the reason, and the events end."""
    async with entering(wire, site.token("alice", room="other")) as room:
        with pytest.raises(Refused, match="wrong_room"):
            await room.ready()
        with pytest.raises(Refused, match="closed"):
            await room.chat("hello")
        assert [type(told) async for told in room] == [Lost]


async def test_an_address_that_cannot_be_one_is_an_error_of_the_call() -> None:
    for base in ("nonsense", "ftp://live.example", "http://"):
        with pytest.raises(ValueError, match="not an address"):
            join(base, "demo", token="t")


async def test_before_the_first_welcome_nothing_waits(wire: UnsteadyWire, site: Site) -> None:
    """A gift has the server's time in its id, which is not known yet."""
    wire.hold("down")
    async with entering(wire, site.token("alice")) as room:
        with pytest.raises(Refused, match="not_connected"):
            await room.gift("rose")
    with pytest.raises(Refused, match="closed"):
        await room.ready()


# --- coming back ---------------------------------------------------------------------------------------------------
async def test_it_comes_back_and_has_seen_every_event_once(site: Site, wire: UnsteadyWire) -> None:
    """Over ten cut connections, no message is missed and none comes twice."""
    bob = await site.join("bob")
    said = [f"message {n}" for n in range(10)]
    heard = []
    async with entering(wire, site.token("alice")) as room:
        await room.ready()
        for text in said:
            wire.cut()
            await bob.ask("chat.send", text=text)
            heard.append((await until(room, ChatSent)).text)
        assert heard == said
        assert room.client.missed == 0
    assert wire.broken >= len(said)


async def test_a_gift_whose_reply_is_lost_is_paid_once(site: Site, wire: UnsteadyWire) -> None:
    """The connection breaks between the payment and the ok: it is sent again with its id."""
    bob = await site.join("bob")
    async with entering(wire, site.token("alice")) as room:
        await room.ready()
        wire.hold("down")
        giving = asyncio.create_task(room.gift("heart"))
        shown = await bob.happened("gifts.sent")
        wire.cut()
        wire.heal()
        ok = await giving
        assert (ok.id, ok.duplicate) == (shown["id"], True)
        await until(room, GiftSent, id=ok.id)
        assert room.client.gift_coins == 5
    assert await site.coins("alice") == 9_995


async def test_what_is_asked_while_away_waits_and_is_sent_once(site: Site, wire: UnsteadyWire) -> None:
    """Gifts and messages of the time without a connection go out after the next welcome, in their order."""
    bob = await site.join("bob")
    async with entering(wire, site.token("alice")) as room:
        await room.ready()
        wire.refusing = 1_000
        wire.cut()
        await until(room, Lost)
        waiting = [asyncio.create_task(each) for each in (room.chat("one"), room.gift("rose"), room.chat("two"))]
        await asyncio.sleep(0)
        assert len(room.client.unanswered) == 3
        with pytest.raises(Refused, match="not_connected"):
            await room.likes()  # worth nothing later
        wire.heal()
        await asyncio.gather(*waiting)
    assert [each["text"] for each in bob.events("chat.sent")] == ["one", "two"]
    assert await site.coins("alice") == 9_999


async def test_a_message_that_was_sent_is_not_sent_again(site: Site, wire: UnsteadyWire) -> None:
    """Nobody knows whether it arrived: the caller learns so, and decides."""
    async with entering(wire, site.token("alice")) as room:
        await room.ready()
        wire.hold("up")
        saying = asyncio.create_task(room.chat("hello"))
        await eventually(lambda: room.client.unanswered)
        wire.cut()
        wire.heal()
        with pytest.raises(Refused, match="connection_lost"):
            await saying


async def test_what_waits_has_a_bound_and_an_end(site: Site, wire: UnsteadyWire) -> None:
    """The 51st is refused at once; what nobody answers is given up, and was never sent."""
    async with entering(wire, site.token("alice"), timeout_s=0.05) as room:
        await room.ready()
        wire.refusing = 1_000
        wire.cut()
        await until(room, Lost)
        asked = await asyncio.gather(*(room.chat(f"{n}") for n in range(51)), return_exceptions=True)
        reasons = Counter(each.reason for each in asked if isinstance(each, Refused))
        assert reasons == {"not_connected": 50, "queue_full": 1}
        assert room.client.unanswered == ()


async def test_who_leaves_refuses_what_waits(site: Site, wire: UnsteadyWire) -> None:
    room = entering(wire, site.token("alice"))
    async with room:
        await room.ready()
        wire.hold("up")
        giving = asyncio.create_task(room.gift("rose"))
        await eventually(lambda: room.client.unanswered)
    with pytest.raises(Refused, match="closed") as refused:
        await giving
    assert refused.value.id is not None


# --- the position --------------------------------------------------------------------------------------------------
async def test_the_position_moves_when_an_event_is_handled(site: Site, wire: UnsteadyWire) -> None:
    """A bot that dies in the middle of an event gets it again with the position that it kept."""
    bob = await site.join("bob")
    async with entering(wire, site.token("alice")) as room:
        await until(room, Welcome)
        for text in ("one", "two"):
            await bob.ask("chat.send", text=text)
        await until(room, ChatSent, text="one")
        await eventually(lambda: room.client.seq >= bob.events("chat.sent")[-1]["seq"])
        kept = room.since  # while "one" is handled
    async with entering(wire, site.token("alice"), since=kept) as again:
        assert (await until(again, ChatSent)).text == "one"
        assert (await until(again, ChatSent)).text == "two"
        assert again.client.missed == 0


async def test_a_handler_may_ask_however_much_waits_behind_it(
    site: Site, wire: UnsteadyWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound nothing is read, unless a reply is awaited: a handler cannot lock itself out."""
    monkeypatch.setattr(aio, "NEWS_MAX", 3)
    bob = await site.join("bob")
    async with entering(wire, site.token("alice")) as room:
        await until(room, Welcome)
        for n in range(20):
            await bob.ask("chat.send", text=f"{n}")
        await eventually(lambda: len(room._news) >= 3)
        async with asyncio.timeout(WAIT_S):
            assert (await room.gift("rose")).coins == 9_999
        heard = [(await until(room, ChatSent)).text for _ in range(20)]
        assert heard == [f"{n}" for n in range(20)]


# --- tokens, silence and clocks --------------------------------------------------------------------------------------
async def test_a_token_is_replaced_on_its_socket_and_in_one_chain(site: Site, wire: UnsteadyWire) -> None:
    """Over lost connections there is one refresh at a time, and no expired token ends the stay."""
    asked = []

    async def token() -> str:
        asked.append(asyncio.get_running_loop().time())
        return site.token("alice", ttl_s=1.5)

    async with entering(wire, token) as room:
        await room.ready()
        for _ in range(3):
            wire.cut()
            await until(room, Welcome)
        before = len(asked)
        await eventually(lambda: len(asked) >= before + 2)
        assert room.live
        chains = [task for task in asyncio.all_tasks() if "_keep_fresh" in str(task.get_coro())]
        assert len(chains) == 1
        assert (await room.chat("still here")).seq > 0


async def test_a_bad_token_is_replaced_once(site: Site, wire: UnsteadyWire) -> None:
    """A plain function may block: it runs in a thread. Two bad tokens are the end."""
    given = ["bad", site.token("alice")]
    async with entering(wire, lambda: given.pop(0)) as room:
        await room.ready()
    given = ["bad", "bad"]
    async with entering(wire, lambda: given.pop(0)) as room:
        with pytest.raises(Refused, match="bad_token"):
            await room.ready()


async def test_a_function_that_fails_is_asked_again(site: Site, wire: UnsteadyWire) -> None:
    given = [RuntimeError("the platform is away"), site.token("alice")]

    async def token() -> str:
        found = given.pop(0)
        if isinstance(found, Exception):
            raise found
        return str(found)

    async with entering(wire, token) as room:
        await room.ready()


async def test_a_fixed_token_that_has_expired_is_the_end(site: Site, wire: UnsteadyWire) -> None:
    async with entering(wire, site.token("alice", ttl_s=-5)) as room:
        with pytest.raises(Refused):
            await room.ready()


async def test_a_silent_server_is_asked_before_it_is_given_up(
    site: Site, wire: UnsteadyWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer keeps the connection; without one the client comes back."""
    monkeypatch.setattr(aio, "SLACK_S", 0.1)
    async with entering(wire, site.token("alice")) as room:
        await until(room, Welcome)
        room._heartbeat_s = 0.0
        bob = await site.join("bob")
        await bob.ask("chat.send", text="this ends the wait that began before")
        await until(room, ChatSent)
        asked = room.client._unanswered
        await eventually(lambda: isinstance(asked.all[0], Ping) if asked.all else False)
        assert room.live
        wire.hold("down")
        lost = await until(room, Lost)
        assert (lost.code, lost.comes_back) == (4004, True)
        wire.cut()
        wire.heal()
        await until(room, Welcome)


async def test_a_gift_has_the_servers_time_whatever_our_clocks_do(
    site: Site, wire: UnsteadyWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We slept for three hours, in which our clock stopped: the server's next event sets it right."""
    asleep_ms = 0
    running = aio._running_ms
    monkeypatch.setattr(aio, "_running_ms", lambda: running() - asleep_ms)
    bob = await site.join("bob")
    async with entering(wire, site.token("alice")) as room:
        await room.ready()
        asleep_ms = 3 * 3600 * 1000
        await bob.ask("chat.send", text="good morning")
        told = await until(room, ChatSent)
        ok = await room.gift("rose")
        assert not ok.duplicate
        assert uuid7_ms(ok.id) >= told.at_ms


async def test_a_node_that_stops_is_left_when_it_says_so(site: Site, wire: UnsteadyWire) -> None:
    """The notice has a time of its own for everybody."""
    async with entering(wire, site.token("alice")) as room:
        await until(room, Welcome)
        room._leave_at = aio._running_s() + 0.05
        await (await site.join("bob")).ask("chat.send", text="bye")
        assert (await until(room, Lost)).code == 4001
        await until(room, Welcome)


async def test_a_gap_is_told(site: Site, wire: UnsteadyWire) -> None:
    """A position of another epoch: what is lost is named, and the room is the snapshot's."""
    async with entering(wire, site.token("alice"), since="019a0a3c6b1e7c5d8f00:7") as room:
        await until(room, Welcome, resumed=False)
        await until(room, Missed)


async def test_a_program_that_is_killed_and_comes_back() -> None:
    """SIGKILL of everything, twice: the client comes back by itself, what it asked meanwhile is paid once."""
    program = Program()
    try:
        await program.start()
        token = await program.token("alice")
        async with join(program.url, "demo", token=token, proxy=None) as room:
            await room.ready()
            for n in (1, 2):
                assert not (await room.gift("rose")).duplicate
                await program.kill_tree()
                await until(room, Lost)
                giving = asyncio.create_task(room.gift("rose"))
                await program.start()
                assert (await giving).coins == 10_000 - 2 * n
                await until(room, WalletChanged, coins=10_000 - 2 * n)
            assert room.client.gift_coins == 4 or room.client.missed > 0
        assert await program.coins("alice") == 9_996
    finally:
        await program.discard()
