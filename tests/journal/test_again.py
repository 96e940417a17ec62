"""Slices of the audit: rows are verified again a few at a time, those first that were verified longest ago."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from server import limits
from server.clock import Clock
from server.journal import again, anchors, database
from server.journal.anchors import Anchor, AnchorFile
from server.journal.heads import START, Heads, Newest
from server.journal.memory import Memory
from server.journal.tables import audit_heads, entries, positions, watermarks
from server.journal.verify import verify
from server.store.client import Store
from tests.conftest import Stores
from tests.journal.small import ALICE, BOB, fill
from tests.journal.tampering import drop_triggers

KEY = "an-audit-key-of-at-least-thirty-two-characters"
ROWS = {ALICE: 14, BOB: 3}


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    fill(made)
    yield made
    made.dispose()


@pytest.fixture
def heads(engine: Engine) -> Heads:
    """What an audit at 1 and at 2 ms has verified: Alice's partition and Bob's."""
    made = Heads(engine, None)
    with engine.connect() as connection:
        for at_ms, partition in enumerate((ALICE, BOB), 1):
            found = verify(connection, partition)
            assert found.head is not None
            assert found.head.totals.flat.entries == ROWS[partition]
            made.advance(partition, found.head, at_ms)
    made.fresh.clear()
    return made


def far(heads: Heads) -> dict[int, tuple[int, int]]:
    """How many rows of the pass are verified, and since when all are."""
    return {p: (known.again.totals.flat.entries, known.whole_ms) for p, known in heads.known.items()}


def test_slices_go_on(engine: Engine, heads: Heads) -> None:
    """A slice goes on where the last one ended. What is left of it is for the partition that is next."""
    for now_ms, read in ((10, 4), (20, 8), (30, 12)):
        assert again.verify_slice(engine, heads, 4, now_ms) == []
        assert far(heads) == {ALICE: (read, 1), BOB: (0, 2)}
    assert again.verify_slice(engine, heads, 4, 40) == []
    assert far(heads) == {ALICE: (0, 10), BOB: (2, 2)}, "all of Alice's are verified since the pass began"
    assert again.verify_slice(engine, heads, 1, 50) == []
    assert far(heads) == {ALICE: (0, 10), BOB: (0, 40)}, "a slice that ends with the partition's last row ends the pass"
    assert again.verify_slice(engine, heads, 15, 60) == []
    assert far(heads) == {ALICE: (0, 60), BOB: (1, 40)}


def test_one_row_counts_as_one(engine: Engine, heads: Heads) -> None:
    """The end of one partition leaves the rest of the slice to the next."""
    assert again.verify_slice(engine, heads, ROWS[ALICE] - 1, 10) == []
    assert again.verify_slice(engine, heads, 2, 20) == []
    assert far(heads) == {ALICE: (0, 10), BOB: (1, 2)}


def test_an_exact_slice_leaves_nothing_for_the_next(engine: Engine, heads: Heads) -> None:
    """The bound is one on the rows of all partitions together."""
    assert again.verify_slice(engine, heads, ROWS[ALICE], 10) == []
    assert far(heads) == {ALICE: (0, 10), BOB: (0, 2)}
    assert heads.known[BOB].again == START


def test_what_this_audit_has_verified_has_no_turn(engine: Engine, heads: Heads) -> None:
    """It was read from the beginning just now."""
    heads.fresh.add(ALICE)
    assert again.verify_slice(engine, heads, 99, 10) == []
    assert far(heads) == {ALICE: (0, 1), BOB: (0, 10)}


def test_a_wrong_row_is_found_in_its_slice(engine: Engine, heads: Heads) -> None:
    """And in each slice after it: the pass does not go on behind it. The other partitions have their turn."""
    with engine.begin() as connection:
        drop_triggers(connection)
        sixth = (entries.c.partition == ALICE) & (entries.c.epoch == 1) & (entries.c.n == 5)
        connection.execute(update(entries).where(sixth).values(at_ms=entries.c.at_ms + 1))
    assert again.verify_slice(engine, heads, 5, 10) == []
    for now_ms in (20, 30):
        [wrong] = again.verify_slice(engine, heads, 5, now_ms)
        assert (wrong.partition, wrong.where) == (ALICE, "1-5")
        assert far(heads) == {ALICE: (5, 1), BOB: (0, 2)}
    assert [wrong.where for wrong in again.verify_slice(engine, heads, 12, 40)] == ["1-5"]
    assert far(heads) == {ALICE: (5, 1), BOB: (0, 40)}


def test_a_pass_ends_with_the_positions(engine: Engine, heads: Heads) -> None:
    """Rows that are right do not end a pass while a position is wrong."""
    with engine.begin() as connection:
        mine = (positions.c.partition == BOB) & (positions.c.account == "creator:ann")
        connection.execute(update(positions).where(mine).values(balance=positions.c.balance + 1))
    found = again.verify_slice(engine, heads, 99, 10)
    assert [(wrong.partition, wrong.where) for wrong in found] == [(BOB, "creator:ann")]
    assert far(heads) == {ALICE: (0, 10), BOB: (0, 2)}


@pytest.mark.parametrize(
    ("passed_s", "rows"),
    [(0, 0), (limits.AUDIT_AGAIN_S / 17, 1), (limits.AUDIT_AGAIN_S / 16, 2), (limits.AUDIT_AGAIN_S * 3, 17)],
)
def test_the_size_of_a_slice(heads: Heads, passed_s: float, rows: int) -> None:
    """All rows have their turn within AUDIT_AGAIN_S, and some in each slice."""
    assert again.size(heads, passed_s) == limits.AUDIT_AGAIN_MIN + rows


async def test_slices_follow_from_the_time_between_them(
    engine: Engine, heads: Heads, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first after a start is the smallest; a clock that was set back gives the smallest, too."""
    now_s, asked = [1_000.0], list[int]()
    memory = Memory(engine, Store("wallet", f"unix://{stores.wallet.socket}"), Clock(lambda: now_s[0]))
    memory.heads = heads
    monkeypatch.setattr(again, "verify_slice", lambda _engine, _heads, most, _now_ms: asked.append(most) or [])
    for passed_s in (0.0, limits.AUDIT_AGAIN_S / 16, limits.AUDIT_AGAIN_S / 16, -limits.AUDIT_AGAIN_S):
        now_s[0] += passed_s
        assert await memory.verify_slice() == []
    assert [most - limits.AUDIT_AGAIN_MIN for most in asked] == [0, 2, 2, 0]


