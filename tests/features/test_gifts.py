"""Gifts: payment, repeats, refusals, balances, streaks, and showing each one once."""

import asyncio
import urllib.parse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from server import limits
from server.features.gifts import SHOW
from server.store import keys
from tests.conftest import Stores
from tests.money import assert_conserved
from tests.site import Site, Viewer, new_gift_id
from tests.stores import ValkeyProcess, settings

AnotherSite = Callable[[], Awaitable[Site]]


@pytest.fixture(autouse=True)
def books_balance(stores: Stores) -> Any:
    """After every gift of these tests no coin is lost and none is created."""
    yield
    with stores.wallet.client() as look:
        assert_conserved(look)


async def test_a_gift_is_paid_and_everybody_sees_it(site: Site) -> None:
    """The sender gets the balance and the room the gift, with what was paid in it; the creator is shown as host."""
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    overlay = await site.join("screen", "overlay")
    id = new_gift_id()
    assert (await alice.gift(message="\u200b \u2800"))["reason"] == "bad_command"
    reply = await alice.gift("coffee", 3, id=id, message=" for\u202e you\n☕")
    assert {name: reply[name] for name in ("type", "id", "duplicate", "coins", "combo")} == {
        "type": "ok",
        "id": id,
        "duplicate": False,
        "coins": 9_970,
        "combo": None,
    }
    for viewer in (alice, bob, overlay):
        event = await viewer.happened("gifts.sent", id=id)
        assert event["from"] == {"user_id": "alice", "name": "Alice", "role": "viewer", "badges": []}
        assert event["to"] == {"user_id": "creator", "name": "Creator", "role": "host", "badges": []}
        assert event["gift"]["id"] == "coffee"
        assert set(event["gift"]["animation"]) == {"kind", "url", "duration_ms"}
        assert (event["gift"]["coins"], event["count"], event["coins"], event["diamonds"]) == (10, 3, 30, 15)
        assert (event["message"], event["combo"], event["test"]) == ("for you ☕", None, False)
    assert await site.coins("alice") == 9_970


@pytest.mark.parametrize("user", ["auth0|5f7c8ec7c33c6c004bbafe82", "ann+live@example.com"])
async def test_ids_of_other_platforms(site: Site, user: str) -> None:
    """An id of an identity provider or an e-mail address works everywhere, in addresses, keys and books."""
    body = {"id": "t-1", "coins": 50, "source": "shop"}
    path = f"/v1/wallets/{urllib.parse.quote(user, safe='')}"
    assert (await site.http.post(f"{path}/topups", json=body)).status_code == 201
    viewer = await site.join(user)
    assert viewer.welcome["you"]["coins"] == 50
    reply = await viewer.gift("rose", 5, combo="tap")
    assert (await viewer.happened("gifts.sent", id=reply["id"]))["from"]["user_id"] == user
    await viewer.happened("gifts.combo_ended")
    assert (await viewer.ask("chat.send", text="hello"))["type"] == "ok"
    assert (await viewer.happened("board.changed"))["top"][0]["user"]["user_id"] == user
    assert (await site.http.get(path)).json()["coins"] == 45
    await site.settled()
    assert [entry["kind"] for entry in (await site.http.get(f"{path}/entries")).json()["entries"]] == ["gift", "topup"]


async def test_the_same_gift_again(site: Site, another_site: AnotherSite) -> None:
    """A repeated id is paid and shown once, on whichever node it is repeated, and gets the first outcome again."""
    alice = await site.join("alice")
    id = new_gift_id()
    first = await alice.gift("coffee", 1, id=id)
    await alice.gift("rose", 1)
    other = await (await another_site()).join("alice")
    for viewer in (alice, other):
        again = await viewer.gift("coffee", 1, id=id)
        assert (again["type"], again["duplicate"], again["coins"]) == ("ok", True, first["coins"])
    end = await alice.ask("chat.send", text="that is all")
    await alice.happened("chat.sent", id=end["id"])
    assert [event["coins"] for event in alice.events("gifts.sent")] == [10, 1]
    assert await site.coins("alice") == 9_989


