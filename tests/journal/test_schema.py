"""The journal's schema: migrations make it on both databases, and some databases are refused."""

import json
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, Table, insert, inspect, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from server import limits
from server.entries import REFUND
from server.journal import database
from server.journal.database import reading
from server.journal.ordered import verify_orders
from server.journal.parts import Part
from server.journal.tables import (
    audit_heads,
    creator_days,
    entries,
    legs,
    metadata,
    postings,
    reversal_parts,
    reversals,
)
from server.orders import decisions
from server.orders.decisions import Decision
from server.settings import Unusable
from tests.journal.desk import drifts
from tests.journal.ledger import rows
from tests.journal.tampering import drop_triggers


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


async def test_limits_of_an_older_schema(empty_database: str) -> None:
    """Journaled limits get the rows of their orders: an entry that nobody ordered is an alarm."""
    engine = database.connect(empty_database)
    database.migrate(engine, "0010")
    body = '{"kind":"limit","id":"l1","viewer":"cleo","coins_per_day":500}'
    entry = {"partition": 1, "epoch": 1, "n": 1, "kind": "limit", "user_id": "cleo", "ref": "l1", "coins": 0}
    entry |= {"diamonds": 0, "balance": 7, "combo_count": 0, "at_ms": 5, "body": body, "hash": "x", "version": 2}
    with engine.begin() as connection:
        connection.execute(insert(entries), [entry])
    database.migrate(engine)
    order = {"kind": "limit", "ref": "l1", "user_id": "cleo", "reason": "", "body": '{"coins_per_day":500}'}
    assert [row._asdict() for row in rows(engine, reversals)] == [{**order, "state": "posted", "at_ms": 5}]
    with reading(engine).connect() as connection:
        assert verify_orders(connection) == []
    engine.dispose()


async def test_migrating_keeps_what_is_journaled(empty_database: str) -> None:
    """Rows of an older schema survive, are still insert-only, and are journaled once."""
    engine = database.connect(empty_database)
    database.migrate(engine, "0003")
    entry = {"epoch": 1, "n": 1, "kind": "gift", "user_id": "alice", "ref": "g", "coins": 2, "diamonds": 1}
    entry |= {"combo_count": 0, "at_ms": 5, "body": "{}", "hash": "x"}
    stored = [
        {"epoch": 1, "n": 1, "leg": leg, "asset": "coins", "account": "a", "amount": 1 - 2 * leg} for leg in (0, 1)
    ]
    with engine.begin() as connection:
        for partition in (3, 2):
            of = {"partition": partition}
            connection.execute(insert(entries), [entry | of | {"ref": f"g{partition}"}])
            connection.execute(insert(postings), [each | of for each in stored])
    old = Table("entries", MetaData(), autoload_with=engine)
    before = [row._asdict() for row in rows(engine, old)], rows(engine, postings)
    database.migrate(engine)
    added = {"version": 1, "text": None}
    assert [row._asdict() for row in rows(engine, entries)] == [row | added for row in before[0]]
    assert rows(engine, legs) == before[1], "they do not say what the entries say, and are kept"
    assert (len(before[0]), len(before[1])) == (2, 4)
    for table in ("entries", "legs"):
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


def _older_entry(n: int, kind: str, ref: str, coins: int = 0, **more: object) -> dict[str, object]:
    entry = {"partition": 3, "epoch": 1, "n": n, "kind": kind, "user_id": "cleo", "ref": ref, "coins": coins}
    entry |= {"diamonds": 0, "combo_count": 0, "at_ms": 5, "hash": "x", "creator_id": None}
    entry |= {"room_id": None} | more
    body = {"kind": kind, "id": ref, "viewer": "cleo", "creator": entry["creator_id"], "room": entry["room_id"]}
    return entry | {"body": json.dumps(body | {"coins": coins, "diamonds": entry["diamonds"]})}


