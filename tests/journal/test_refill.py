"""What the store lost is put back from the journal: fast, by one node at a time, and only from rows that are right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.dialects import postgresql, sqlite

from protocol.ids import uuid7_ms
from server import limits
from server.journal.books import Mark
from server.journal.refill import NOTHING, SCRIPTS, Broken, Refill, rows_between
from server.journal.tables import entries, quarantine, watermarks
from server.store import keys
from server.store.client import Store, StoreDown
from tests.conftest import Stores
from tests.journal.ledger import drained, pay, rows
from tests.journal.tampering import tamper
from tests.money import Purse, a_gift, assert_conserved
from tests.program import eventually
from tests.site import WAIT_S, Site

ALICE, BOB = keys.partition_of("alice"), keys.partition_of("bob")
MakePurse = Callable[[], Purse]


@pytest.fixture
async def lost(site: Site, stores: Stores) -> Site:
    """A site whose money is journaled, and whose wallet store is empty now."""
    for user, gifts in (("alice", 7), ("bob", 3), ("carol", 2)):
        await site.give_coins(user, 100)
        for _ in range(gifts):
            await pay(site, user, 10)
    async with site.draining() as drain:
        await drained(drain)
    with stores.wallet.client() as look:
        look.flushall()
    return site


@pytest.fixture
async def make_purse(lost: Site, stores: Stores) -> AsyncIterator[MakePurse]:
    """Make wallets of other nodes on that store."""
    made: list[Purse] = []

    def make() -> Purse:
        made.append(Purse(lost.settings, stores.wallet))
        return made[-1]

    yield make
    for purse in made:
        await purse.stop()


def note_reads(purse: Purse) -> list[int]:
    """The partitions whose rows this node reads to fill them, as often as it does."""
    found: list[int] = []

    def note(*given: Any) -> None:
        _, _, statement, values, _, _ = given
        if "n) >" in statement and "FROM entries" in statement:
            found.append(next(iter(values.values() if isinstance(values, dict) else values)))

    event.listen(purse.engine, "before_cursor_execute", note)
    return found


async def open_everywhere(purse: Purse) -> None:
    await eventually(lambda: len(purse.store.epochs) == limits.WALLET_PARTITIONS, WAIT_S, "all partitions")


async def fill_and_die(lost: Site, refill: Refill, to: Mark) -> None:
    """Put back a batch of alice's partition, and disappear without giving the lease back."""
    store, loop, read = (
        Store("died", lost.settings.wallet_address, scripts=SCRIPTS),
        asyncio.get_running_loop(),
        refill._read,
    )
    await store.start()
    await store.wait_up(WAIT_S)
    link = store.link
    assert link is not None

    def last_read(*args: Any) -> Any:
        if refill.replayed:
            loop.call_soon_threadsafe(link.abort)
        return read(*args)

    refill._read = last_read  # type: ignore[method-assign]
    with pytest.raises(StoreDown):
        async with refill.lease(link, ALICE):
            await refill.put_back(link, ALICE, NOTHING, to)
    await store.stop()


# --- one node at a time ----------------------------------------------------------------------------------------------
async def test_two_nodes_fill_each_partition_once(lost: Site, make_purse: MakePurse) -> None:
    """They share the work: a partition's rows are read by one of them, and both go on in the same epochs."""
    nodes = [make_purse(), make_purse()]
    read = [note_reads(node) for node in nodes]
    await asyncio.gather(*(node.start() for node in nodes))
    for node in nodes:
        await open_everywhere(node)
    journaled = rows(lost.node.engine, entries)
    assert Counter(read[0] + read[1]) == Counter({row.partition for row in journaled})
    assert sum(node.store._opening.replayed for node in nodes) == len(journaled)
    assert nodes[0].store.epochs == nodes[1].store.epochs
    assert await nodes[0].outcome(a_gift("alice")) == "ok 10020"
    assert await nodes[1].outcome(a_gift("alice")) == "ok 10010"
    assert_conserved(nodes[0].look)