async def test_the_same_id_at_once_on_two_nodes(another_site: AnotherSite) -> None:
    """A client that sends on two sockets at once pays once."""
    viewers = [await (await another_site()).join("alice") for _ in range(2)]
    id = new_gift_id()
    replies = await asyncio.gather(*(viewer.gift("coffee", 1, id=id) for viewer in viewers for _ in range(5)))
    assert [reply["type"] for reply in replies] == ["ok"] * 10
    assert sorted(reply["duplicate"] for reply in replies) == [False] + [True] * 9
    assert {reply["coins"] for reply in replies} == {9_990}


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("unknown_gift", {"gift": "unicorn"}),
    ("receiver_not_eligible", {"to": "bob"}),
    ("receiver_not_eligible", {"to": "nobody"}),
    ("self_gift", {"to": "alice"}),
    ("insufficient_coins", {"gift": "rocket", "count": 2}),
    ("insufficient_coins", {"gift": "rocket", "count": 9_999}),
    ("bad_command", {"count": 0}),
    ("bad_command", {"count": 10_000}),
    ("bad_command", {"id": "1"}),
    ("bad_command", {"coins": 0}),  # no price of one's own
]


async def test_refused(site: Site) -> None:
    """A refusal says why, costs nothing, shows nothing, and leaves the socket open."""
    alice = await site.join("alice")
    expired = [("expired_id", {"id": new_gift_id(hours * 3_600_000)}) for hours in (-3, 1)]
    for reason, fields in REFUSED + expired:
        reply = await alice.gift(**{"gift": "rose", "count": 1, **fields})
        assert (reply["type"], reply["reason"]) == ("refused", reason), fields
        assert reply["message"]
        if reason == "insufficient_coins":
            assert (reply["need"], reply["have"]) == (10_000 * fields["count"], 10_000)
    assert (await alice.gift())["coins"] == 9_999
    await alice.happened("gifts.sent")
    assert len(alice.events("gifts.sent")) == 1


async def test_a_conflict(site: Site) -> None:
    """An id that was used for another gift, count or message pays nothing."""
    alice = await site.join("alice")
    id = new_gift_id()
    await alice.gift("rose", 1, id=id)
    for changed in ({"gift": "heart"}, {"count": 2}, {"message": "x"}, {"combo": "c"}):
        assert (await alice.gift(**{"gift": "rose", "count": 1, "id": id, **changed}))["reason"] == "conflict"
    assert await site.coins("alice") == 9_999


async def test_hosts_and_overlays_may_not_give(site: Site) -> None:
    """Hosts cannot give to themselves, and overlays cannot give at all."""
    host, overlay = await site.join("creator", "host"), await site.join("screen", "overlay")
    assert (await host.gift())["reason"] == "self_gift"
    assert (await overlay.gift())["reason"] == "not_allowed"


async def test_gifts_can_be_off(site: Site) -> None:
    """With gifts off everybody is refused; chat goes on."""
    await site.put_room("shy", gifts=False)
    alice = await site.join("alice", room="shy")
    assert (await alice.gift())["reason"] == "gifts_off"
    assert (await alice.ask("chat.send", text="hi"))["type"] == "ok"


@pytest.mark.parametrize("turn", ["offline", "pause", "end", "suspend"])
async def test_only_in_a_live_room(site: Site, turn: str) -> None:
    """Gifts before a broadcast, in a pause and after its end are refused."""
    await site.put_room("other", live=turn != "offline")
    if turn != "offline":
        await site.http.post(f"/v1/rooms/other/{turn}")
    alice = await site.join("alice", room="other")
    assert (await alice.gift())["reason"] == "room_not_live"


