"""The newest entry that store and journal must both have: what counts as another past, and that it is frozen once."""

from typing import Any

import pytest
from sqlalchemy import insert, select

from server.clock import Clock
from server.journal import database, fork
from server.journal.tables import entries, quarantine

BODY = '{"kind":"open","partition":3}'
HERE, LATER = (2, 5), (3, 0)
CLOCK = Clock(lambda: 1_760_000_000.0)


def booked(**changed: Any) -> fork._Booked:
    """The journal's side of an entry."""
    return fork._Booked(**{"at_ms": 7, "balance": 4, "credited": None, "combo_count": 0, "body": BODY, **changed})


def stored(balance: str = "4", body: str = BODY) -> Any:
    """The store's side of it."""
    return [b"2-5", [b"t", b"7", b"b", balance.encode(), b"e", body.encode()]]


@pytest.mark.parametrize(
    ("row", "ours", "mark", "what"),
    [
        (stored(), booked(), LATER, None),
        (stored("5"), booked(), LATER, "is another"),
        (stored(body='{"kind":"open","partition":4}'), booked(), LATER, "is another"),
        (stored(), booked(at_ms=8), LATER, "is another"),
        (stored(), booked(credited=1), LATER, "is another"),
        (stored(), booked(combo_count=1), LATER, "is another"),
        ([b"2-5", [b"x", b"7"]], booked(), LATER, "is another"),
        (stored(), None, LATER, "is not in the journal"),
        (None, None, LATER, "is not in the journal"),
        (None, booked(), LATER, None),  # the log is trimmed there
        (None, None, HERE, None),  # the audit finds a mark without its row
    ],
)
def test_what_counts_as_another_past(row: Any, ours: fork._Booked | None, mark: tuple[int, int], what: str) -> None:
    """Every field of the entry counts, and an entry that the journal passed by."""
    found = fork.differs(row, ours, HERE, mark)
    assert found is None if what is None else found is not None and what in found


def test_rows_are_found_by_their_log_ids(journal: str) -> None:
    """Each partition has its own log id; a partition without the row is left out."""
    engine = database.connect(journal)
    row: dict[str, Any] = dict.fromkeys(entries.columns.keys(), 0)
    row |= {
        "kind": "open",
        "user_id": "",
        "room_id": None,
        "creator_id": None,
        "credited": None,
        "hash": "",
        "text": None,
    }
    row |= {"at_ms": 7, "balance": 4, "body": BODY}
    with engine.begin() as connection:
        for partition, epoch, n in ((3, 2, 5), (3, 2, 6), (4, 2, 5)):
            connection.execute(
                insert(entries).values({**row, "partition": partition, "epoch": epoch, "n": n, "ref": n * partition})
            )
    assert fork.in_journal(engine, {3: (2, 5), 4: (2, 6), 5: (2, 5)}) == {3: booked()}
    engine.dispose()


def test_a_fork_is_set_aside_once(journal: str) -> None:
    """Two nodes find it; a partition that is frozen already keeps its reason."""
    engine = database.connect(journal)
    for reason in ("first", "second"):
        fork.set_aside(engine, {3: (HERE, reason), 9: (HERE, reason)}, CLOCK)
    with engine.begin() as connection:
        found = connection.execute(
            select(quarantine.c.partition, quarantine.c.epoch, quarantine.c.n, quarantine.c.reason)
        )
        assert sorted(map(tuple, found)) == [(3, *HERE, "first"), (9, *HERE, "first")]
    engine.dispose()
