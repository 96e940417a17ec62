"""Money time in SQL: it begins once, moves by uptime, and decides when receipts of orders are deleted."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, update

from protocol.ids import TopUpId, UserId
from server import limits
from server.clock import Clock, Uptime
from server.journal import database, moneytime
from server.journal.moneytime import Mover, Walls, begun, moved
from server.journal.tables import money_time, reversals, topups
from server.orders.topups import TopUp
from server.store import keys, receipts
from server.store.client import Store
from server.store.scripts import Call
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import drained
from tests.site import WAIT_S, Site

CLOCK = Clock(time.time)
T0 = 1_800_000_000_000
HOUR_MS = 3_600_000


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


@pytest.fixture
async def money(stores: Stores) -> AsyncIterator[Store]:
    made = Store("wallet", f"unix://{stores.wallet.socket}", scripts=moneytime.SCRIPTS)
    await made.start()
    await made.wait_up(WAIT_S)
    yield made
    await made.stop()


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def test_it_begins_once(engine: Engine) -> None:
    """The first reader begins it at its wall clock; others find it, whatever their clocks say."""
    first = moneytime.read(engine, CLOCK)
    assert abs(first.now_ms - CLOCK.now_ms()) < 60_000
    assert (first.agreed_ms, first.owed_ms, first.settled_ms) == (0, 0, 0), "nothing is owed, and no id was refused yet"
    assert moneytime.read(engine, Clock(lambda: 0)) == first


def test_it_moves_by_uptime(engine: Engine) -> None:
    """It follows the machine's uptime; of two processes that move it from the same point, one changes nothing."""
    began = moneytime.read(engine, CLOCK)
    ahead = Clock(lambda: time.time() + 7_200)
    uptimes = iter((5_000, 65_000, 125_000, 125_000))
    uptime = Uptime("boot", lambda: next(uptimes))
    for minutes in (0, 1, 2, 2):
        now = moneytime.move(engine, ahead, uptime)
        assert (now.now_ms - began.now_ms, now.boot) == (minutes * 60_000, "boot")
        assert moneytime.read(engine, CLOCK) == now


def test_two_processes_move_it(engine: Engine) -> None:
    """Of two that move it from the same point, one changes nothing: it does not pass twice as fast."""
    ahead = Clock(lambda: time.time() + 7_200)
    moneytime.read(engine, CLOCK)
    moneytime.move(engine, ahead, Uptime("boot", lambda: 5_000))
    was = moneytime.read(engine, CLOCK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moneytime, "read", lambda *_: was)
        moneytime.move(engine, ahead, Uptime("boot", lambda: 65_000))
        assert moneytime.move(engine, ahead, Uptime("boot", lambda: 125_000)) == was
    assert moneytime.read(engine, CLOCK).now_ms == was.now_ms + 60_000


