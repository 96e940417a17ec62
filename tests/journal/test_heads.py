"""What audits remember: forged heads, rows changed below them, an old database, and a recomputed chain are found."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, insert, select, text, update
from structlog.testing import capture_logs

from server.journal import again, anchors, verify
from server.journal.audit import Audit, Report
from server.journal.books import chain
from server.journal.database import reading
from server.journal.heads import START, WHOLE, Heads
from server.journal.memory import Memory, development_key
from server.journal.tables import audit_heads, entries, legs, positions, watermarks
from server.store import keys
from tests.journal.desk import Desk, a_desk
from tests.site import Site

KEY = "an-audit-key-of-at-least-thirty-two-characters"
USER = "cleo"
PARTITION = keys.partition_of(USER)


class Books:
    """A desk whose audits remember, and hands that change SQL past the journal. They put everything back."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.engine = desk.site.node.engine
        self.file = folder / "anchors.log"
        self.audit = self.started()
        self.saved: list[tuple[Any, list[dict[str, Any]]]] = []

    def memory(self, key: str | None = KEY, file: Path | None = None) -> Memory:
        return Memory(self.engine, self.desk.money, self.desk.site.node.clock, key, file)

    def started(self, key: str | None = KEY) -> Audit:
        """An audit as after a start of the journal process."""
        memory = self.memory(key, self.file)
        return Audit(self.engine, self.desk.money, self.desk.site.node.clock, memory)

    def save(self) -> list[tuple[Any, list[dict[str, Any]]]]:
        tables = (audit_heads, entries, legs, positions, watermarks)
        return [(table, [row._asdict() for row in self.desk.rows(select(table))]) for table in tables]

    def restore(self, saved: list[tuple[Any, list[dict[str, Any]]]]) -> None:
        with self.unguarded() as connection:
            for table, rows in saved:
                connection.execute(delete(table))
                if rows:
                    connection.execute(insert(table), rows)

    @contextmanager
    def unguarded(self) -> Iterator[Connection]:
        """A transaction of somebody who may do everything: `entries` and `legs` are not insert-only here."""
        with self.engine.begin() as connection:
            triggers = self._drop_triggers(connection)
            yield connection
            for statement in triggers:
                connection.execute(text(statement))

    def _drop_triggers(self, connection: Connection) -> list[str]:
        if self.engine.dialect.name != "sqlite":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            return []
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        for name, _ in rows:
            connection.execute(text(f"DROP TRIGGER {name}"))
        return [sql for _, sql in rows]

    def change(self, *statements: Any) -> None:
        with self.unguarded() as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
async def books(site: Site, tmp_path: Path) -> AsyncIterator[Books]:
    """A journal of some gifts that one audit has verified. What a test changes is put back at its end."""
    async with a_desk(site, site.settings.wallet_address) as desk:
        await desk.buy(USER, 1_000)
        for coins in (5, 6, 7, 8):
            await desk.give(USER, coins)
        await desk.journal()
        made = Books(desk, tmp_path)
        assert (await made.audit.run(everything=False)).ok
        made.saved = made.save()
        yield made
        made.restore(made.saved)
        await desk.money.call("DEL", keys.AUDIT_NEWEST)


def of_user(table: Any, n: int) -> Any:
    return (table.c.partition == PARTITION) & (table.c.n == n)


def found(report: Report) -> set[str]:
    assert {wrong.partition for wrong in report.wrong} <= {PARTITION}, report.wrong
    return {wrong.where for wrong in report.wrong}


# --- rows below a head -----------------------------------------------------------------------------------------------
def _inserted(connection: Connection) -> None:
    row = connection.execute(select(entries).where(of_user(entries, 2))).one()._asdict()
    connection.execute(insert(entries).values({**row, "epoch": 0, "n": 1, "ref": "invented"}))


