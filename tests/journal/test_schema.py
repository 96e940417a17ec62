"""The journal's schema: migrations make it on both databases, and some databases are refused."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, Table, insert, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from server.journal import database
from server.journal.tables import entries, metadata, postings, reversals
from server.settings import Unusable
from tests.journal.ledger import rows


async def test_migrations_make_the_tables(journal: str) -> None:
    """Migrations make exactly what tables.py says: columns, indexes and constraints."""
    engine = database.connect(journal)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        for table in metadata.sorted_tables:
            key = inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key.columns]
    engine.dispose()


async def test_rows_of_an_older_schema(empty_database: str) -> None:
    """Orders written under an older schema survive its migration."""
    engine = database.connect(empty_database)
    database.migrate(engine, "0002")
    row = {"kind": "refund", "ref": "g1", "user_id": "cleo", "reason": "r", "body": None, "state": "posted", "at_ms": 7}
    with engine.begin() as connection:
        connection.execute(insert(reversals).values(row))
    database.migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(reversals).values({**row, "user_id": "dan"}))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(insert(reversals).values(row))
    assert [each._asdict() for each in rows(engine, reversals)] == [row, {**row, "user_id": "dan"}]
    engine.dispose()


async def test_migrating_keeps_what_is_journaled(empty_database: str) -> None:
    """Rows of an older schema survive, are still insert-only, and are journaled once."""
    engine = database.connect(empty_database)
    database.migrate(engine, "0003")
    entry = {"epoch": 1, "n": 1, "kind": "gift", "user_id": "alice", "ref": "g", "coins": 2, "diamonds": 1}
    entry |= {"combo_count": 0, "at_ms": 5, "body": "{}", "hash": "x"}
    legs = [{"epoch": 1, "n": 1, "leg": leg, "asset": "coins", "account": "a", "amount": 1 - 2 * leg} for leg in (0, 1)]
    with engine.begin() as connection:
        for partition in (3, 2):
            of = {"partition": partition}
            connection.execute(insert(entries), [entry | of | {"ref": f"g{partition}"}])
            connection.execute(insert(postings), [leg | of for leg in legs])
    old = Table("entries", MetaData(), autoload_with=engine)
    before = [row._asdict() for row in rows(engine, old)], rows(engine, postings)
    database.migrate(engine)
    added = {"version": 1, "text": None}
    assert [row._asdict() for row in rows(engine, entries)] == [row | added for row in before[0]]
    assert rows(engine, postings) == before[1]
    assert (len(before[0]), len(before[1])) == (2, 4)
    for table in ("entries", "postings"):
        for statement in (f"UPDATE {table} SET n = 9", f"DELETE FROM {table}"):
            _refused(engine, statement)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(entries), [entry | {"partition": 4, "ref": "g3"}])
    engine.dispose()


def _refused(engine: Engine, statement: str) -> None:
    with pytest.raises(DBAPIError, match="insert-only"), engine.begin() as connection:
        connection.execute(text(statement))


async def test_only_personal_text_can_be_erased(journal: str) -> None:
    """The text of an entry can become NULL, nothing else of it can change, and no text comes back."""
    engine = database.connect(journal)
    entry = dict.fromkeys(entries.columns.keys(), "x")
    entry |= dict.fromkeys(("partition", "epoch", "n", "coins", "diamonds", "balance", "credited"), 1)
    entry |= dict.fromkeys(("combo_count", "at_ms", "version"), 1)
    with engine.begin() as connection:
        connection.execute(insert(entries), [entry])
    changes = {column: 2 if entry[column] == 1 else "'y'" for column in entry}
    for column, value in changes.items():
        _refused(engine, f"UPDATE entries SET {column} = {value}")
        if column != "text":
            _refused(engine, f"UPDATE entries SET text = NULL, {column} = {value}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE entries SET text = NULL"))
    assert [row._asdict() for row in rows(engine, entries)] == [entry | {"text": None}]
    _refused(engine, "UPDATE entries SET text = 'x'")
    engine.dispose()


async def test_migrating_again_and_at_once(journal: str) -> None:
    """All nodes and the journal may migrate as they start: an up-to-date schema does not change."""
    failed: list[BaseException] = []

    def migrate() -> None:
        engine = database.connect(journal)
        try:
            database.migrate(engine)
        except BaseException as error:
            failed.append(error)
        engine.dispose()

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/db", "redis://host", "postgresql+asyncpg://host/db", "://"]
)
async def test_invalid_addresses(journal: str, url: str) -> None:
    """An unsupported database is refused in one sentence that contains no password."""
    with pytest.raises(Unusable, match=r"\.$"):
        database.connect(url)
    with pytest.raises(Unusable) as error:
        database.connect("mysql://user:hunter2@host/db")
    assert "hunter2" not in str(error.value)
