"""Every corruption of the table is found, with its first wrong row, and only in its own partition."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text

from server import limits
from server.journal import database
from server.journal.findings import Wrong
from server.journal.ordered import verify_orders
from server.journal.tables import entries, metadata, postings
from server.journal.verify import START, Head, verify
from tests.journal.corruptions import CORRUPTIONS, Corruption
from tests.journal.small import ALICE, BOB, fill
from tests.journal.tampering import drop_triggers
from tests.postgres import Journals


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
def heads(small: Engine) -> dict[int, Head]:
    """How far the audit before has verified it."""
    with small.connect() as connection:
        found = {partition: verify(connection, partition) for partition in (ALICE, BOB)}
    assert [each.wrong for each in found.values()] == [[], []]
    return {partition: each.head for partition, each in found.items() if each.head is not None}


def audited(connection: Connection, heads: dict[int, Head]) -> list[Wrong]:
    """What an audit finds that has verified these heads before."""
    wrong = [
        each for partition in (ALICE, BOB) for each in verify(connection, partition, heads.get(partition, START)).wrong
    ]
    return wrong + verify_orders(connection)


def contents(connection: Connection) -> dict[str, list[Any]]:
    return {
        table.name: connection.execute(select(table).order_by(*table.primary_key.columns)).all()
        for table in metadata.sorted_tables
    }


def test_nothing_is_wrong(small: Engine, heads: dict[int, Head]) -> None:
    """Neither audit finds anything in the correct journal."""
    with small.connect() as connection:
        assert audited(connection, {}) == []
        assert audited(connection, heads) == []


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=[corruption.name for corruption in CORRUPTIONS])
def test_a_corruption_is_found(small: Engine, heads: dict[int, Head], corruption: Corruption) -> None:
    """The full audit names the first wrong row, and blames no other partition. So does the one that the table names."""
    with small.connect() as connection:
        before = contents(connection)
        drop_triggers(connection)
        for statement in corruption.statements:
            connection.exec_driver_sql(statement)
        assert contents(connection) != before, "it changes nothing"
        full, incremental = audited(connection, {}), audited(connection, heads)
        connection.rollback()
    first = next(wrong for wrong in full if wrong.partition == ALICE)
    assert first.where == corruption.where, full
    assert {wrong.partition for wrong in full} == corruption.partitions, full
    assert bool(incremental) == (corruption.by == "incremental"), incremental
    assert {wrong.partition for wrong in incremental} <= corruption.partitions, incremental


def test_the_table_is_whole() -> None:
    """Some corruption changes each column of entries and of postings. No name comes twice."""
    names = [corruption.name for corruption in CORRUPTIONS]
    assert len(names) == len(set(names))
    statements = [statement for corruption in CORRUPTIONS for statement in corruption.statements]
    changed = {found for each in statements for found in re.findall(r"^UPDATE (\w+) SET (\w+) =", each)}
    assert {
        (table.name, column) for table in (entries, postings) for column in map(str, table.columns.keys())
    } <= changed


@pytest.mark.parametrize("table", ["entries", "postings", "positions", "watermarks", "topups", "reversals"])
def test_a_missing_table_is_found(journal: str, table: str) -> None:
    """A deleted table is named. It stops all partitions, because all had rows in it."""
    engine = database.connect(journal)
    fill(engine)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {table}"))
    with engine.connect() as connection:
        wrong = [each for partition in (ALICE, BOB) for each in verify(connection, partition).wrong]
        wrong += verify_orders(connection)
    engine.dispose()
    assert {(each.where, each.what) for each in wrong if each.where in metadata.tables} == {
        (table, "the table is missing")
    }
    assert {each.partition for each in wrong} <= set(range(limits.WALLET_PARTITIONS))
    assert {ALICE, BOB} <= {each.partition for each in wrong if each.where == table}