def test_this_machines_uptime() -> None:
    """It counts the time that the machine was suspended, and names this run of the machine."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    assert before - 1 <= Uptime().now_ms() <= time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    assert Uptime().boot == Uptime().boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# Wall clocks: (earliest, latest), in hours after T0. Money time is at T0, and all is owed.
CASES = {
    "an hour, as the clocks say": (1, True, 0, (1, 1), 1),
    "an hour, though a wall clock has jumped": (1, True, 0, (1, 800), 1),
    "an hour, though both have jumped": (1, True, 0, (800, 800), 1),
    "it never passes all clocks": (1, True, 0, (0, 0), 0),
    "it may pass one": (1, True, 0, (0, 1), 1),
    "another machine, another start": (1, False, 0, (3, 3), 0),
    "what is owed is paid when clocks and uptime agree": (1, True, 4, (5, 5), 5),
    "what is owed is not paid by a clock that has jumped": (1, True, 3, (5, 5), 1),
    "what is owed is paid up to the earliest clock": (1, True, 2, (3, 900), 3),
}


@pytest.mark.parametrize(("hours", "known", "wall", "walls", "to"), CASES.values(), ids=CASES.keys())
def test_a_move(hours: int, known: bool, wall: int, walls: tuple[int, int], to: int) -> None:
    """One move: the uptime since the last, where the wall clock was then, what it says now, and where it leads."""
    was = moved(begun(T0), "boot", 0, Walls(T0 + wall * HOUR_MS, T0 + wall * HOUR_MS))
    now = Walls(*(T0 + hour * HOUR_MS for hour in walls))
    assert moved(was, "boot" if known else "another", hours * HOUR_MS, now).now_ms == T0 + to * HOUR_MS


@pytest.mark.parametrize(
    ("elapsed", "wall", "owed", "agreed"),
    [(60, 60, 5, 75), (60, 20, 5 + 40, 0), (60, -60, 5 + 60, 0), (0, 0, 5, 15), (60, 61, 5, 75), (60, 63, 5, 0)],
)
def test_what_is_owed(elapsed: int, wall: int, owed: int, agreed: int) -> None:
    """What it did not move by is owed. In seconds: the uptime and the wall clocks' move, and what follows."""
    some = {"boot": "boot", "owed_ms": 5_000, "agreed_ms": 15_000, "wall_ms": T0}
    was = msgspec.structs.replace(begun(T0), **some)
    now = moved(was, "boot", elapsed * 1000, Walls(T0 + wall * 1000, T0 + wall * 1000))
    assert (now.owed_ms, now.agreed_ms) == (owed * 1000, agreed * 1000)
    assert now.now_ms == T0 + max(0, min(elapsed, wall)) * 1000


def test_ids_are_settled_after_a_margin() -> None:
    """What is below the floor now may be forgotten when the margin has passed twice at most."""
    was = msgspec.structs.replace(begun(T0), boot="boot", next_ms=7, settled_ms=3)
    margin_ms = limits.RECEIPT_MARGIN_MS
    early = moved(was, "boot", margin_ms - 1, Walls(T0 + margin_ms, T0 + margin_ms))
    assert (early.settled_ms, early.next_ms, early.next_in_ms) == (3, 7, 1)
    due = moved(was, "boot", margin_ms, Walls(T0 + margin_ms, T0 + margin_ms))
    assert (due.settled_ms, due.next_ms, due.next_in_ms) == (7, T0 + margin_ms, margin_ms)