async def test_older_reversals_get_parts_and_days(empty_database: str) -> None:
    """Reversals that were journaled or decided before there were parts get them, and creators get their days."""
    engine = database.connect(empty_database)
    database.migrate(engine, "0004")
    ann, ben = {"creator_id": "ann", "room_id": "r"}, {"creator_id": "ben", "room_id": "r"}
    part = {"gift_id": "g1", "creator": "ann", "room": "r", "coins": 10, "diamonds": 4}
    bodies = {"t1": json.dumps({"coins": 0, "reversed": [part]}), "t2": None}
    journaled = [
        _older_entry(0, "topup", "t1", 10),
        _older_entry(1, "topup", "t2", 90),
        _older_entry(2, "gift", "g1", 15, diamonds=7, **ann),
        _older_entry(3, "gift", "g2", 6, diamonds=3, at_ms=limits.DAY_MS, **ben),
        _older_entry(4, "gift", "g3", 5, diamonds=2, **ben),
        _older_entry(5, "chargeback", "t1", diamonds=4),
        _older_entry(6, "refund", "g2", 6, diamonds=3, **ben),
    ]
    orders = [("chargeback", "t1", "posted"), ("chargeback", "t2", "pending"), ("refund", "g1", "pending")]
    orders += [("refund", "g2", "posted"), ("refund", "g3", "pending")]
    with engine.begin() as connection:
        connection.execute(insert(entries), journaled)
        for kind, ref, state in orders:
            order = {"kind": kind, "ref": ref, "user_id": "cleo", "reason": "", "state": state, "at_ms": 7}
            connection.execute(insert(reversals).values(order | {"body": bodies.get(ref)}))
    database.migrate(engine)
    assert [tuple(row)[1:] for row in rows(engine, reversal_parts)] == [
        ("chargeback", "t1", "g1", "ann", 0, 10, 4, 7),
        ("refund", "g2", "g2", "ben", 1, 6, 3, 7),
        ("refund", "g3", "g3", "ben", 0, 5, 2, 7),
    ]
    assert [tuple(row) for row in rows(engine, creator_days)] == [
        ("ann", 0, 7, 7, 4, 1),
        ("ben", 0, 7, 2, 0, 1),
        ("ben", 1, 7, 3, 3, 1),
    ]
    assert drifts(engine) == []
    decided = {row.ref for row in rows(engine, reversals, reversals.c.kind == "refund") if row.body is not None}
    assert decided == {"g2", "g3"}
    with engine.connect() as connection:
        found = decisions.decided(connection, REFUND, "g3", "cleo")
    assert found == Decision(5, [Part("g3", "ben", "r", 5, 2)])
    engine.dispose()


async def test_older_days_get_the_maturity_of_their_gifts(empty_database: str) -> None:
    """Gifts have named it since there are rate cards. Parts of reversals get it, too, and stay insert-only."""
    engine = database.connect(empty_database)
    database.migrate(engine, "0026_payouts")
    later = [_older_entry(2, "gift", "g1", 15, diamonds=7, creator_id="ann", version=2)]
    bought = _older_entry(1, "topup", "t1", 90, version=2)
    later[0]["body"] = str(later[0]["body"]).replace("{", '{"maturity_days":30,', 1)
    later += [_older_entry(3, "gift", "g2", 6, diamonds=3, creator_id="ann", version=2)]
    later += [_older_entry(4, "refund", "g1", 15, diamonds=7, creator_id="ann", version=2)]
    old = Table("reversal_parts", MetaData(), autoload_with=engine)
    part = ("cleo", "refund", "g1", "g1", "ann", 0, 15, 7)
    with engine.begin() as connection:
        connection.execute(insert(entries), [bought, *later])
        connection.execute(insert(old), [dict(zip(old.columns.keys(), part, strict=True))])
    database.migrate(engine)
    assert [tuple(row) for row in rows(engine, reversal_parts)] == [(*part, 30)]
    days = [("ann", 0, 7, 3, 0, 1), ("ann", 0, 30, 7, 7, 1)]
    assert [tuple(row) for row in rows(engine, creator_days)] == days
    assert drifts(engine) == []
    _refused(engine, "UPDATE reversal_parts SET coins = 1")
    engine.dispose()


