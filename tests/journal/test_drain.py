"""The drain: every entry once and in order, in double entry and one hash chain, even if drains die or compete."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, event, insert, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server import limits
from server.journal import drain as drains
from server.journal.drain import Drain
from server.journal.fence import Openings
from server.journal.ledger import Batch, LostRace
from server.journal.tables import entries, legs, postings, quarantine, watermarks
from server.orders.topups import TopUp
from server.store import keys
from server.store.client import StoreDown
from tests.conftest import Stores
from tests.journal.ledger import drained, log_ids, pay, rows, some_money
from tests.money import books
from tests.site import Site


async def test_everything_is_journaled_once(site: Site, stores: Stores) -> None:
    """Each entry becomes one row with the log's own id; a second drain has nothing to do."""
    await some_money(site)
    async with site.draining() as drain:
        moved = await drained(drain)
        assert moved == drain.journaled == len(log_ids(stores))
        assert await drain.drain_once() == 0
        await some_money(site, 5)
        assert await drained(drain) == 5 + 3
    found = rows(site.node.engine, entries)
    assert {(row.partition, row.epoch, row.n) for row in found} == log_ids(stores)
    kinds = {kind: [row for row in found if row.kind == kind] for kind in ("open", "topup", "gift")}
    assert (len(kinds["open"]), len(kinds["topup"]), len(kinds["gift"])) == (limits.WALLET_PARTITIONS, 8, 25)
    sums = books(stores.wallet.client())
    assert sum(row.coins for row in kinds["gift"]) == sums["coins"]
    assert sum(row.diamonds for row in kinds["gift"]) == sums["diamonds"]
    assert sum(row.coins for row in kinds["topup"]) == sums["bought"]
    assert rows(site.node.engine, quarantine) == []


async def test_double_entry(site: Site, stores: Stores) -> None:
    """The postings of an entry sum to zero in each asset; an account's sum to what the wallet store holds."""
    await some_money(site)
    async with site.draining() as drain:
        await drained(drain)
    by_entry: dict[tuple[Any, ...], int] = {}
    by_account: dict[tuple[str, str], int] = {}
    for leg in rows(site.node.engine, postings):
        at, account = (leg.partition, leg.epoch, leg.n, leg.asset), (leg.asset, leg.account)
        by_entry[at] = by_entry.get(at, 0) + leg.amount
        by_account[account] = by_account.get(account, 0) + leg.amount
    assert set(by_entry.values()) == {0}
    assert sum(by_account.values()) == 0
    for viewer in ("alice", "bob", "carol"):
        assert by_account["coins", f"viewer:{viewer}"] == await site.coins(viewer)
    sums = books(stores.wallet.client())
    assert by_account["coins", "house:sold"] == -sums["bought"]
    assert by_account["coins", "house:spent"] == sums["coins"]
    assert by_account["diamonds", "creator:creator"] == sums["credited"]
    assert by_account["diamonds", "house:awarded"] == -sums["diamonds"]


async def test_the_chain(site: Site) -> None:
    """A row's hash covers the hash before it and all that is canonical in the row. This format must never change."""
    await some_money(site)
    async with site.draining() as drain:
        await drained(drain)
    for partition in {row.partition for row in rows(site.node.engine, entries)}:
        last = "0" * 64
        for row in rows(site.node.engine, entries, entries.c.partition == partition):
            money = f"{row.balance} {row.credited} {row.combo_count}"
            link = f"2 {last} {partition} {row.epoch}-{row.n} {row.at_ms} {money} {row.body}"
            assert (row.version, row.hash) == (2, hashlib.sha256(link.encode()).hexdigest())
            if row.text is not None:
                assert f',"digest":"{hashlib.sha256(row.text.encode()).hexdigest()}"}}' in row.body
            last = row.hash
        (mark,) = rows(site.node.engine, watermarks, watermarks.c.partition == partition)
        assert (mark.epoch, mark.n, mark.hash) == (row.epoch, row.n, last)


@contextlib.contextmanager
def away(site: Site, table: str) -> Iterator[None]:
    """Rename a table, so that nothing can read or write it until the block ends."""

    def rename(of: str, to: str) -> None:
        with site.node.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {of} RENAME TO {to}"))

    rename(table, "away")
    yield
    rename("away", table)


@pytest.mark.parametrize("table", ["entries", "creator_days", "watermarks", "positions"])
async def test_rows_and_watermark_move_together(site: Site, stores: Stores, table: str) -> None:
    """If one table cannot be written, none is; once all can be, everything is written."""
    await some_money(site)
    async with site.draining() as drain:
        with away(site, table), pytest.raises(SQLAlchemyError):
            await drain.drain_once()
        for each in (entries, postings, watermarks):
            assert rows(site.node.engine, each) == []
        assert await drained(drain) == len(log_ids(stores))