CHANGES: dict[str, Any] = {
    "an entry inserted": _inserted,
    "an entry removed": lambda c: c.execute(delete(entries).where(of_user(entries, 2))),
    "coins changed": lambda c: c.execute(update(entries).where(of_user(entries, 2)).values(coins=1)),
    "diamonds changed": lambda c: c.execute(update(entries).where(of_user(entries, 2)).values(diamonds=99)),
    "a balance changed": lambda c: c.execute(update(entries).where(of_user(entries, 2)).values(balance=77)),
    "a credit changed": lambda c: c.execute(update(entries).where(of_user(entries, 2)).values(credited=77)),
    "a time changed": lambda c: c.execute(update(entries).where(of_user(entries, 2)).values(at_ms=77)),
    "a combo changed": lambda c: c.execute(update(entries).where(of_user(entries, 2)).values(combo_count=77)),
    "a leg of a gift stored": lambda c: c.execute(
        insert(legs).values((PARTITION, 1, 2, 0, "coins", f"viewer:{USER}", -5))
    ),
    "a viewer's position": lambda c: c.execute(
        update(positions).where(positions.c.account == f"viewer:{USER}").values(balance=5)
    ),
    "a creator's position": lambda c: c.execute(
        update(positions)
        .where(positions.c.account == "creator:ann", positions.c.partition == PARTITION)
        .values(balance=5)
    ),
}


async def test_what_is_changed_below_a_head_is_found_at_once(books: Books) -> None:
    """Counts and sums of all rows are compared in every audit."""
    assert books.audit.memory.heads.head(PARTITION).n == 5, "the next audit reads no row again"
    saved = books.save()
    for change in CHANGES.values():
        with books.unguarded() as connection:
            change(connection)
        wrong = await books.audit.memory.begin()
        assert {each.partition for each in wrong} == {PARTITION}, change
        assert {each.where for each in wrong} <= {"rows", "positions"}
        assert books.audit.memory.heads.head(PARTITION) == START, "it is verified from the beginning"
        books.restore(saved)
        assert await books.audit.memory.begin() == []
        assert books.audit.memory.heads.head(PARTITION).n == 5, "what is right again needs no second look"


async def test_the_first_wrong_row_is_named(books: Books) -> None:
    """A partition whose sums are wrong is verified from the beginning, in each audit until it is corrected."""
    books.change(update(entries).where(of_user(entries, 2)).values(balance=77))
    for _ in range(2):
        assert {"rows", "1-2"} <= found(await books.audit.run(everything=False))


async def test_a_slice_finds_what_sums_do_not_show(books: Books) -> None:
    """Two rows that exchange their times keep all sums. The slice of a small journal is all of it."""
    times = {row.n: row.at_ms for row in books.desk.rows(select(entries).where(entries.c.partition == PARTITION))}
    changes = [update(entries).where(of_user(entries, n)).values(at_ms=times[n] + by) for n, by in ((2, 1), (3, -1))]
    books.change(*changes)
    assert await books.audit.memory.begin() == []
    assert [(wrong.partition, wrong.where) for wrong in await books.audit.memory.verify_slice()] == [(PARTITION, "1-2")]


async def test_slices_go_through_everything(books: Books) -> None:
    """Slices of two rows go on where the last one ended. At the head a pass ends, and the oldest partition is next."""
    heads = books.audit.memory.heads
    heads.fresh.clear()  # as at the next audit
    partitions = len(heads.known)
    before = heads.known[PARTITION].whole_ms
    rows = []
    for n in range(3):
        assert again.verify_slice(books.engine, heads, 2, before + 1 + n) == []
        rows.append(heads.known[PARTITION].again.n)
    assert partitions == 64
    while heads.known[PARTITION].whole_ms == before:
        assert again.verify_slice(books.engine, heads, 2, before + 9) == []
        rows.append(heads.known[PARTITION].again.n)
    assert [*dict.fromkeys(rows)][:1] == [0]
    assert {1, 3, 5} >= set(rows) - {0}