async def test_another_node_goes_on_where_one_died(
    lost: Site, make_purse: MakePurse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease expires. What it has put back stays, and the rest follows once."""
    monkeypatch.setattr(limits, "REPLAY_BATCH", 4)
    monkeypatch.setattr(limits, "REFILL_LEASE_MS", 2_000)
    died, other = Refill(lost.node.engine, lost.node.clock), make_purse()
    [row] = rows(lost.node.engine, watermarks, watermarks.c.partition == ALICE)
    await fill_and_die(lost, died, Mark(row.epoch, row.n, row.hash))
    assert died.replayed == 4
    lease = keys.refill(ALICE)
    assert other.look.exists(lease)
    await other.start()
    await open_everywhere(other)
    journaled = rows(lost.node.engine, entries)
    assert other.store._opening.replayed == len(journaled) - 4
    assert other.look.exists(lease) == 0
    assert other.look.xlen(keys.log(ALICE)) == len([each for each in journaled if each.partition == ALICE]) + 1
    assert await other.outcome(a_gift("alice")) == "ok 10020"
    assert int(other.store.epochs[ALICE]) == row.epoch + 1
    assert_conserved(other.look)


# --- only right rows -------------------------------------------------------------------------------------------------
def gift_rows(site: Site) -> list[Any]:
    """The gifts of alice, in order."""
    return rows(site.node.engine, entries, entries.c.user_id == "alice", entries.c.kind == "gift")


async def test_a_wrong_row_closes_its_partition_alone(lost: Site, make_purse: MakePurse) -> None:
    """None of its rows reaches the store, and the finding names it. The others open, and it does when it is right."""
    row = gift_rows(lost)[2]
    at = f"partition = {ALICE} AND epoch = {row.epoch} AND n = {row.n}"
    tamper(lost.node.engine, f"UPDATE entries SET user_id = 'eve' WHERE {at}")
    purse = make_purse()
    await purse.start()
    assert await purse.outcomes(a_gift("alice"), a_gift("bob")) == ["wallet_unavailable", "ok 10060"]
    assert list(purse.store.closed) == [ALICE]
    assert (purse.look.xlen(keys.log(ALICE)), purse.look.exists(keys.wallet("alice"), keys.wallet("eve"))) == (0, 0)
    [found] = rows(lost.node.engine, quarantine)
    said = f"{row.epoch}-{row.n}: user_id is eve, but should be alice"
    assert (found.partition, found.epoch, found.n, found.reason) == (ALICE, row.epoch, row.n, said)

    tamper(lost.node.engine, f"UPDATE entries SET user_id = 'alice' WHERE {at}")
    await purse.store.open_closed()
    assert purse.store.closed == {}
    assert await purse.outcome(a_gift("alice")) == "wallet_unavailable"  # it is frozen until a person thaws it
    assert await purse.holds("alice") == 10_030
    assert_conserved(purse.look)


async def test_rows_before_a_wrong_one(lost: Site, make_purse: MakePurse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches before it stay in the store; the next try goes on behind them and does nothing twice."""
    monkeypatch.setattr(limits, "REPLAY_BATCH", 2)
    row = gift_rows(lost)[4]
    at = f"partition = {ALICE} AND epoch = {row.epoch} AND n = {row.n}"
    tamper(lost.node.engine, f"UPDATE entries SET balance = balance + 1 WHERE {at}")
    purse = make_purse()
    await purse.start()
    before = purse.look.xlen(keys.log(ALICE))
    assert 0 < before <= row.n
    await purse.store.open_closed()
    assert (list(purse.store.closed), purse.look.xlen(keys.log(ALICE))) == ([ALICE], before)
    tamper(lost.node.engine, f"UPDATE entries SET balance = balance - 1 WHERE {at}")
    await purse.store.open_closed()
    assert await purse.holds("alice") == 10_030
    assert purse.store._opening.replayed == len(rows(lost.node.engine, entries))
    assert_conserved(purse.look)


@pytest.mark.parametrize("name", ["wallet", "counter", "receipts"])
async def test_a_key_of_another_type_swallows_nothing(lost: Site, make_purse: MakePurse, name: str) -> None:
    """The partition stays closed. When the key is gone, the entry has all of its effects, and those before it once."""
    purse, gift = make_purse(), gift_rows(lost)[0].ref
    wrong = {
        "wallet": keys.wallet("alice"),
        "counter": keys.credit(ALICE, "creator"),
        "receipts": keys.receipts(ALICE, uuid7_ms(gift)),
    }[name]
    purse.look.rpush(wrong, "no such type")
    await purse.start()
    assert list(purse.store.closed) == [ALICE]
    await purse.store.open_closed()
    assert "WRONGTYPE" in str(purse.store.closed[ALICE])
    assert await purse.outcomes(a_gift("alice"), a_gift("bob")) == ["wallet_unavailable", "ok 10060"]
    purse.look.delete(wrong)
    await purse.store.open_closed()
    assert await purse.outcomes(a_gift("alice", id=gift), a_gift("alice")) == ["duplicate 10090", "ok 10020"]
    assert_conserved(purse.look)


WRONG = {
    "UPDATE entries SET body = replace(body, '10,', '11,') WHERE {this}": "viewer:alice has",
    "UPDATE entries SET balance = balance + 1 WHERE {this}": "viewer:alice has",
    "UPDATE entries SET at_ms = at_ms + 1 WHERE {this}": "the hash does not follow",
    "UPDATE entries SET hash = 'no hash' WHERE {this}": "the hash does not follow",
    "UPDATE entries SET body = 'no JSON' WHERE {this}": "its body cannot be read",
    "UPDATE entries SET body = replace(body, 'alice', 'bob') WHERE {this}": "viewer:bob",
    "UPDATE entries SET creator_id = 'eve' WHERE {this}": "creator_id is eve",
    "UPDATE entries SET version = 1 WHERE {this}": "version 1 of the chain after version 2",
    "UPDATE entries SET text = text || ' ' WHERE {this}": "the text is not the one",
    "DELETE FROM entries WHERE {this}": "entries between them are missing",
    "DELETE FROM entries WHERE partition = {partition} AND n >= {n}": "entries after",
    "UPDATE watermarks SET hash = 'another' WHERE partition = {partition}": "the watermark has another hash",
}


async def test_what_makes_a_row_wrong(lost: Site) -> None:
    """Whatever somebody changes, it is found before its batch is written."""
    engine = lost.node.engine
    row, refill = gift_rows(lost)[2], Refill(engine, lost.node.clock)
    kept = [(table, rows(engine, table, table.c.partition == ALICE)) for table in (entries, watermarks)]
    said = {}
    for change, what in WRONG.items():
        this = f"partition = {ALICE} AND epoch = {row.epoch} AND n = {row.n}"
        assert tamper(engine, change.format(this=this, partition=ALICE, n=row.n))
        [mark] = rows(engine, watermarks, watermarks.c.partition == ALICE)
        with pytest.raises(Broken) as broken:
            refill._read(ALICE, refill._begin(ALICE, NOTHING), Mark(mark.epoch, mark.n, mark.hash))
        said[change] = what if what in str(broken.value) else str(broken.value)
        for table, its_rows in kept:
            tamper(engine, f"DELETE FROM {table.name} WHERE partition = {ALICE}")
            with engine.begin() as connection:
                connection.execute(insert(table), [each._asdict() for each in its_rows])
    assert said == WRONG


def plan_of(site: Site) -> str:
    """How the database finds the rows of a refill, even if its tables are small."""
    dialect = sqlite.dialect() if site.node.engine.dialect.name == "sqlite" else postgresql.dialect()
    query = str(rows_between(3, (1, 5), (4, 7)).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    with site.node.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            return str(connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        return str(connection.execute(text(f"EXPLAIN {query}")).all())


async def test_a_refill_searches_the_primary_key(site: Site) -> None:
    """The database goes to the first row that is missing, and does not read the epoch from its beginning."""
    plan = plan_of(site)
    assert "(epoch,n)>" in plan or "ROW(epoch, n) >" in plan, plan