async def test_old_receipts_of_orders(site: Site, money: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go when SQL has had the order as posted for 30 days; those of younger and of pending orders stay."""
    monkeypatch.setattr(limits, "FORGET_ORDERS_BATCH", 2)
    orders = [f"order-{n}" for n in range(5)]
    for order in orders:
        await site.node.purchases.top_up(UserId("cleo"), TopUp(TopUpId(order), 10, "test"))
    await site.node.freezes.freeze("cleo", "f1")
    async with site.draining() as drain:
        await drained(drain)
    names = [*(keys.receipt("cleo", f"topup:{order}") for order in orders), keys.receipt("cleo", "freeze:f1")]
    assert [await money.call("EXISTS", name) for name in names] == [1] * 6
    old_ms = CLOCK.now_ms() - limits.ORDER_RECEIPT_MS
    with site.node.engine.begin() as connection:
        connection.execute(update(money_time).values(orders_ms=old_ms - 9_000))
        for order, at_ms in zip(orders, (old_ms - 8_000, old_ms - 8_000, old_ms - 7_000, old_ms - 6_000), strict=False):
            connection.execute(update(topups).where(topups.c.id == order).values(at_ms=at_ms))
        connection.execute(update(topups).where(topups.c.id == orders[3]).values(state="pending"))
        connection.execute(update(reversals).values(at_ms=old_ms - 5_000))
    mover = Mover(site.node.engine, money, CLOCK, Uptime())
    first_ms = old_ms - 8_000 + limits.ORDER_RECEIPT_MS
    just = msgspec.structs.replace(begun(T0), now_ms=first_ms, orders_ms=old_ms - 9_000)
    assert names[0] in mover._old_orders(just)[1], "it is as old as that to the millisecond"
    for _ in range(4):
        await mover.once()
    assert [await money.call("EXISTS", name) for name in names] == [0, 0, 0, 1, 1, 0]
    assert [await money.call("EXISTS", keys.claim(order)) for order in orders] == [0, 0, 0, 1, 1]
    for order in orders:
        assert (await site.node.purchases.top_up(UserId("cleo"), TopUp(TopUpId(order), 10, "test"))).duplicate


def set_time(now_ms: int, forgot_ms: int = 7) -> Call:
    return moneytime.SET(meta=keys.wallet_meta(3), now_ms=now_ms, forgot_ms=forgot_ms, id_ahead_ms=60_000)


async def fields(money: Store) -> list[bytes | None]:
    found: list[bytes | None] = await money.call("HMGET", keys.wallet_meta(3), "now", "forgot", "strings")
    return found


async def test_a_partition_gets_its_time(money: Store) -> None:
    """It moves only forward. What was forgotten is noted once, with the first time."""
    await money.call("DEL", keys.wallet_meta(3))
    for now_ms, forgot_ms, is_ms in ((50, 7, 50), (50, 8, 50), (49, 9, 50), (60, 9, 60)):
        assert int(await money.run(*set_time(now_ms, forgot_ms))) == is_ms
        assert await fields(money) == [b"%d" % is_ms, b"7", None]


@pytest.mark.parametrize("behind", [True, False])
async def test_a_partition_of_an_older_program_gets_its_time(money: Store, behind: bool) -> None:
    """Its receipts may be strings, of ids up to the later of both clocks and what ids may be ahead."""
    await money.call("DEL", keys.wallet_meta(3))
    await money.call("HSET", keys.wallet_meta(3), "epoch", 2)
    before_s = int((await money.call("TIME"))[0])
    now_ms = 50 if behind else (before_s + 1_000) * 1_000
    await money.run(*set_time(now_ms))
    after_s = int((await money.call("TIME"))[0])
    now, forgot, strings = map(int, [each or b"" for each in await fields(money)])
    assert (now, forgot) == (now_ms, 7)
    first, last = (before_s * 1_000 + 1_000, after_s * 1_000 + 1_000) if behind else (now_ms, now_ms)
    assert first <= strings - 60_000 <= last
    assert not behind or strings % 1_000 == 0, "whole seconds, as the store gives them"
    await money.run(*set_time(now_ms + 1))
    assert await fields(money) == [b"%d" % (now_ms + 1), b"7", b"%d" % strings]


async def test_the_store_keeps_receipts_in_the_margin(money: Store) -> None:
    """The script deletes none of an id that is too old for less than ten minutes, whatever the journal asks."""
    floor_ms = T0 - limits.GIFT_ID_LIFE_MS
    ends_ms = [floor_ms - limits.RECEIPT_MARGIN_MS + more_ms for more_ms in (-1, 0, 1, 2)]
    meta, names = keys.wallet_meta(3), [keys.receipts(3, n * limits.RECEIPTS_MS) for n in range(4)]
    await money.call("HSET", meta, "now", T0, "forgot", ends_ms[0])
    for name in names:
        await money.call("HSET", name, "g", "receipt")
    each = [{"receipts": name, "end_ms": end_ms} for name, end_ms in zip(names, ends_ms, strict=True)]
    life_ms, margin_ms = limits.GIFT_ID_LIFE_MS, limits.RECEIPT_MARGIN_MS
    call = moneytime.FORGET(meta=meta, id_life_ms=life_ms, margin_ms=margin_ms, each=each)
    assert await money.run(*call) == 2
    assert [await money.call("EXISTS", name) for name in names] == [0, 0, 1, 1]
    assert await money.call("HGET", meta, "forgot") == str(ends_ms[1]).encode()


async def test_reading_a_receipt(desk: Desk, money: Store) -> None:
    """A receipt is found in its hash, and as the string that an older program wrote."""
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 10)
    text = await receipts.read(money, "cleo", gift)
    assert text is not None
    assert text.split(b" ")[1:3] == [b"90", b"0"]
    [name] = [key for key in await money.call("KEYS", "*") if b":r:" in key]
    await money.call("DEL", name)
    assert await receipts.read(money, "cleo", gift) is None
    await money.call("SET", keys.receipt("cleo", gift), text)
    assert await receipts.read(money, "cleo", gift) == text
