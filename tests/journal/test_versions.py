"""A journal that an older program began: its rows stay at version 1 of the chain, and new ones follow at version 2."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, insert, select, update

from protocol.wire import encode
from server.clock import Clock
from server.entries import OpenEntry, TopUpEntry
from server.journal import database
from server.journal.books import COLUMNS, START, LogEntry, Mark, Positions, Rows, book, parse
from server.journal.ledger import Ledger
from server.journal.ordered import verify_orders
from server.journal.tables import entries, legs, postings
from server.journal.verify import verify
from tests.journal.ledger import rows
from tests.journal.small import ALICE, MS
from tests.journal.tampering import drop_triggers
from tests.money import a_gift

BEFORE = "0004"


def _old_gift() -> bytes:
    """A gift as version 1 wrote it: names in the middle, and no salt."""
    gift = msgspec.json.decode(a_gift("alice", 10, id="g1", creator="ann").entry)
    del gift["salt"]
    name = gift.pop("viewer_name")
    return msgspec.json.encode({"kind": gift.pop("kind"), "id": gift.pop("id"), "viewer_name": name, **gift})


OLD: list[tuple[bytes, dict[str, int]]] = [
    (encode(OpenEntry(partition=ALICE)), {}),
    (encode(TopUpEntry(id="t1", viewer="alice", coins=100, source="shop", fp="f")), {"b": 100}),
    (_old_gift(), {"b": 90, "d": 5, "k": 2}),
]


def _entry(n: int, body: bytes, numbers: dict[str, int]) -> LogEntry:
    fields = [part for name, number in numbers.items() for part in (name.encode(), str(number).encode())]
    entry = parse((f"1-{n}".encode(), [b"t", str(MS).encode(), *fields, b"e", body]))
    assert isinstance(entry, LogEntry)
    return entry


def _old_postings() -> list[Any]:
    """The postings of OLD, one after the other: they were all stored."""
    bought = [("coins", "house:sold", -100), ("coins", "viewer:alice", 100)]
    given = [("coins", "viewer:alice", -10), ("coins", "house:spent", 10)]
    given += [("diamonds", "house:awarded", -5), ("diamonds", "creator:ann", 5)]
    rows = [(ALICE, 1, n, leg, *of) for n, legs in ((1, bought), (2, given)) for leg, of in enumerate(legs)]
    return [value for row in rows for value in row]


def _write_old(connection: Connection, stored: list[Any]) -> None:
    """Write rows as the program before wrote them, with these postings."""
    written, known, mark = Rows(), Positions(START), START
    for n, (body, numbers) in enumerate(OLD):
        entry = msgspec.structs.replace(_entry(n, body, numbers), version=1)
        mark = book(ALICE, mark, entry, known, written)
    metadata = MetaData()
    assert written.legs == []
    for table, values in ((entries, written.entries), (postings, stored)):
        old = Table(table.name, metadata, autoload_with=connection)
        names, size = list(old.columns.keys()), len(table.columns)
        each = [
            dict(zip(table.columns.keys(), values[at : at + size], strict=True)) for at in range(0, len(values), size)
        ]
        connection.execute(insert(old), [{name: row[name] for name in names} for row in each])
    others: dict[str, list[dict[str, Any]]] = {
        "positions": [
            {"account": account, "balance": balance, "partition": ALICE} for account, balance in known.now.items()
        ],
        "watermarks": [{"partition": ALICE, "epoch": mark.epoch, "n": mark.n, "hash": mark.hash}],
        "topups": [
            {
                "id": "t1",
                "user_id": "alice",
                "coins": 100,
                "source": "shop",
                "at_ms": MS,
                "state": "posted",
                "balance": 100,
            }
        ],
    }
    for name, some in others.items():
        connection.execute(insert(Table(name, metadata, autoload_with=connection)), some)


@pytest.fixture
def upgraded(empty_database: str) -> Iterator[Engine]:
    """A journal with rows from before, one from after its migration, and no fault."""
    engine = database.connect(empty_database)
    database.migrate(engine, BEFORE)
    with engine.begin() as connection:
        _write_old(connection, _old_postings())
    database.migrate(engine)
    ledger = Ledger(engine, Clock(lambda: MS / 1000))
    gift = a_gift("alice", 20, id="g2", creator="ann")
    new = _entry(len(OLD), gift.entry, {"b": 70, "d": 15, "k": 0})
    mark = ledger.marks()[ALICE]
    assert mark != Mark(0, 0, START.hash)
    ledger.write(ledger.prepare({ALICE: mark}, {ALICE: [new]}))
    yield engine
    engine.dispose()


def test_both_versions_are_audited(upgraded: Engine) -> None:
    """Old rows keep all that they say; the audit derives them as the old program did, and new ones as this does."""
    assert [(row.version, row.text is None) for row in rows(upgraded, entries)] == [(1, True)] * 3 + [(2, False)]
    assert "Alice" in rows(upgraded, entries)[2].body
    with upgraded.connect() as connection:
        found = verify(connection, ALICE)
        assert (found.wrong, str(found.head)) == ([], "1-3")
        assert verify_orders(connection) == []
    assert rows(upgraded, legs) == []
    assert [tuple(row)[1:] for row in rows(upgraded, postings)][:6] == [
        tuple(_old_postings()[at + 1 : at + 7]) for at in range(0, 42, 7)
    ]


@pytest.mark.parametrize(
    ("n", "changed", "what"),
    [
        (2, {"version": 2}, "the hash does not follow"),
        (3, {"version": 1}, "the hash does not follow"),
        (2, {"coins": 11}, "coins is 11, but should be 10"),
        (2, {"text": "{}"}, "the text is not the one that its body names"),
        (3, {"combo_count": 9}, "the hash does not follow"),
    ],
)
def test_a_changed_row_of_either_version(upgraded: Engine, n: int, changed: dict[str, Any], what: str) -> None:
    """Neither version can be taken for the other."""
    with upgraded.connect() as connection:
        drop_triggers(connection)
        connection.execute(update(entries).where(entries.c.n == n).values(changed))
        first = verify(connection, ALICE).wrong[0]
        connection.rollback()
    assert (first.where, first.what) == (f"1-{n}", what)


def test_a_posting_that_was_wrong_before(empty_database: str) -> None:
    """The migration to a view does not hide it."""
    engine = database.connect(empty_database)
    database.migrate(engine, BEFORE)
    stored = _old_postings()
    assert stored[-1] == 5
    with engine.begin() as connection:
        _write_old(connection, [*stored[:-1], 500])
    database.migrate(engine)
    with engine.connect() as connection:
        first = verify(connection, ALICE).wrong[0]
    engine.dispose()
    assert (first.where, first.what) == ("1-2", "it has 1 stored postings, but should have 0")


def test_a_version_never_falls(upgraded: Engine) -> None:
    """Somebody who recomputes the chain cannot go back to a version that covers less."""
    known, written = Positions(START), Rows()
    with upgraded.connect() as connection:
        drop_triggers(connection)
        mark = START
        for n, (body, numbers) in enumerate(OLD):
            entry = msgspec.structs.replace(_entry(n, body, numbers), version=2 if n == 1 else 1)
            mark = book(ALICE, mark, entry, known, written)
            row = dict(zip(COLUMNS, written.entries[-len(COLUMNS) :], strict=True))
            connection.execute(update(entries).where(entries.c.n == n).values(row))
        assert connection.execute(select(entries.c.version).order_by(entries.c.n)).scalars().all() == [1, 2, 1, 2]
        first = verify(connection, ALICE).wrong[0]
        connection.rollback()
    assert (first.where, first.what) == ("1-2", "version 1 of the chain after version 2")
