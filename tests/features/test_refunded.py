"""Gifts that are taken back: the room's total and board go down, once, in the broadcast that the gifts were part of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

import protocol
from protocol.folding import fold
from protocol.gifts import GiftRefunded
from server import limits
from server.journal.drain import Drain
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import drained, pay
from tests.program import eventually
from tests.site import Site, new_gift_id

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards are sent soon after each other."""
    monkeypatch.setattr(limits, "BOARD_EVERY_MS", 200)


@pytest.fixture
async def journal_process(site: Site) -> AsyncIterator[Drain]:
    """A drain for which every entry is old enough to be shown."""
    async with site.draining(ahead_s=5) as drain:
        yield drain


async def refund(site: Site, drain: Drain, gift: str) -> None:
    """Refund a gift, journal it, and show the room what was taken back."""
    await drained(drain)
    (await site.http.post(f"/v1/gifts/{gift}/refund", json={})).raise_for_status()
    await drained(drain)
    await drain.retell_once()


def totals(stores: Stores) -> tuple[str | None, list[tuple[str, float]]]:
    """The room's coins and its board, as the store has them."""
    with stores.room.client() as look:
        ranks = look.zrevrange(keys.room("demo", "board"), 0, -1, withscores=True)
        return look.hget(keys.room("demo", keys.META), "coins"), ranks


async def test_a_refund_lowers_total_and_board(
    site: Site, another_site: Callable[[], Awaitable[Site]], stores: Stores, journal_process: Drain
) -> None:
    """Everybody gets the event; the board follows, and a newcomer finds the lower total."""
    alice, bob = await site.join("alice"), await (await another_site()).join("bob", codec="msgpack")
    gift = await alice.gift("rose", 30)
    await bob.gift("rose", 20)
    await alice.gift("rose", 5)
    await refund(site, journal_process, gift["id"])
    for viewer in (alice, bob):
        event = await viewer.happened("gifts.refunded", gift_id=gift["id"])
        assert (event["coins"], event["diamonds"], event["reason"]) == (30, 30, "refund")
        rows = [("bob", 20), ("alice", 5)]
        board = [
            {"rank": rank, "user": {"user_id": user, "name": user.capitalize()}, "coins": coins}
            for rank, (user, coins) in enumerate(rows, 1)
        ]
        await viewer.happened("board.changed", top=board)
    assert totals(stores) == ("25", [("bob", 20.0), ("alice", 5.0)])
    late = await (await another_site()).join("carol")
    assert late.welcome["room"]["coins"] == 25


async def test_a_board_with_the_same_total(site: Site, journal_process: Drain) -> None:
    """A new gift of as many coins as were taken back leaves the total, but not the board."""
    alice, bob = await site.join("alice"), await site.join("bob")
    gift = await alice.gift("rose", 7)
    await alice.happened("board.changed")
    await drained(journal_process)
    (await site.http.post(f"/v1/gifts/{gift['id']}/refund", json={})).raise_for_status()
    await drained(journal_process)
    await bob.gift("rose", 7)
    await journal_process.retell_once()
    await alice.happened("board.changed", top=[{"rank": 1, "user": {"user_id": "bob", "name": "Bob"}, "coins": 7}])


async def test_a_chargeback_lowers_by_its_parts(site: Site, stores: Stores, journal_process: Drain) -> None:
    """A chargeback takes only the part that its top-up paid for. A gift of another broadcast counts nowhere."""
    await site.give_coins("carol", 5)
    bought = {"id": "t1", "coins": 10, "source": "test"}
    (await site.http.post("/v1/wallets/carol/topups", json=bought)).raise_for_status()
    carol = await site.join("carol")
    old = await pay(site, "carol", 6, broadcast="an-older-one")
    gift = await carol.gift("rose", 9)
    stopping = asyncio.Event()
    running = asyncio.create_task(journal_process.run(stopping))  # a chargeback waits for the journal
    await eventually(lambda: journal_process.journaled >= 5, what="the journal")
    order = await site.http.post("/v1/topups/t1/chargeback", json={"reason": "stolen"})
    assert {part["gift_id"]: part["coins"] for part in order.json()["reversed"]} == {old: 1, gift["id"]: 9}
    event = await carol.happened("gifts.refunded")
    stopping.set()
    await running
    assert (event["gift_id"], event["coins"], event["reason"]) == (gift["id"], 9, "chargeback")
    assert totals(stores) == ("0", [])
    end = await carol.ask("chat.send", text="that is all")
    await carol.happened("chat.sent", id=end["id"])
    assert len(carol.events("gifts.refunded")) == 1


