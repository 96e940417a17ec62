"""What the store must hold at a log id: at every one of a history, whatever came after it."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from server import limits
from server.entries import KINDS, Body, Kind
from server.journal import asof, database
from server.journal.asof import Expected, Spent, Wallet
from server.journal.books import VERSION, LogEntry
from server.journal.compare import StoreSide
from server.journal.database import reading
from server.journal.sums import Sums
from server.journal.tables import entries
from server.journal.verify import verify
from server.store import keys
from tests.journal.desk import Desk, a_desk
from tests.journal.shop import NOW_MS, Books, Shop
from tests.site import Site

USER = "cleo"
PARTITION = keys.partition_of(USER)
ACCOUNTS = [f"viewer:{USER}", "creator:ann", "creator:ben"]


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


async def test_at_every_log_id(desk: Desk) -> None:
    """A refund names its creator, but moves no counter: the gift behind it does."""
    store = StoreSide(desk.money, desk.site.node.clock)
    seen = [await store.read(PARTITION, ACCOUNTS)]

    async def look() -> None:
        await desk.journal()
        seen.append(await store.read(PARTITION, ACCOUNTS))

    await desk.buy(USER, 100, "t1")
    await look()
    first = await desk.give(USER, 10, 6, to="ann")
    await look()
    await desk.give(USER, 20, 9, to="ben")
    await look()
    await desk.refund(first)
    await look()
    await desk.give(USER, 5, 3, to="ann")
    await look()
    await desk.buy(USER, 40, "t2")
    await look()
    await desk.give(USER, 30, 12, to="ben")
    await look()
    await desk.charge_back("t1")
    await look()
    with reading(desk.site.node.engine).connect() as connection:
        sums = verify(connection, PARTITION).sums
        for stored in seen:
            found = asof.expected(connection, PARTITION, stored.at, sums, ACCOUNTS, behind=True)
            held = {user: (int(each.coins or 0), each.status or "ok") for user, each in stored.wallets.items()}
            assert {user: (each.coins, each.status) for user, each in found.wallets.items()} == held, stored.at
            assert found.counters == {name: int(text or 0) for name, text in stored.counters.items()}, stored.at


def entry(kind: Kind | None, **about: Any) -> LogEntry:
    """An entry of the log that is not journaled yet."""
    name = "unknown" if kind is None else kind.name
    balance, credited = about.pop("balance", None), about.pop("credited", None)
    body = Body(kind=name, **about)
    return LogEntry(2, 1, 5, balance, credited, 0, b"", b"{}", None, body, kind, "viewer:cleo", "creator:ann", VERSION)


def test_entries_that_wait() -> None:
    """What is not journaled yet moves what is expected; what has no wallet, or is of an unknown kind, moves none."""
    found = Expected(Sums(), {"cleo": Wallet(100)}, {"ann": 7})
    found.follow(entry(KINDS["gift"], viewer="cleo", creator="ann", coins=30, diamonds=15, balance=70, credited=22))
    assert (found.wallets["cleo"].coins, found.counters, found.totals.spent, found.totals.awarded) == (
        70,
        {"ann": 22},
        30,
        15,
    )
    found.follow(entry(KINDS["refund"], viewer="cleo", creator="ann", coins=30, diamonds=15, balance=100))
    assert (found.wallets["cleo"].coins, found.counters, found.totals.refunded) == (100, {"ann": 22}, 30)
    found.follow(entry(KINDS["freeze"], viewer="dan", ordered_ms=9, balance=0))
    assert found.wallets["dan"] == Wallet(0, "frozen", status_ms=9)
    was = msgspec.structs.asdict(found)
    found.follow(entry(KINDS["open"]))
    found.follow(entry(None, viewer="cleo", coins=1, balance=99))
    assert msgspec.structs.asdict(found) == was


# (orders of status or limit: kind, coins a day, when it was ordered, and its day), and the wallet after them
SETTINGS: list[tuple[list[tuple[str, int, int, int]], Wallet]] = [
    ([("freeze", 0, 5, 1), ("unfreeze", 0, 4, 1)], Wallet(status="frozen", status_ms=5)),
    ([("freeze", 0, 5, 1), ("unfreeze", 0, 5, 1)], Wallet(status="ok", status_ms=5)),
    ([("freeze", 0, 5, 1), ("unfreeze", 0, 6, 1)], Wallet(status="ok", status_ms=6)),
    ([("freeze", 0, 5, 1), ("unfreeze", 0, 0, 1)], Wallet(status="ok", status_ms=5)),
    ([("limit", 50, 5, 1)], Wallet(limit=50, limit_ms=5)),
    ([("limit", 50, 5, 1), ("limit", 50, 0, 1)], Wallet(limit=50, limit_ms=5)),
    ([("limit", 50, 5, 1), ("limit", 49, 6, 1)], Wallet(limit=49, limit_ms=6)),
    ([("limit", 50, 5, 1), ("limit", 51, 6, 1)], Wallet(limit=50, next_limit=51, next_day=2, limit_ms=6)),
    ([("limit", 50, 5, 1), ("limit", 0, 6, 1)], Wallet(limit=50, next_limit=0, next_day=2, limit_ms=6)),
    ([("limit", 50, 5, 1), ("limit", 60, 6, 1), ("limit", 55, 7, 2)], Wallet(limit=55, limit_ms=7)),
    (
        [("limit", 50, 5, 1), ("limit", 60, 6, 2), ("limit", 55, 7, 2)],
        Wallet(limit=50, next_limit=55, next_day=3, limit_ms=7),
    ),
    ([("limit", 50, 5, 1), ("limit", 0, 6, 1), ("limit", 70, 7, 2)], Wallet(limit=70, limit_ms=7)),
]


@pytest.mark.parametrize(("orders", "after"), SETTINGS)
def test_orders_in_a_row(orders: list[tuple[str, int, int, int]], after: Wallet) -> None:
    """The audit follows them as the store's scripts do (tests/wallet/test_orders.py)."""
    wallet = Wallet()
    for name, coins, ordered_ms, day in orders:
        about = Body(kind=name, viewer="cleo", coins_per_day=coins, ordered_ms=ordered_ms)
        wallet.set_up(KINDS[name], about, day * limits.DAY_MS + 5)
    assert wallet == after


