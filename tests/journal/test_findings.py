"""What an audit's report says and keeps: the first reason why it is not ok, its age, and who is frozen for it."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, insert, select
from structlog.testing import capture_logs

from server import limits
from server.clock import Clock
from server.journal import database, findings, fork, troubles
from server.journal.findings import Report, Wrong
from server.journal.opening import Opened
from server.journal.refill import CannotOpen
from server.journal.sums import Sums, held_by
from server.journal.tables import audits, quarantine
from server.journal.watch import AuditWatch
from tests.program import eventually

OLD_MS = int(limits.AUDIT_OLD_S * 1000)
T0 = 1_760_000_000_000


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def report(**changed: Any) -> Report:
    """A report in which all is right, just now."""
    right = findings._nothing()
    return msgspec.structs.replace(
        right, **{"ok": True, "oldest_check_ms": 0, "at_ms": T0, "finished_ms": T0, **changed}
    )


WHY: list[tuple[dict[str, Any], str]] = [  # each also has the reasons of those below it
    ({"wrong": [Wrong(3, "1-2", "is odd"), Wrong(4, "x", "y")]}, "partition 3, 1-2: is odd"),
    ({"failed": "SQL is down"}, "the newest audit failed: SQL is down"),
    ({"stuck": {7: "audit: coins"}}, "partition 7 is frozen: audit: coins"),
    ({"doubts": ["an old database", "another"]}, "an old database"),
    ({"not_compared": {9: "nobody drains"}}, "partition 9 was not compared: nobody drains"),
    ({}, "not everything was compared lately"),
]


@pytest.mark.parametrize("first", range(len(WHY)))
def test_the_first_reason_is_said(first: int) -> None:
    """In order of precedence."""
    changed = {name: value for changed, _ in WHY[first:] for name, value in changed.items()}
    assert report(ok=False, **changed).why_not() == WHY[first][1]


def test_a_report_grows_old() -> None:
    """Its age is that of its oldest comparison when it finished, and the time since then."""
    made = report(oldest_check_ms=60_000)
    assert [made.age_ms(T0 + ms) for ms in (-5, 0, 5)] == [60_000, 60_000, 60_005]
    assert report(oldest_check_ms=None).age_ms(T0 + 5) == 5
    last_ms = T0 + OLD_MS - 60_000
    assert made.seen_at(last_ms) == made
    late = made.seen_at(last_ms + 1)
    assert (late.ok, late.failed) == (False, "no audit has finished lately")
    assert report(ok=False, failed="x").seen_at(T0 + OLD_MS * 9).failed == "x"


def test_findings_hide_no_others() -> None:
    """Of each partition so many are kept, in order."""
    most = limits.AUDIT_WRONG_MAX // 4
    many = [Wrong(partition, str(n), "") for n in range(most + 2) for partition in (3, 5)]
    kept = findings.first_of_each([*many, Wrong(9, "0", "")])
    assert kept == [*many[: 2 * most], Wrong(9, "0", "")]


def test_the_newest_report_is_read(engine: Engine) -> None:
    """One of the same moment is replaced; those that are old enough are deleted."""
    assert (findings.latest(engine), findings._nothing().ok) == (None, False)
    findings.keep_failure(engine, 1, "SQL is down")
    before_any = findings.latest(engine)
    assert before_any is not None
    assert {value for value in msgspec.structs.astuple(before_any) if isinstance(value, int)} == {0, 1}, "at_ms is 1"
    assert sum(value for value in msgspec.structs.astuple(before_any) if isinstance(value, int)) == 1
    kept_ms = limits.AUDITS_KEPT_MS
    for at_ms in (T0, T0 + 1, T0 + 2, T0 + 2, T0 + 1 + kept_ms):
        findings.keep(engine, report(at_ms=at_ms, entries=at_ms - T0), freeze=False)
    with engine.connect() as connection:
        assert list(connection.execute(select(audits.c.at_ms).order_by(audits.c.at_ms)).scalars()) == [
            T0 + 1,
            T0 + 2,
            T0 + 1 + kept_ms,
        ]
    newest = findings.latest(engine)
    assert newest is not None
    assert newest.entries == 1 + kept_ms
    findings.keep_failure(engine, T0 + 2 + kept_ms, "x" * (limits.LOGGED_CHARS_MAX + 1))
    failed = findings.latest(engine)
    assert failed is not None
    assert (failed.ok, failed.entries, len(failed.failed)) == (False, 1 + kept_ms, limits.LOGGED_CHARS_MAX)


async def test_the_newest_report_is_watched(journal: str, empty_database: str) -> None:
    """A node reads it again and again. When SQL does not answer, the last one stays, and that is said."""
    engine, other = database.connect(journal), database.connect(empty_database)
    findings.keep(engine, report(at_ms=T0, finished_ms=T0, stuck={7: "thawed since"}), freeze=False)
    fork.set_aside(engine, {5: ((1, 0), "x"), 3: ((1, 0), "y")}, Clock(lambda: T0 / 1000))  # after that audit
    watch = AuditWatch(engine, Clock(lambda: T0 / 1000))
    assert (watch.degraded(), watch._figure("ok")) == ({"audit": "none was made yet"}, -1)
    await watch.start()
    await eventually(lambda: watch.report is not None)
    await watch.stop()
    assert watch.degraded() == {"partitions": "frozen: 3, 5"}
    assert [watch._figure(name) for name in ("ok", "oldest_check_ms", "anchor", "doubts")] == [1, 0, 0, 0]
    watch._engine = other  # it has no schema
    await watch.start()
    await eventually(lambda: watch.trouble)
    await watch.stop()
    assert watch.degraded() == {"journal": "its schema is missing", "partitions": "frozen: 3, 5"}
    watch._engine = engine
    await watch.start()
    await eventually(lambda: watch.trouble is None)
    await watch.stop()
    unlike = report(ok=False, oldest_check_ms=None, anchor="00000000001f99", doubts=["a", "b"], at_ms=T0)
    watch.report = unlike
    assert [watch._figure(name) for name in ("ok", "oldest_check_ms", "anchor", "doubts")] == [0, -1, 31, 2]
    assert watch.degraded() == {"partitions": "frozen: 3, 5", "audit": "not ok: GET /v1/audit says why"}
    for each in (engine, other):
        each.dispose()


def test_the_end_of_a_trouble_is_no_warning(engine: Engine) -> None:
    """Its beginning is an error. Who is woken by warnings is not woken by good news."""
    watch, opened = AuditWatch(engine, Clock(lambda: T0 / 1000)), Opened()
    with capture_logs() as logs:
        for trouble in (troubles.NO_RIGHT, troubles.NO_RIGHT, None):
            watch._note(trouble)
        opened.close(3, CannotOpen("another past"))
        opened.open(3, "7")
    assert [(each["event"], each["log_level"]) for each in logs] == [
        ("journal_unusable", "error"),
        ("journal_up", "info"),
        ("partition_closed", "error"),
        ("partition_opened", "info"),
    ]


def test_coins_that_must_be_held() -> None:
    """By the sums, and how a finding says it."""
    sums = Sums(bought=50, spent=30, refunded=7, charged_back=5, awarded=99)
    assert held_by(sums) == (22, "bought 50 - spent 30 + refunded 7 - charged back 5")


def test_an_audit_freezes_once(engine: Engine) -> None:
    """Each wrong partition with its first finding, at no log id; one that is frozen already keeps its reason."""
    row = {"partition": 5, "epoch": 2, "n": 3, "reason": "a misfit", "body": "", "at_ms": 1}
    with engine.begin() as connection:
        connection.execute(insert(quarantine).values(**row))
    wrong = [Wrong(3, "1-2", "is odd"), Wrong(3, "1-3", "too"), Wrong(5, "1-1", "is odd")]
    findings.keep(engine, report(wrong=wrong, ok=False), freeze=False)
    assert findings.frozen(engine) == {5: ["a misfit"]}
    for at_ms in (T0, T0 + 1):
        findings.keep(engine, report(wrong=wrong, ok=False, at_ms=at_ms), freeze=True)
    assert findings.frozen(engine) == {5: ["a misfit"], 3: ["audit: 1-2: is odd"]}
    with engine.connect() as connection:
        mine = select(quarantine).where(quarantine.c.partition == 3)
        [made] = connection.execute(mine).all()
    assert (made.epoch, made.n, made.at_ms, made.body) == (0, 0, T0, "")