async def test_it_counts_once(site: Site, stores: Stores, journal_process: Drain) -> None:
    """Another journal process, which starts from the beginning, takes nothing back again."""
    alice = await site.join("alice")
    gift = await alice.gift("rose", 30)
    await alice.gift("rose", 30)
    await refund(site, journal_process, gift["id"])
    with stores.room.client() as room:
        for partition in range(limits.WALLET_PARTITIONS):
            room.delete(keys.shown_watermark(partition))
    async with site.draining(ahead_s=5) as another:
        await another.retell_once()
    assert totals(stores) == ("30", [("alice", 30.0)])


async def test_nothing_falls_below_zero(site: Site, stores: Stores, journal_process: Drain) -> None:
    """A room store that has lost gifts has less than is taken back."""
    alice = await site.join("alice")
    gift = await alice.gift("rose", 30)
    await alice.happened("gifts.sent")
    with stores.room.client() as room:
        room.hset(keys.room("demo", keys.META), "coins", "10")
        room.zadd(keys.room("demo", "board"), {"alice": 10})
    await refund(site, journal_process, gift["id"])
    await alice.happened("gifts.refunded", coins=30)
    assert totals(stores) == ("0", [])


async def test_the_next_broadcast_keeps_its_total(site: Site, stores: Stores, journal_process: Drain) -> None:
    """A gift of the broadcast before is taken back: the present one loses nothing and gets no event."""
    gift = await pay(site, "alice", 30)
    await journal_process.retell_once()
    assert totals(stores) == ("30", [("alice", 30.0)])
    for verb in ("end", "start"):  # while nobody is here: sockets are closed at the end
        (await site.http.post(f"/v1/rooms/demo/{verb}")).raise_for_status()
    bob = await site.join("bob")
    await bob.gift("rose", 40)
    await bob.happened("gifts.sent")
    await refund(site, journal_process, gift)
    end = await bob.ask("chat.send", text="that is all")
    await bob.happened("chat.sent", id=end["id"])
    assert bob.events("gifts.refunded") == []
    assert totals(stores) == ("40", [("bob", 40.0)])


async def test_a_gift_that_no_room_saw_is_shown_first(site: Site, stores: Stores, journal_process: Drain) -> None:
    """A gift and its refund are both waiting to be shown: first one, then the other."""
    alice = await site.join("alice")
    gift = await pay(site, "alice", 30, id=new_gift_id())
    await refund(site, journal_process, gift)
    await alice.happened("gifts.refunded", gift_id=gift)
    tags = [event["type"] for event in alice.told if event["type"] in ("gifts.sent", "gifts.refunded")]
    assert tags == ["gifts.sent", "gifts.refunded"]
    assert totals(stores) == ("0", [])


@pytest.mark.parametrize(("coins", "left"), [(7, 3), (10, 0), (11, 0)])
async def test_the_python_client_follows(site: Site, coins: int, left: int) -> None:
    """What is taken back leaves the room's coins, and never more than there is."""
    viewer = await site.join("alice")
    room = msgspec.convert({**viewer.welcome["room"], "coins": 10}, protocol.SNAPSHOT)
    event = GiftRefunded(id="r", gift_id="a", coins=coins, diamonds=0, reason="refund")
    assert fold(room, event) == msgspec.structs.replace(room, coins=left)