@pytest.mark.parametrize("table", ["entries", "legs", "postings"])
async def test_what_is_journaled_stays(site: Site, table: str) -> None:
    """Nobody can change or remove entries and postings, not even with the database's password."""
    await some_money(site, 3)
    async with site.draining() as drain:
        await drained(drain)
    with site.node.engine.begin() as connection:
        connection.execute(insert(legs).values((1, 1, 1, 0, "coins", "house:sold", 5)))
    was = rows(site.node.engine, entries), rows(site.node.engine, postings)
    statements = [f"UPDATE {table} SET n = n + 1", f"UPDATE {table} SET epoch = 5 WHERE n = 1", f"DELETE FROM {table}"]
    if site.node.engine.dialect.name == "postgresql":
        statements.append(f"TRUNCATE {table}")
    refused = "view|is not a table" if table == "postings" else "insert-only"
    for statement in statements:
        with pytest.raises(DBAPIError, match=refused), site.node.engine.begin() as connection:
            connection.execute(text(statement))
    assert (rows(site.node.engine, entries), rows(site.node.engine, postings)) == was


# --- two drains ----------------------------------------------------------------------------------------------------
async def test_two_drains_at_once(site: Site, stores: Stores) -> None:
    """One of two drains loses each round; nothing is journaled twice, set aside or left out."""
    await some_money(site, 3)
    async with site.draining() as first, site.draining() as second:

        async def keep(drain: Drain) -> None:
            for _ in range(12):
                with contextlib.suppress(SQLAlchemyError):
                    await drain.drain_once()

        await asyncio.gather(keep(first), keep(second), some_money(site, 60))
        await drained(first)
        assert first.journaled + second.journaled == len(log_ids(stores))
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)
    assert rows(site.node.engine, quarantine) == []


@pytest.mark.parametrize("remembers", [None, True, False])
async def test_a_drain_that_was_overtaken(site: Site, stores: Stores, remembers: bool | None) -> None:
    """Another drain writes the same entries and more before this one does: nothing is set aside."""
    await some_money(site, 3)
    async with site.draining() as slow, site.draining() as quick:
        if remembers is not None:  # does it remember balances from an earlier round?
            await drained(slow if remembers else quick)
            await some_money(site, 3)
        marks, before = slow._ledger.marks(), slow.journaled
        batch = await slow._prepare(marks)
        assert batch is not None
        await some_money(site, 6)
        await drained(quick)
        with (
            contextlib.nullcontext() if remembers is None else pytest.raises(LostRace)
        ):  # the first watermark is an INSERT, so no race is lost
            assert await slow._write(batch, {}) is None
        assert slow.journaled == before
        assert rows(site.node.engine, quarantine) == []
        await some_money(site, 3)
        await drained(slow)
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)


@pytest.mark.parametrize("kept", [limits.POSITIONS_KEPT_MAX, 0])
async def test_drains_that_take_turns(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """A drain forgets the balances it remembers when another drain has changed them."""
    monkeypatch.setattr(limits, "POSITIONS_KEPT_MAX", kept)
    async with site.draining() as first, site.draining() as second:
        for drain in (first, second, first, first, second):
            await some_money(site, 6)
            assert await drained(drain) > 0
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)
    assert rows(site.node.engine, quarantine) == []


async def test_a_round_that_was_rolled_back(site: Site, stores: Stores) -> None:
    """When a transaction fails, the drain forgets the balances that it changed."""
    async with site.draining() as drain:
        await some_money(site, 6)
        await drained(drain)
        await some_money(site, 6)
        for _ in range(2):
            with away(site, "creator_days"), pytest.raises(SQLAlchemyError):
                await drain.drain_once()
        await drained(drain)
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)
    assert rows(site.node.engine, quarantine) == []


async def test_balances_that_could_not_be_read(site: Site, stores: Stores) -> None:
    """They are read again, instead of being taken as zero."""
    await some_money(site, 3)
    async with site.draining() as drain:
        await drained(drain)
    await some_money(site, 3)
    async with site.draining() as drain:  # a new drain, which remembers no balances
        with away(site, "positions"), pytest.raises(SQLAlchemyError):
            await drain.drain_once()
        await drained(drain)
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)
    assert rows(site.node.engine, quarantine) == []