# --- heads in SQL ----------------------------------------------------------------------------------------------------
async def test_a_start_goes_on_from_the_remembered_heads(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first audit after a start reads only what is new."""
    await books.desk.give(USER, 9)
    await books.desk.journal()
    books.saved = books.save()
    starts: dict[int, int] = {}
    whole = verify.verify

    def noted(connection: Connection, partition: int, start: Any, seen: Any) -> Any:
        starts[partition] = start.n
        return whole(connection, partition, start, seen)

    monkeypatch.setattr("server.journal.part.verify", noted)
    report = await books.started().run(everything=False)
    assert report.ok, report
    assert starts[PARTITION] == 5
    assert report.counter == 2


def _state(connection: Connection, old: str, new: str) -> None:
    mine = audit_heads.c.partition == PARTITION
    connection.execute(update(audit_heads).where(mine).values(state=func.replace(audit_heads.c.state, old, new)))


FORGERIES: dict[str, Any] = {
    "another hash": lambda c: _state(c, '"hash":"', '"hash":"00'),
    "other sums": lambda c: _state(c, '"times":', '"times":1'),
    "another signature": lambda c: c.execute(
        update(audit_heads).where(audit_heads.c.partition == PARTITION).values(mac="0" * 64)
    ),
    "another partition's": lambda c: c.execute(
        update(audit_heads)
        .where(audit_heads.c.partition == PARTITION)
        .values(
            {
                name: select(audit_heads.c[name]).where(audit_heads.c.partition == other).scalar_subquery()
                for other in [WHOLE]
                for name in ("state", "mac")
            }
        )
    ),
    "another instance": lambda c: c.execute(
        update(audit_heads).where(audit_heads.c.partition == PARTITION).values(instance="another")
    ),
}


async def test_a_forged_head_is_not_believed(books: Books) -> None:
    """It is a finding, and the partition is verified from the beginning."""
    saved = books.save()
    for forgery in FORGERIES.values():
        with books.engine.begin() as connection:
            forgery(connection)
        heads = Heads(books.engine, KEY)
        assert [(wrong.partition, wrong.where) for wrong in heads.load()] == [(PARTITION, "head")]
        assert heads.head(PARTITION) == START
        assert len(heads.known) == 63, "the others are believed"
        books.restore(saved)
    with books.engine.begin() as connection:
        FORGERIES["another hash"](connection)
    audit = books.started()
    assert found(await audit.run(everything=False)) == {"head"}
    assert audit.memory.heads.head(PARTITION).n == 5, "everything is verified by now"
    assert await audit.memory.begin() == []


async def test_an_older_head_is_not_believed(books: Books) -> None:
    """A row with a true signature, but of an earlier audit."""
    mine = audit_heads.c.partition == PARTITION
    [old] = [row._asdict() for row in books.desk.rows(select(audit_heads).where(mine))]
    await books.audit.run(everything=False)
    with books.engine.begin() as connection:
        connection.execute(update(audit_heads).where(mine).values(old))
    assert found(await books.started().run(everything=False)) == {"head"}


async def test_another_key_is_no_alarm(books: Books) -> None:
    """With a new key, or without one, everything is verified from the beginning."""
    for key in ("another-key-of-at-least-thirty-two-characters", None):
        heads = Heads(books.engine, key)
        assert heads.load() == []
        assert heads.head(PARTITION) == START
        assert await books.started(key).memory.begin() == []


async def test_without_a_key_nothing_is_said_of_keys(books: Books) -> None:
    """A second start without a key is quiet. One after a key was taken away says so once, not for each partition."""
    for key, said in ((None, 1), (None, 0), (KEY, 1), (KEY, 0)):
        with capture_logs() as logs:
            await books.started(key).run(everything=False)
        about = [line for line in logs if line["event"] == "audit_heads_of_another_key"]
        assert len(about) == said, (key, about)


# --- an old database, and another one --------------------------------------------------------------------------------
async def test_an_old_database_shows_by_the_stores_counter(books: Books) -> None:
    """Its heads are true, but older than the audit that the store knows of. It stays so until somebody accepts it."""
    old = books.save()
    await books.audit.run(everything=False)
    books.restore(old)
    for _ in range(2):
        report = await books.started().run(freeze=True)
        assert (report.ok, report.wrong) == (False, [])
        assert [re.sub(r"\d+", "N", doubt) for doubt in report.doubts] == [
            "the journal is older than its last audit: it has audit N, the wallet store N"
        ]
    await books.memory().accept()
    assert (await books.started().run(everything=False)).ok


async def test_another_database_shows(books: Books) -> None:
    """A copy of heads from another database has another instance's name."""
    await books.desk.money.call("SET", keys.AUDIT_NEWEST, "another 1")
    report = await books.started().run(everything=False)
    assert not report.ok
    assert "another database" in report.doubts[0]


# --- anchors --------------------------------------------------------------------------------
def recomputed(connection: Connection) -> None:
    """Change a gift, and all hashes that follow from it, the watermark's too, as somebody with the code can."""
    last = START.hash
    mine = select(entries).where(entries.c.partition == PARTITION).order_by(entries.c.epoch, entries.c.n)
    for row in connection.execute(mine).all():
        at_ms = row.at_ms + (row.n == 2)
        values = {"at_ms": at_ms}
        changed = type("Row", (), {**row._asdict(), **values})
        last = values["hash"] = chain(last, PARTITION, changed, row.body.encode())
        connection.execute(update(entries).where(of_user(entries, row.n)).values(values))
    connection.execute(update(watermarks).where(watermarks.c.partition == PARTITION).values(hash=last))


async def test_a_recomputed_chain_shows_in_the_anchors(books: Books) -> None:
    """Nothing in SQL shows it once the remembered heads are gone; a copy of the anchors does."""
    copied = books.file.read_text().splitlines(keepends=True)
    assert anchors.compare(books.engine, copied) == anchors.Compared(1, None)
    books.change(delete(audit_heads))
    with books.unguarded() as connection:
        recomputed(connection)
    with reading(books.engine).connect() as connection:
        assert verify.verify(connection, PARTITION).wrong == []
    compared = anchors.compare(books.engine, copied)
    assert compared.anchors == 0
    assert compared.wrong is not None
    assert "anchor 1" in compared.wrong


async def test_a_recomputed_chain_shows_by_the_remembered_head(books: Books) -> None:
    """A running audit knows the hash that it verified, and one that starts has its signature."""
    with books.unguarded() as connection:
        recomputed(connection)
    assert found(await books.audit.run(everything=False))
    assert found(await books.started().run(everything=False))


async def test_an_audit_writes_one_anchor(books: Books) -> None:
    """The file is its owner's alone; it is changed for another one when it is full, and a cut line is left out."""
    report = await books.audit.run(everything=False)
    lines = books.file.read_text().splitlines(keepends=True)
    assert [each.newest.counter for each in anchors.read(lines)] == [1, 2]
    assert [*anchors.read(lines)][-1].hash == report.anchor
    assert books.file.stat().st_mode & 0o777 == 0o600
    assert len([*anchors.read([lines[0], lines[1][:-9]])]) == 1
    with pytest.raises(anchors.Unreadable, match="line 1"):
        list(anchors.read(["nonsense\n"]))


async def test_a_full_file_of_anchors_is_changed(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before is kept."""
    monkeypatch.setattr("server.limits.ANCHORS_BYTES_MAX", 1)
    before = books.file.read_text()
    await books.audit.run(everything=False)
    assert books.file.with_name("anchors.log.1").read_text() == before
    assert len(books.file.read_text().splitlines()) == 1


async def test_an_anchor_that_cannot_be_written_is_an_alarm(books: Books, tmp_path: Path) -> None:
    """The audit goes on, and is not ok."""
    memory = books.memory(KEY, tmp_path)  # a folder
    report = await Audit(books.engine, books.desk.money, books.desk.site.node.clock, memory).run(everything=False)
    assert (report.ok, report.wrong) == (False, [])
    assert "the anchor was not written" in report.doubts[0]


async def test_development_makes_a_key(tmp_path: Path) -> None:
    """Once, and readable by its owner alone."""
    key = development_key(tmp_path / "data")
    assert len(key) == 64
    assert development_key(tmp_path / "data") == key
    assert (tmp_path / "data" / "audit.key").stat().st_mode & 0o777 == 0o600
