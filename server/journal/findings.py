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
    """What an audit found, with the sums over all partitions."""

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
    partitions_moving: int
    partitions_behind: int
    oldest_unverified_ms: int
    quarantined: int
    wrong: list[Wrong]
    counter: int = 0  # the number of this audit; 0 when it was not kept
    anchor: str = ""  # the hash over all verified heads
    verified_again_ms: int = 0  # every row was verified since
    doubts: list[str] = []  # what is wrong with the database as a whole, for instance that it is an old one
    stuck: dict[int, str] = {}  # msgspec copies it; frozen partitions, and why


def latest(engine: Engine) -> Report | None:
    """The newest audit's report, or None. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        text = connection.execute(select(audits.c.report).order_by(audits.c.at_ms.desc()).limit(1)).scalar()
    return None if text is None else msgspec.json.decode(text, type=Report)


def frozen(engine: Engine) -> dict[int, list[str]]:
    """Why each frozen partition is frozen, oldest reason first. Raises SQLAlchemyError."""
    query = select(quarantine.c.partition, quarantine.c.reason).order_by(quarantine.c.at_ms)
    found: dict[int, list[str]] = {}
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        for row in connection.execute(query):
            found.setdefault(row.partition, []).append(row.reason)
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