# What an older program journaled of each kind with postings: kind, coins, diamonds, creator, and the postings.
OLDER: list[tuple[str, int, int, str | None, list[tuple[str, str, int]]]] = [
    ("open", 0, 0, None, []),
    ("topup", 100, 0, None, [("coins", "house:sold", -100), ("coins", "viewer:cleo", 100)]),
    (
        "gift",
        30,
        12,
        "ann",
        [
            ("coins", "viewer:cleo", -30),
            ("coins", "house:spent", 30),
            ("diamonds", "house:awarded", -12),
            ("diamonds", "creator:ann", 12),
        ],
    ),
    (
        "refund",
        30,
        12,
        "ann",
        [
            ("coins", "house:spent", -30),
            ("coins", "viewer:cleo", 30),
            ("diamonds", "creator:ann", -12),
            ("diamonds", "house:awarded", 12),
        ],
    ),
    ("chargeback", 70, 0, None, [("coins", "viewer:cleo", -70), ("coins", "house:sold", 70)]),
]
NEW = {"asset": "coins", "account": "viewer:cleo", "amount": 1}
ODD = {
    "an amount": {"n": 2, "leg": 3, "amount": 13},
    "an account": {"n": 2, "leg": 0, "account": "viewer:eve"},
    "an asset": {"n": 3, "leg": 1, "asset": "diamonds"},
    "one too many": {"n": 1, "leg": 2, **NEW},
    "of no entry": {"n": 9, "leg": 0, **NEW},
    "of an entry without postings": {"n": 0, "leg": 0, **NEW},
}


def _before_the_view(engine: Engine) -> list[dict[str, object]]:
    """Write OLDER under the schema in which all postings were rows. Returns these."""
    database.migrate(engine, "0012")
    written = [
        {"partition": 3, "epoch": 1, "n": n, "leg": leg, "asset": asset, "account": account, "amount": amount}
        for n, (*_, each) in enumerate(OLDER)
        for leg, (asset, account, amount) in enumerate(each)
    ]
    with engine.begin() as connection:
        for n, (kind, coins, diamonds, creator, _) in enumerate(OLDER):
            more = {"diamonds": diamonds, "creator_id": creator, "version": 2}
            connection.execute(insert(entries).values(_older_entry(n, kind, f"{kind}-1", coins, **more)))
        connection.execute(insert(postings), written)
        for partition in (-1, 3):
            head = {"partition": partition, "instance": "i", "counter": 7, "key_id": "k", "state": "{}", "mac": "m"}
            connection.execute(insert(audit_heads).values(head))
    return written


async def test_postings_become_a_view(empty_database: str) -> None:
    """Every posting of before is there, but only those of chargebacks are rows. Nobody can change these."""
    engine = database.connect(empty_database)
    written = _before_the_view(engine)
    before = rows(engine, entries)
    database.migrate(engine)
    assert [row._asdict() for row in rows(engine, postings)] == written
    assert [row._asdict() for row in rows(engine, legs)] == [row for row in written if row["n"] == 4]
    assert rows(engine, entries) == before
    assert [row.partition for row in rows(engine, audit_heads)] == [-1], "the next audit verifies everything"
    for statement in ("UPDATE legs SET n = 9", "DELETE FROM legs"):
        _refused(engine, statement)
    engine.dispose()


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_posting_stays_a_row(empty_database: str, odd: str) -> None:
    """What was wrong before the migration is wrong after it: a stored posting that its entry does not have."""
    engine = database.connect(empty_database)
    written = _before_the_view(engine)
    row = {"partition": 3, "epoch": 1, **ODD[odd]}
    was = [each for each in written if (each["n"], each["leg"]) == (row["n"], row["leg"])]
    with engine.begin() as connection:
        drop_triggers(connection)
        this = (postings.c[name] == row[name] for name in ("partition", "epoch", "n", "leg"))
        connection.execute(update(postings).where(*this).values(row) if was else insert(postings).values(row))
    database.migrate(engine)
    kept = [each._asdict() for each in rows(engine, legs) if each.n != 4]
    assert kept == [{**(was[0] if was else {}), **row}]
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