async def test_what_is_asked_of_a_partition(desk: Desk) -> None:
    """Which accounts the journal does not know, which are next, and what somebody spent on a day."""
    await desk.buy(USER, 100)
    await desk.give(USER, 30, to="ann")
    await desk.give(USER, 5, to="ben")
    await desk.journal()
    engine = desk.site.node.engine
    with reading(engine).connect() as connection:
        strangers = ["viewer:nobody", "creator:eve"]
        assert asof.unknown(connection, PARTITION, [*ACCOUNTS, *strangers]) == strangers
        assert asof.window(connection, PARTITION, "", 2) == ["creator:ann", "creator:ben"]
        assert asof.window(connection, PARTITION, "creator:ann", 9) == ["creator:ben", f"viewer:{USER}"]
        rows = connection.execute(select(entries).where(entries.c.partition == PARTITION).order_by(entries.c.n)).all()
        day, last = rows[-1].at_ms // limits.DAY_MS, (rows[-1].epoch, rows[-1].n)
        users = [USER, "another"]
        assert asof.spent(connection, PARTITION, last, users) == {USER: Spent(day, 35)}
        assert asof.spent(connection, PARTITION, (last[0], last[1] - 1), users) == {USER: Spent(day, 30)}
        assert asof.spent(connection, PARTITION, (last[0], last[1] - 2), users) == {}


def test_a_day_ends_at_midnight(journal: str) -> None:
    """Its first millisecond counts, and the next day's does not."""
    engine = database.connect(journal)
    shop = Shop(Books(engine), USER)
    shop.buy(100)
    day = NOW_MS // limits.DAY_MS
    for coins, at_ms in (
        (10, day * limits.DAY_MS),
        (20, (day + 1) * limits.DAY_MS - 1),
        (40, (day + 1) * limits.DAY_MS),
    ):
        shop.give(coins, 0, "ann", at_ms)
    with reading(engine).connect() as connection:
        assert asof.spent(connection, PARTITION, (1, 3), [USER]) == {USER: Spent(day, 30)}
        assert asof.spent(connection, PARTITION, (1, 4), [USER]) == {USER: Spent(day + 1, 40)}
    engine.dispose()
