"""The view of all postings: it is as the table of kinds says, and an audit sees when somebody changes it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, select, text

from server import limits
from server.entries import KINDS
from server.journal import database, derived, views
from server.journal.drifts import Drifts, Found
from server.journal.heads import Heads
from server.journal.tables import legs, missing, postings
from tests.journal.small import ALICE, BOB, MS, fill
from tests.postgres import Journals

TURN_MS = int(limits.AUDIT_AGAIN_S * 1000 / limits.WALLET_PARTITIONS)


@pytest.fixture(params=["sqlite", "postgresql"])
def small(request: pytest.FixtureRequest, empty_journal: Path, tmp_path: Path) -> Iterator[Engine]:
    """A journal that is correct, for one test."""
    if request.param == "postgresql":
        server: Journals = request.getfixturevalue("postgres")
        address = server.journal()
    else:
        shutil.copyfile(empty_journal, tmp_path / "journal.sqlite3")
        address = f"sqlite:///{tmp_path / 'journal.sqlite3'}"
    engine = database.connect(address)
    fill(engine)
    yield engine
    engine.dispose()


def query(connection: Connection) -> str:
    """The view's query as the database has it, without white space."""
    asked = "SELECT pg_get_viewdef('postings'::regclass)"
    if connection.dialect.name == "sqlite":
        asked = "SELECT sql FROM sqlite_master WHERE name = 'postings'"
    return re.sub(r"\s", "", connection.execute(text(asked)).scalar_one())


def of(engine: Engine, partition: int, n: int) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        at = postings.c.partition == partition, postings.c.epoch == 1, postings.c.n == n
        columns = postings.c.leg, postings.c.asset, postings.c.account, postings.c.amount
        return [tuple(row) for row in connection.execute(select(*columns).where(*at).order_by(postings.c.leg))]


def test_the_view_is_as_the_kinds_say(small: Engine) -> None:
    """The migrations make the same view as the table of kinds. When a kind's legs change, they need a new one."""
    with small.begin() as connection:
        before = query(connection)
        views.make(connection)
        assert query(connection) == before


def test_the_postings_of_each_kind(small: Engine) -> None:
    """Gifts, top-ups and refunds store none; those of a chargeback and of the books do not follow from columns."""
    assert of(small, ALICE, 1) == [(0, "coins", "house:sold", -100), (1, "coins", "viewer:alice", 100)]
    assert of(small, ALICE, 2) == [
        (0, "coins", "viewer:alice", -30),
        (1, "coins", "house:spent", 30),
        (2, "diamonds", "house:awarded", -15),
        (3, "diamonds", "creator:ann", 15),
    ]
    assert of(small, ALICE, 4) == [
        (0, "coins", "house:spent", -30),
        (1, "coins", "viewer:alice", 30),
        (2, "diamonds", "creator:ann", -15),
        (3, "diamonds", "house:awarded", 15),
    ]
    assert of(small, ALICE, 7) == [
        (0, "coins", "viewer:alice", -30),
        (1, "coins", "house:spent", -70),
        (2, "coins", "house:sold", 100),
        (3, "diamonds", "creator:ben", -10),
        (4, "diamonds", "house:awarded", 10),
        (5, "diamonds", "creator:ann", -25),
        (6, "diamonds", "house:awarded", 25),
    ]
    with small.connect() as connection:
        assert connection.execute(select(legs.c.n).where(legs.c.partition == ALICE).distinct()).scalars().all() == [7]
        sums = select(func.sum(postings.c.amount)).group_by(
            postings.c.partition, postings.c.epoch, postings.c.n, postings.c.asset
        )
        assert {int(sum_) for sum_ in connection.execute(sums).scalars()} == {0}


def test_the_legs_of_a_kind() -> None:
    """They sum to zero in each asset, and name a column and an account."""
    for kind in KINDS.values():
        assert not (kind.legs and kind.stored), kind.name
        for asset in ("coins", "diamonds"):
            assert sum(leg.sign for leg in kind.legs if leg.asset == asset) == 0
        assert {leg.asset for leg in kind.legs} <= {"coins", "diamonds"}
        assert all(re.fullmatch(r"viewer|creator|house:\w+", leg.account) for leg in kind.legs)


REAL = views.definition().replace("made (kind", "made (name").replace("made.kind", "made.name")
CHANGES = {
    "a posting more": f"{REAL} UNION ALL SELECT {BOB}, 1, 2, 4, 'coins', 'viewer:eve', 9",
    "a posting less": f"SELECT * FROM ({REAL}) AS a WHERE NOT (a.partition = {BOB} AND a.n = 2 AND a.leg = 3)",
    "a gift counts for another creator": REAL.replace("COALESCE(e.creator_id, '')", "'eve'"),
    "an amount": REAL.replace("ELSE e.diamonds END", "ELSE e.diamonds + 1 END"),
    "another house account": REAL.replace("house:spent", "house:given"),
    "another asset": REAL.replace("0, 'coins', 'house:sold'", "0, 'diamonds', 'house:sold'"),
    "without what is stored": REAL.partition("UNION ALL")[0],
    "nothing at all": f"SELECT * FROM ({REAL}) AS a WHERE 1 = 0",
}


def changed(engine: Engine, definition: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP VIEW postings")
        connection.exec_driver_sql(f"CREATE VIEW postings AS {definition}")


def look(drifts: Drifts, now_ms: int, *, everything: bool = False) -> Found:
    return drifts.look({}, now_ms, everything=everything)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_view_is_found(small: Engine, change: str) -> None:
    """It is said, and stops no partition, because nothing that pays reads it. A rebuild makes the view again."""
    drifts = Drifts(small, Heads(small, None))
    assert look(drifts, MS, everything=True).nowhere == []
    changed(small, CHANGES[change])
    found = look(drifts, MS, everything=True)
    assert found.nowhere != []
    assert all(each.startswith("postings: ") for each in found.nowhere)
    assert found.wrong == []
    derived.rebuild(small)
    assert look(drifts, MS).nowhere == [], "what was wrong is compared again"


def test_a_changed_view_is_found_within_a_day(small: Engine) -> None:
    """Each partition has its turn, and one that is wrong is compared in every audit until it is right."""
    drifts = Drifts(small, Heads(small, None))
    changed(small, CHANGES["a posting more"])
    found = [look(drifts, MS + turn * TURN_MS).nowhere for turn in range(limits.WALLET_PARTITIONS)]
    wrong = [f"postings: viewer:eve has 9 coins in partition {BOB}, but its entries say 0"]
    assert found == [wrong if partition >= BOB else [] for partition in range(limits.WALLET_PARTITIONS)]
    with small.begin() as connection:
        views.make(connection)
    assert look(drifts, MS).nowhere == []


def test_a_missing_view_is_named(small: Engine) -> None:
    """As a missing table is."""
    with small.begin() as connection:
        assert missing(connection) == []
        connection.exec_driver_sql("DROP VIEW postings")
        assert missing(connection) == ["postings"]