async def test_a_frozen_wallet(site: Site, stores: Stores) -> None:
    """A frozen wallet pays nothing and says so."""
    alice = await site.join("alice")
    with stores.wallet.client() as store:
        store.hset(keys.wallet("alice"), "st", "frozen")
    assert (await alice.gift())["reason"] == "wallet_frozen"


async def test_gifts_fail_alone_when_the_wallet_store_is_away(
    stores: Stores, own_store: ValkeyProcess, journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its wallet store a room goes on: chat works, and gifts are refused, to be repeated with their ids.

    Newcomers of that time get the balance when the store is back.
    """
    monkeypatch.setattr(limits, "SPEND_WAIT_S", 0.2)
    monkeypatch.setattr(limits, "WHEEL_S", 0.1)
    addresses = {"WALLET": f"unix://{own_store.socket}", "ROOM": f"unix://{stores.room.socket}", "JOURNAL": journal}
    site = Site(settings(tmp_path, **{f"LIVEROOM_{name}_URL": url for name, url in addresses.items()}))
    await site.start()
    try:
        alice = await site.join("alice")
        own_store.kill()
        id = new_gift_id()
        refused = await alice.gift(id=id)
        assert refused["reason"] == "wallet_unavailable"
        assert refused["retry_after_ms"] > 0
        assert (await alice.ask("chat.send", text="hi"))["type"] == "ok"
        assert (await site.http.get("/readyz")).status_code == 200
        bob, carol = await site.join("bob"), await site.join("carol", codec="msgpack")
        assert [each.welcome["you"]["coins"] for each in (bob, carol)] == [None, None]
        screen = await site.join("screen", "overlay")
        own_store.start()
        await site.node.wallet.wait_up(10)
        assert (await alice.gift(id=id))["coins"] == 9_999
        await alice.happened("gifts.sent", id=id)
        for viewer, coins in ((bob, 10_000), (carol, 0)):
            await viewer.happened("wallet.changed", coins=coins, cause="reopened", ref=None, entry=None)
        assert [m["cause"] for m in alice.told + screen.told if m["type"] == "wallet.changed"] == ["gift"]
    finally:
        await site.stop()


# --- who gets balances ---------------------------------------------------------------------------------------------
def balances(viewer: Viewer) -> list[int]:
    return [message["coins"] for message in viewer.told if message["type"] == "wallet.changed"]


async def test_every_socket_of_the_sender_gets_the_balance(another_site: AnotherSite) -> None:
    """All tabs and phones of one person, on every node, get it; nobody else ever does."""
    first, second = await another_site(), await another_site()
    alices = [await first.join("alice"), await first.join("alice", codec="msgpack"), await second.join("alice")]
    bobs = [await first.join("bob"), await second.join("bob")]
    reply = await alices[0].gift("coffee", 1)
    await first.give_coins("alice", 500)
    for viewer in alices:
        told = await viewer.happened("wallet.changed", cause="gift")
        assert (told["coins"], told["ref"]) == (9_990, reply["id"])
        topup = await viewer.happened("wallet.changed", cause="topup")
        assert topup["coins"] == 10_490
        assert balances(viewer) == [9_990, 10_490]
    for viewer in bobs:
        end = await viewer.ask("chat.send", text="nothing for me?")
        await viewer.happened("chat.sent", id=end["id"])
        assert "wallet.changed" not in {message["type"] for message in viewer.told}
        assert "9990" not in str(viewer.told)
        assert "10490" not in str(viewer.told)
    await alices[0].leave()
    await first.give_coins("alice", 1)
    await alices[1].happened("wallet.changed", coins=10_491)  # one socket of a person leaves: the others stay


async def test_a_duplicate_changes_no_balance(site: Site) -> None:
    """Neither a duplicate nor a refusal is announced as a change."""
    alice = await site.join("alice")
    id = new_gift_id()
    await alice.gift("coffee", 1, id=id)
    await alice.gift("coffee", 1, id=id)
    await alice.gift("rocket", 2)
    await alice.gift("rose", 1)
    await alice.happened("wallet.changed", coins=9_989)
    assert balances(alice) == [9_990, 9_989]


# --- streaks -------------------------------------------------------------------------------------------------------
async def test_a_streak_runs_and_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gift has the streak's count so far; when no more follow, the streak ends once, with all that was paid."""
    monkeypatch.setattr(limits, "COMBO_GAP_MS", 600)
    alice, bob = await site.join("alice"), await site.join("bob")
    replies = [await alice.gift("rose", count, combo="c1") for count in (1, 2, 3)]
    assert [reply["combo"] for reply in replies] == [{"id": "c1", "count": n} for n in (1, 3, 6)]
    for viewer in (alice, bob):
        ended = await viewer.happened("gifts.combo_ended")
        assert ended["combo"] == {"id": "c1", "count": 6}
        assert (ended["coins"], ended["gift"]["id"]) == (6, "rose")
        assert (ended["from"]["user_id"], ended["to"]["user_id"]) == ("alice", "creator")
        shown = viewer.events("gifts.sent")
        assert sorted(event["combo"]["count"] for event in shown) == [1, 3, 6]
        assert sum(event["coins"] for event in shown) == ended["coins"]
        assert max(event["seq"] for event in shown) < ended["seq"]
    await bob.gift("rose", 1, combo="c2")
    await bob.happened("gifts.combo_ended", combo={"id": "c2", "count": 1})
    assert [event["combo"]["id"] for event in bob.events("gifts.combo_ended")] == ["c1", "c2"]
    late = await site.join("late")
    assert late.welcome["room"]["open_combos"] == [] or await late.happened("gifts.combo_ended")


async def test_streaks_of_two_people_and_two_gifts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streaks of the same name run beside each other: one for each sender and gift."""
    monkeypatch.setattr(limits, "COMBO_GAP_MS", 600)
    alice, bob = await site.join("alice"), await site.join("bob")
    await asyncio.gather(*(viewer.gift("rose", 2, combo="c") for viewer in (alice, bob, alice)))
    await alice.until(lambda told: sum(message["type"] == "gifts.combo_ended" for message in told) == 2)
    ended = {event["from"]["user_id"]: event for event in alice.events("gifts.combo_ended")}
    assert (ended["alice"]["combo"]["count"], ended["alice"]["coins"]) == (4, 4)
    assert (ended["bob"]["combo"]["count"], ended["bob"]["coins"]) == (2, 2)


async def test_an_open_streak_is_shown_to_newcomers(site: Site) -> None:
    """A newcomer during a streak finds it in the snapshot or in the events after it."""
    alice = await site.join("alice")
    await alice.gift("rose", 5, combo="c1")
    await alice.happened("gifts.sent")
    late = await site.join("late")
    if late.welcome["room"]["open_combos"]:
        (combo,) = late.welcome["room"]["open_combos"]
        assert (combo["id"], combo["count"], combo["coins"], combo["gift"]) == ("c1", 5, 5, {"id": "rose"})
        assert combo["from"]["user_id"] == "alice"
    else:
        await late.happened("gifts.sent")


async def test_a_streak_whose_node_died(another_site: AnotherSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node of the room ends it."""
    monkeypatch.setattr(limits, "COMBO_GAP_MS", 1_000)
    first, second = await another_site(), await another_site()
    alice, bob = await first.join("alice"), await second.join("bob")
    await alice.gift("rose", 2, combo="c1")
    await bob.happened("gifts.sent")
    await first.stop()
    ended = await bob.happened("gifts.combo_ended")
    assert ended["combo"] == {"id": "c1", "count": 2}


async def test_many_gifts_of_many_people(another_site: AnotherSite) -> None:
    """In a burst on two nodes everybody sees each gift once, and what is seen is what was paid."""
    sites = [await another_site(), await another_site()]
    people = [f"giver-{n}" for n in range(10)]
    for person in people:
        await sites[0].give_coins(person, 40)
    viewers = [await sites[n % 2].join(person) for n, person in enumerate(people)]
    replies = await asyncio.gather(*(viewer.gift("rose", 10) for viewer in viewers for _ in range(6)))
    paid = {reply["id"] for reply in replies if reply["type"] == "ok"}
    assert len(paid) == 40
    assert {reply["reason"] for reply in replies if reply["type"] == "refused"} == {"insufficient_coins"}
    for viewer in viewers:
        await viewer.until(lambda told: sum(message["type"] == "gifts.sent" for message in told) == 40)
        assert {event["id"] for event in viewer.events("gifts.sent")} == paid
        assert sum(event["coins"] for event in viewer.events("gifts.sent")) == 400
        seqs = [event["seq"] for event in viewer.events()]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


class Held:
    """Holds the first call to the room store that shows gifts, until `go` is set; records the size of each."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.asked, self.sizes = asyncio.Event(), asyncio.Event(), list[int]()
        history = site.node.history
        change = history.change

        async def held(room_id: str, script: Any, **named: Any) -> Any:
            if script is SHOW:
                self.sizes.append(len(named["each"]))
                self.asked.set()
                await self.go.wait()
            return await change(room_id, script, **named)

        monkeypatch.setattr(history, "change", held)


async def test_waiting_gifts_share_a_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid while the room store works is shown by the next call, in the order of payment."""
    monkeypatch.setattr(limits, "SHOW_BATCH_MAX", 8)
    held = Held(site, monkeypatch)
    alice = await site.join("alice", "bot")
    first = await alice.gift("rose", 1)
    await held.asked.wait()
    replies = [await alice.gift("rose", 1) for _ in range(10)]
    assert held.sizes == [1]
    held.go.set()
    await alice.until(lambda _: len(alice.events("gifts.sent")) == 11)
    assert held.sizes == [1, 8, 2]
    assert [event["id"] for event in alice.events("gifts.sent")] == [first["id"], *(reply["id"] for reply in replies)]


async def test_gifts_that_wait_into_the_next_broadcast(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the gifts in one call, only those of the current broadcast count: the other broadcast is over."""
    held = Held(site, monkeypatch)
    alice = await site.join("alice", "bot")
    for number in (1, 2):
        await alice.gift("coffee", number, combo="c")
    await held.asked.wait()
    for verb in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{verb}")
    await alice.closed()
    alice = await site.join("alice", "bot")
    reply = await alice.gift("rose", 1)
    held.go.set()
    await alice.happened("gifts.sent", id=reply["id"])
    assert held.sizes == [1, 2]
    assert len(alice.events("gifts.sent")) == 1
    with stores.room.client() as look:
        assert look.hget(keys.room("demo", keys.META), "coins") == "1"
        assert look.zrange(keys.room("demo", "board"), 0, -1, withscores=True) == [("alice", 1.0)]
        assert look.hlen(keys.room("demo", "state")) == 0
    assert site.node.history.other_broadcast == 2


async def test_more_gifts_than_may_wait_to_be_shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound a gift is still paid, and the journal shows it from the ledger."""
    monkeypatch.setattr(limits, "SHOW_QUEUE_MAX", 3)
    held = Held(site, monkeypatch)
    alice = await site.join("alice", "bot")
    paid = [(await alice.gift("rose", 1))["id"]]
    await held.asked.wait()
    paid += [(await alice.gift("rose", 1))["id"] for _ in range(6)]
    held.go.set()
    await alice.until(lambda _: len(alice.events("gifts.sent")) == 4)
    async with site.draining(ahead_s=5) as drain:
        await drain.retell_once()
    await alice.until(lambda _: len(alice.events("gifts.sent")) == 7)
    assert sorted(event["id"] for event in alice.events("gifts.sent")) == sorted(paid)
