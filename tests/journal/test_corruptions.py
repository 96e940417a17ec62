"""Every corruption of the table is found, with its first wrong row, and only in its own partition."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, select, text

from server import limits
from server.clock import Clock
from server.journal import database
from server.journal.audit import Audit
from server.journal.findings import Wrong, latest
from server.journal.heads import START, Heads
from server.journal.ordered import verify_orders
from server.journal.tables import audits, entries, legs, metadata
from server.journal.verify import verify
from server.processes.journal import audit_once
from server.processes.retell import drain_and_retell
from server.rooms.history import History
from server.store.client import Store
from tests.journal import corruptions, corruptions_of_books
from tests.journal.corruptions import Corruption
from tests.journal.corruptions_of_books import CUT
from tests.journal.small import ALICE, BOB, fill
from tests.journal.tampering import drop_triggers
from tests.postgres import Journals

EACH = (ALICE, BOB, limits.BOOKS)
CORRUPTIONS = [*corruptions.CORRUPTIONS, *corruptions_of_books.CORRUPTIONS]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def small(
    request: pytest.FixtureRequest, empty_journal: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A journal that is correct. A test changes it in a transaction, and rolls that back."""
    if request.param == "postgresql":
        server: Journals = request.getfixturevalue("postgres")
        address = server.journal()
    else:
        path = tmp_path_factory.mktemp("small") / "journal.sqlite3"
        shutil.copyfile(empty_journal, path)
        address = f"sqlite:///{path}"
    engine = database.connect(address)
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def heads(small: Engine) -> Heads:
    """What the audit before remembers."""
    made = Heads(small, None)
    with small.connect() as connection:
        for partition in EACH:
            found = verify(connection, partition)
            assert (found.wrong, found.head is None) == ([], False)
            made.advance(partition, found.head or START, 0)
    return made


def full(connection: Connection) -> list[Wrong]:
    """What an audit finds that knows nothing."""
    wrong = [each for partition in EACH for each in verify(connection, partition).wrong]
    return wrong + verify_orders(connection)


def incremental(connection: Connection, heads: Heads) -> list[Wrong]:
    """What the next audit finds at once: by counts and sums, and in rows that are new or suspect."""
    wrong = heads.count_in(connection)
    return wrong + [each for p in EACH for each in verify(connection, p, heads.head(p)).wrong]


def contents(connection: Connection) -> dict[str, list[Any]]:
    return {
        table.name: connection.execute(select(table).order_by(*table.primary_key.columns)).all()
        for table in metadata.sorted_tables
    }


def test_nothing_is_wrong(small: Engine, heads: Heads) -> None:
    """Neither audit finds anything in the correct journal."""
    with small.connect() as connection:
        assert full(connection) == []
        assert incremental(connection, heads) == []


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=[corruption.name for corruption in CORRUPTIONS])
def test_a_corruption_is_found(small: Engine, heads: Heads, corruption: Corruption) -> None:
    """The full audit names the first wrong row, and blames no other partition. So does the one that the table names."""
    with small.connect() as connection:
        before = contents(connection)
        drop_triggers(connection)
        for statement in corruption.statements:
            connection.exec_driver_sql(statement)
        assert contents(connection) != before, "it changes nothing"
        everything, at_once = full(connection), incremental(connection, heads)
        connection.rollback()
    first = next(wrong for wrong in everything if wrong.partition in corruption.partitions)
    assert first.where == corruption.where, everything
    assert {wrong.partition for wrong in everything} == corruption.partitions, everything
    assert bool(at_once) == corruption.at_once, at_once
    assert {wrong.partition for wrong in at_once} <= corruption.partitions, at_once


def test_the_books_are_cut(small: Engine, heads: Heads) -> None:
    """The end of the books is gone with all that shows it: the audit remembers how far they were."""
    with small.connect() as connection:
        drop_triggers(connection)
        for statement in CUT:
            connection.exec_driver_sql(statement)
        found = incremental(connection, heads)
        connection.rollback()
    assert found[0] == Wrong(limits.BOOKS, "watermark", "it is behind the verified 1-7")


def test_the_table_is_whole() -> None:
    """Some corruption changes each column of entries and of legs. No name comes twice."""
    names = [corruption.name for corruption in CORRUPTIONS]
    assert len(names) == len(set(names))
    statements = [statement for corruption in CORRUPTIONS for statement in corruption.statements]
    changed = {found for each in statements for found in re.findall(r"^UPDATE (\w+) SET (\w+) =", each)}
    assert {(table.name, column) for table in (entries, legs) for column in map(str, table.columns.keys())} <= changed


@pytest.mark.parametrize("table", [*metadata.tables])
async def test_an_audit_without_a_table(small: Engine, table: str) -> None:
    """Whatever table is missing, the audit names it and ends, freezes nothing, and goes on when the table is back."""
    wallet = Store("wallet", "unix:///nowhere")
    clock = Clock(time.time)
    audit, drain = Audit(small, wallet, clock), drain_and_retell(small, wallet, History(wallet), clock)
    with small.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO away"))
    try:
        report = await audit.run(freeze=True, everything=False)
        await audit_once(audit, drain, small)
        kept = latest(small) if table != "audits" else report
    finally:
        with small.begin() as connection:
            connection.execute(text(f"ALTER TABLE away RENAME TO {table}"))
            connection.execute(delete(audits))
    assert (report.ok, report.why_not(), report.wrong) == (False, f"{table}: the table is missing", [])
    assert kept is not None
    assert (kept.ok, kept.why_not()) == (False, f"{table}: the table is missing")


@pytest.mark.parametrize("table", ["entries", "legs", "positions", "watermarks", "topups", "reversals"])
def test_a_missing_table_is_found(journal: str, table: str) -> None:
    """A deleted table is named. It stops all partitions, because all had rows in it."""
    engine = database.connect(journal)
    fill(engine)
    with engine.begin() as connection:
        cascade = "CASCADE" if engine.dialect.name == "postgresql" else ""  # the view reads it
        connection.execute(text(f"DROP TABLE {table} {cascade}"))
    with engine.connect() as connection:
        wrong = [each for partition in (ALICE, BOB) for each in verify(connection, partition).wrong]
        wrong += verify_orders(connection)
    engine.dispose()
    assert {(each.where, each.what) for each in wrong if each.where in metadata.tables} == {
        (table, "the table is missing")
    }
    assert {each.partition for each in wrong} <= set(range(limits.WALLET_PARTITIONS))
    assert {ALICE, BOB} <= {each.partition for each in wrong if each.where == table}
