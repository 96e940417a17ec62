"""What an audit found: its report, kept in SQL, and the partitions that it froze."""

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, delete, insert, select

from server import limits
from server.journal.database import reading
from server.journal.tables import audits, quarantine


class Wrong(Struct, frozen=True):
    """One finding: something that is wrong."""

    partition: int
    where: str  # a log id, an account, or what was compared
    what: str


class Report(Struct, frozen=True, kw_only=True):
    """What an audit found, with the sums over all partitions. `ok`: all was compared lately, and all is right."""

    ok: bool
    at_ms: int
    entries: int
    coins_sold: int
    coins_spent: int
    coins_refunded: int
    coins_charged_back: int
    coins_held: int
    diamonds_awarded: int
    partitions_compared: int
    partitions_behind: int
    oldest_unverified_ms: int
    quarantined: int
    wrong: list[Wrong]
    coins_charged_back_from_gifts: int = 0  # these were spent already; the other charged back coins were in wallets
    diamonds_taken_back: int = 0  # of those awarded, by refunds and chargebacks
    counter: int = 0  # the number of this audit; 0 when it was not kept
    anchor: str = ""  # the hash over all verified heads
    verified_again_ms: int = 0  # every row was verified since
    derived_again_ms: int = 0  # every derived row was compared since
    doubts: list[str] = []  # what is wrong and of no partition: the database is an old one, or a creator's day is wrong
    stuck: dict[int, str] = {}  # msgspec copies it; frozen partitions, and why
    not_compared: dict[int, str] = {}  # partitions, and why
    not_compared_since_ms: dict[int, int] = {}  # when these were last compared; 0 when this process never did
    wallets_compared: int = 0  # by this audit, as the next three
    counters_compared: int = 0
    receipts_compared: int = 0
    log_entries_compared: int = 0
    oldest_check_ms: int | None = None  # age of the oldest comparison of anything; None when something never was
    began_ms: int = 0  # when the audit began that the figures are of: what was done before is in them
    finished_ms: int = 0  # when it finished
    failed: str = ""  # why the newest audit did not finish

    def seen_at(self, now_ms: int) -> "Report":
        """The report as it is to be read now: what was compared too long ago is not ok any more."""
        if not self.ok or self.age_ms(now_ms) <= limits.AUDIT_OLD_S * 1000:
            return self
        return msgspec.structs.replace(self, ok=False, failed=self.failed or "no audit has finished lately")

    def why_not(self) -> str:
        """Why the audit is not ok, in a sentence. The first reason says enough."""
        if self.wrong:
            first = self.wrong[0]
            return f"partition {first.partition}, {first.where}: {first.what}"
        if self.failed:
            return f"the newest audit failed: {self.failed}"
        for partition, reason in self.stuck.items():
            return f"partition {partition} is frozen: {reason}"
        if self.doubts:
            return self.doubts[0]
        for partition, reason in self.not_compared.items():
            return f"partition {partition} was not compared: {reason}"
        return "not everything was compared lately"

    def age_ms(self, now_ms: int) -> int:
        """The age of the oldest comparison now."""
        return (self.oldest_check_ms or 0) + max(0, now_ms - self.finished_ms)


def latest(engine: Engine) -> Report | None:
    """The newest audit's report, or None. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        text = connection.execute(select(audits.c.report).order_by(audits.c.at_ms.desc()).limit(1)).scalar()
    return None if text is None else msgspec.json.decode(text, type=Report)


def frozen(engine: Engine) -> dict[int, list[str]]:
    """Why each frozen partition is frozen, oldest reason first. Raises SQLAlchemyError."""
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        return frozen_in(connection)


def frozen_in(connection: Connection) -> dict[int, list[str]]:
    """The same as a transaction sees it. Raises SQLAlchemyError."""
    query = select(quarantine.c.partition, quarantine.c.reason).order_by(quarantine.c.at_ms)
    found: dict[int, list[str]] = {}
    for partition, reason in connection.execute(query):
        found.setdefault(partition, []).append(reason)
    return found


def keep(engine: Engine, report: Report, *, freeze: bool) -> None:
    """Save the report. With `freeze`, also freeze the partitions with findings. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        if freeze:
            _set_aside(connection, report)
        oldest = report.at_ms - limits.AUDITS_KEPT_MS
        connection.execute(delete(audits).where(audits.c.at_ms < oldest))
        connection.execute(delete(audits).where(audits.c.at_ms == report.at_ms))
        text = msgspec.json.encode(report).decode()
        connection.execute(insert(audits).values(at_ms=report.at_ms, ok=int(report.ok), report=text))


def keep_failure(engine: Engine, at_ms: int, why: str) -> None:
    """Save that an audit did not finish, with the figures of the last one that did. Raises SQLAlchemyError."""
    last = latest(engine) or _nothing()
    failed = msgspec.structs.replace(last, ok=False, at_ms=at_ms, failed=why[: limits.LOGGED_CHARS_MAX])
    keep(engine, failed, freeze=False)


def keep_missing(engine: Engine, at_ms: int, tables: list[str]) -> Report:
    """Save that tables are missing, with the figures of the last audit, as far as there are tables to save it in.

    No partition is frozen for it: nothing is journaled until they are back. Raises SQLAlchemyError.
    """
    last = None if audits.name in tables else latest(engine)
    report = msgspec.structs.replace(
        last or _nothing(),
        ok=False,
        at_ms=at_ms,
        wrong=[],
        failed="",
        doubts=[f"{table}: the table is missing" for table in tables],
    )
    if audits.name not in tables:
        keep(engine, report, freeze=False)
    return report


def _nothing() -> Report:
    """What is known before any audit has finished."""
    return Report(
        ok=False,
        at_ms=0,
        entries=0,
        coins_sold=0,
        coins_spent=0,
        coins_refunded=0,
        coins_charged_back=0,
        coins_held=0,
        diamonds_awarded=0,
        partitions_compared=0,
        partitions_behind=0,
        oldest_unverified_ms=0,
        quarantined=0,
        wrong=[],
    )


def _set_aside(connection: Connection, report: Report) -> None:
    """Add one row for each partition with findings, at 0-0: no real entry has this log id."""
    for partition in {wrong.partition for wrong in report.wrong}:
        first = next(wrong for wrong in report.wrong if wrong.partition == partition)
        where = (quarantine.c.partition == partition,)
        if connection.execute(select(quarantine.c.n).where(*where)).first() is None:
            connection.execute(
                insert(quarantine).values(
                    partition=partition,
                    epoch=0,
                    n=0,
                    reason=f"audit: {first.where}: {first.what}",
                    body="",
                    at_ms=report.at_ms,
                )
            )


def first_of_each(wrong: list[Wrong]) -> list[Wrong]:
    """Limit the findings of each partition, so that none hides another."""
    seen: dict[int, int] = {}
    kept = []
    for each in wrong:
        seen[each.partition] = seen.get(each.partition, 0) + 1
        if seen[each.partition] <= limits.AUDIT_WRONG_MAX // 4:
            kept.append(each)
    return kept