def test_a_slice_has_a_bound(heads: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long break, too."""
    monkeypatch.setattr(limits, "AUDIT_AGAIN_MAX", limits.AUDIT_AGAIN_MIN + 9)
    assert again.size(heads, limits.AUDIT_AGAIN_S) == limits.AUDIT_AGAIN_MIN + 9


# --- heads in memory and in SQL --------------------------------------------------------------------------------------
def test_heads_are_read_once(engine: Engine, heads: Heads) -> None:
    """A running audit believes its own memory, a start what is signed. Emptied by a person, both begin again."""
    kept = Heads(engine, KEY)
    for partition, known in heads.known.items():
        kept.advance(partition, known.head, known.whole_ms)
    kept.save()
    running = Heads(engine, KEY)
    assert running.load() == []
    assert running.known == kept.known
    with engine.begin() as connection:
        mine = audit_heads.c.partition == ALICE
        connection.execute(update(audit_heads).where(mine).values(mac="0" * 64))
    assert running.load() == []
    assert running.known == kept.known
    assert [wrong.partition for wrong in Heads(engine, KEY).load()] == [ALICE]
    kept.clear()
    assert (kept.known, running.load(), running.known) == ({}, [], {})


def test_a_watermark_that_was_moved_back(engine: Engine, heads: Heads) -> None:
    """It is behind the remembered head, and its partition is verified from the beginning."""
    with engine.begin() as connection:
        connection.execute(update(watermarks).where(watermarks.c.partition == ALICE).values(n=1))
    assert [(wrong.partition, wrong.where) for wrong in heads.count()] == [(ALICE, "watermark")]
    assert heads.head(ALICE) == START
    assert heads.head(BOB) != START


def test_anchors_are_read_as_they_were_written(tmp_path: Path) -> None:
    """The file makes its folders. A line has all places, or none."""
    file = tmp_path / "some" / "folder" / "anchors.log"
    lines = [Anchor(Newest("i", n), 5, places, "h") for n, places in enumerate(({3: (1, 2), 4: (2, 0)}, {}))]
    for line in lines:
        AnchorFile(file).append(line)
    assert list(anchors.read(file.read_text().splitlines(keepends=True))) == lines