# --- a backlog: the next round is prepared while one is written -------------------------------------------------------
@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small limits, so that a few gifts make a backlog of many rounds, and a round takes several statements."""
    monkeypatch.setattr(limits, "DRAIN_BATCH", 2)
    monkeypatch.setattr(limits, "SQLITE_ROWS", 3)


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize("rounds", [1, 2, 3, limits.DRAIN_ROUNDS_MAX])
async def test_a_backlog(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """It is journaled once, whether or not the call's rounds are enough for all of it."""
    monkeypatch.setattr(limits, "DRAIN_ROUNDS_MAX", rounds)
    await some_money(site, 40)
    async with site.draining() as drain:
        assert await drain.drain_once() < len(log_ids(stores))
        await drained(drain)
        assert drain.journaled == len(log_ids(stores))
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize("fails", [1, 2, 3, 5])
async def test_a_round_of_a_backlog_fails(site: Site, stores: Stores, fails: int) -> None:
    """Rounds written before it stay; the round prepared after it is not written, but read again."""
    await some_money(site, 40)
    seen = 0

    def fail(_: Connection) -> None:
        nonlocal seen
        seen += 1
        if seen == fails:
            raise SQLAlchemyError("the disk is full")

    async with site.draining() as drain:
        event.listen(drain._ledger._engine, "commit", fail)
        with pytest.raises(SQLAlchemyError, match="the disk is full"):
            await drained(drain)
        assert len(rows(site.node.engine, entries)) == drain.journaled
        assert (drain.journaled > 0) == (fails > 1)
        event.remove(drain._ledger._engine, "commit", fail)
        await drained(drain)
        assert drain.journaled == len(log_ids(stores))
    assert {(row.partition, row.epoch, row.n) for row in rows(site.node.engine, entries)} == log_ids(stores)
    assert rows(site.node.engine, quarantine) == []


@pytest.mark.usefixtures("small_rounds")
async def test_a_stop_in_a_backlog(site: Site, stores: Stores) -> None:
    """A stop does not wait for the whole backlog: only for the current round and one more."""
    await some_money(site, 60)
    async with site.draining() as drain:
        stopping = asyncio.Event()
        written = drain._ledger.write

        def write(batch: Batch) -> int:
            stopping.set()  # as a signal handler would
            return written(batch)

        drain._ledger.write = write  # type: ignore[method-assign]
        await drain.run(stopping)
        most = max(Counter(partition for partition, _, _ in log_ids(stores)).values())
        assert most > 6  # so two more rounds do not finish the backlog
        assert {row.n for row in rows(site.node.engine, entries)} <= set(range(6))
        assert 0 < drain.journaled < len(log_ids(stores))


@pytest.mark.usefixtures("small_rounds")
async def test_the_store_goes_in_the_middle_of_a_backlog(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round that was being written counts; the next one begins where it ended."""
    await some_money(site, 40)
    async with site.draining() as drain:
        read, reads = drains.read_some, 0

        async def lost(wallet: Any, start: dict[int, str], count: int) -> Any:
            nonlocal reads
            reads += 1
            if reads == 3:
                raise StoreDown("gone")
            return await read(wallet, start, count)

        monkeypatch.setattr(drains, "read_some", lost)
        with pytest.raises(StoreDown):
            await drain.drain_once()
        assert drain.journaled == len(rows(site.node.engine, entries)) > 0
        await drained(drain)
        assert drain.journaled == len(log_ids(stores))
    assert rows(site.node.engine, quarantine) == []


async def test_any_text_is_journaled_as_it_is(site: Site) -> None:
    """Tabs, backslashes, quotes and other scripts survive both databases' bulk inserts."""
    source = "a\\b\t\n\r\\N\\. 'quoted' \"double\" %s :name ✓"
    await site.node.purchases.top_up("alice", TopUp("order-1", 500, source))
    async with site.draining() as drain:
        await drained(drain)
    (row,) = rows(site.node.engine, entries, entries.c.ref == "order-1")
    assert msgspec.json.decode(row.body)["source"] == source
    assert row.room_id is None


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # the fence's own tests run on both
async def test_a_drain_of_a_store_that_was_replaced(another_site: Callable[..., Awaitable[Site]]) -> None:
    """On a fenced site it reads what the store writes, until another store holds the partition."""
    site = await another_site(LIVEROOM_FENCE="on")
    await pay(site, "alice", 1)
    async with site.draining() as drain:
        assert await drained(drain) > 0
        await pay(site, "alice", 1)
        openings, partition = Openings(site.node.engine, site.node.clock), keys.partition_of("alice")
        openings.take("another", {partition: openings.read()[partition].name})
        assert await drained(drain) == 0


async def test_draining_to_the_end(site: Site, stores: Stores) -> None:
    """A drain that has to stop first moves what is in the log."""
    stopping = asyncio.Event()
    async with site.draining() as drain:
        running = asyncio.create_task(drain.run(stopping))
        await some_money(site, 10)
        stopping.set()
        async with asyncio.timeout(20):
            await running
        assert drain.journaled == len(log_ids(stores))


async def test_a_journal_that_is_away_for_a_while(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gifts go on while the database is away, and are journaled when it is back."""
    monkeypatch.setattr(limits, "STORE_RETRY_S_MAX", 0.05)
    stopping = asyncio.Event()
    with site.node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE watermarks RENAME TO away"))
    async with site.draining() as drain:
        running = asyncio.create_task(drain.run(stopping))
        await asyncio.gather(*(pay(site, "alice", 5) for _ in range(10)))
        assert drain.journaled == 0
        with site.node.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO watermarks"))
        stopping.set()
        async with asyncio.timeout(20):
            await running
        await drained(drain)
        assert drain.journaled == len(log_ids(stores))
