"""The audit: checks that no coin was lost, doubled or made up, in the journal and between journal and store.

In each partition every entry's postings must sum to zero, the hash chain must be whole, balances must follow from the
postings, and the store must agree with the journal at the same entry. A finding freezes its partition alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select

from server import limits
from server.clock import Clock
from server.entries import KINDS, TOTALS
from server.journal.books import FIRST_HASH, LogEntry, chain
from server.journal.database import reading
from server.journal.sums import Sums, add_kind, held_by, total_of, with_waiting
from server.journal.tables import audits, entries, positions, postings, quarantine, watermarks
from server.store import keys, scripts
from server.store.client import Store
from server.store.cluster import ClusterStore

log = structlog.get_logger()

LOOK = scripts.load("audit_look")
SCRIPTS = (LOOK,)


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
    stuck: dict[int, str] = {}  # msgspec copies it; frozen partitions, and why


class StillMoving(Exception):
    """Money moves in a partition while the audit compares it."""


class Audit:
    """Audits journal and store. Between runs it remembers how far each hash chain is verified."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._verified: dict[int, tuple[int, int, str]] = {}
        self._last_wallet: dict[int, str] = {}  # where the next window of wallets begins
        self._behind: set[int] = set()

    async def run(self, *, freeze: bool = False) -> Report:
        """Audit all partitions. With `freeze`, the wrong ones are frozen until `python -m server repair` thaws them.

        Raises StoreError, SQLAlchemyError.
        """
        wrong: list[Wrong] = []
        sums: dict[int, Sums] = {}
        compared = moving = 0
        behind: set[int] = set()
        oldest_ms = 0
        for partition in range(limits.WALLET_PARTITIONS):
            found, partition_sums, mark, accounts = await asyncio.to_thread(self._journal_side, partition)
            wrong += found
            sums[partition] = partition_sums
            stored = await self._store_side(partition, [user_id for user_id, _ in accounts])
            if _is_behind(stored[0], mark):
                behind.add(partition)
                continue
            if mark is None or stored[0] != mark:
                oldest_ms = max(oldest_ms, await self._waiting_ms(partition, mark, stored[0]))
                moving += stored[0] != (mark or "")
                continue
            compared += 1
            wrong += _differences(partition, partition_sums, accounts, stored)
        wrong += [
            Wrong(partition, "log", "the store is behind the journal, as at the last audit")
            for partition in sorted(behind & self._behind)
        ]
        self._behind = behind
        quarantined = await asyncio.to_thread(self._quarantined)
        total = total_of(sums.values())
        report = Report(
            ok=not wrong and not quarantined and not behind,
            at_ms=self._clock.now_ms(),
            entries=total.entries,
            coins_sold=total.bought,
            coins_spent=total.spent,
            coins_refunded=total.refunded,
            coins_charged_back=total.charged_back,
            coins_held=total.held,
            diamonds_awarded=total.awarded,
            partitions_compared=compared,
            partitions_moving=moving,
            partitions_behind=len(behind),
            oldest_unverified_ms=oldest_ms,
            quarantined=quarantined,
            wrong=_first_of_each(wrong),
            stuck=await asyncio.to_thread(self._stuck),
        )
        await asyncio.to_thread(self._keep, report, freeze)
        return report

    async def look(self, partition: int, waiting: Sequence[LogEntry]) -> list[Wrong]:
        """Check one partition: its journal, and all of its wallets in the store.

        `waiting` holds the log's entries that are not journaled yet: only the store has their effect.
        Raises StillMoving when the store's last entry is another one, StoreError, SQLAlchemyError.
        """
        self._verified.pop(partition, None)
        self._last_wallet.pop(partition, None)
        while True:
            found, sums, mark, accounts = await asyncio.to_thread(self._journal_side, partition)
            expected = with_waiting(sums, dict(accounts), waiting)
            stored = await self._store_side(partition, [user_id for user_id, _ in accounts])
            last = f"{waiting[-1].epoch}-{waiting[-1].n}" if waiting else (mark or "")
            if stored[0] != last:
                raise StillMoving(f"partition {partition}: the store's last entry is {stored[0]}, not {last}")
            found += _differences(partition, sums, expected, stored)
            if found or partition not in self._last_wallet:
                return found

    # --- the store -------------------------------------------------------------------------------------------
    async def _store_side(self, partition: int, users: Sequence[str]) -> list[str]:
        """What the store has: the last log id, each of TOTALS, and each user's balance."""
        look = LOOK(
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            counters=" ".join(total.counter for total in TOTALS),
            each=[{"wallet": keys.wallet(user_id), "user_id": user_id} for user_id in users],
        )
        said = cast(list[bytes], await self._wallet.run(*look))
        return [value.decode() for value in said]

    async def _waiting_ms(self, partition: int, mark: str | None, last: str) -> int:
        """The age of the oldest entry that is not journaled."""
        if not last:
            return 0
        rows = await self._wallet.call("XRANGE", keys.log(partition), f"({mark or '0-0'}", "+", "COUNT", 1)
        if not rows:
            return 0
        fields = rows[0][1]
        return max(0, self._clock.now_ms() - int(fields[fields.index(b"t") + 1]))

    # --- the journal -----------------------------------------------------------------------------------------
    def _journal_side(self, partition: int) -> tuple[list[Wrong], Sums, str | None, list[tuple[str, int]]]:
        """Read findings, sums, watermark, and some wallets with their balances, all in one transaction."""
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            row = connection.execute(select(watermarks).where(watermarks.c.partition == partition)).one_or_none()
            if row is None:
                return [], Sums(), None, []
            wrong = self._chain(connection, partition, row) + _unbalanced(connection, partition)
            sums = _sums(connection, partition)
            accounts = self._next_window(connection, partition)
            wrong += _drifted(connection, partition)
            sums.held = _held(connection, partition)
            expected, formula = held_by(sums)
            if expected != sums.held:
                wrong.append(Wrong(partition, "coins", f"{formula} is not held {sums.held}"))
        return wrong, sums, f"{row.epoch}-{row.n}", accounts

    def _chain(self, connection: Connection, partition: int, mark: Any) -> list[Wrong]:
        """Recompute the hashes from where the last run verified them."""
        epoch, n, last = self._verified.get(partition, (0, 0, FIRST_HASH))
        query = (
            select(entries)
            .where(entries.c.partition == partition)
            .where(or_(entries.c.epoch > epoch, and_(entries.c.epoch == epoch, entries.c.n > n)))
            .order_by(entries.c.epoch, entries.c.n)
        )
        for row in connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS)):
            follows = row.n == n + 1 if row.epoch == epoch else row.n == 0
            digest = chain(last, partition, row, row.body.encode())
            if not follows or digest != row.hash:
                what = "the hash does not follow" if follows else f"follows {epoch}-{n}"
                return [Wrong(partition, f"{row.epoch}-{row.n}", what)]
            epoch, n, last = row.epoch, row.n, digest
        if (epoch, n, last) != (mark.epoch, mark.n, mark.hash):
            return [Wrong(partition, f"{mark.epoch}-{mark.n}", f"the watermark is not the last entry {epoch}-{n}")]
        self._verified[partition] = (epoch, n, last)
        return []

    def _next_window(self, connection: Connection, partition: int) -> list[tuple[str, int]]:
        """The wallets to compare in this run. Their number is bounded; all wallets have their turn."""
        accounts = _window(connection, partition, self._last_wallet.get(partition, ""))
        if len(accounts) < limits.AUDIT_WALLETS:
            self._last_wallet.pop(partition, None)
        else:
            self._last_wallet[partition] = accounts[-1][0]
        return accounts

    def _quarantined(self) -> int:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            return int(connection.execute(select(func.count()).select_from(quarantine)).scalar_one())

    def _stuck(self) -> dict[int, str]:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            rows = connection.execute(select(quarantine.c.partition, quarantine.c.reason))
            return {row.partition: row.reason for row in rows}

    def _keep(self, report: Report, freeze: bool) -> None:
        """Save the report. With `freeze`, also freeze the partitions with findings."""
        with self._engine.begin() as connection:
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


def _first_of_each(wrong: list[Wrong]) -> list[Wrong]:
    """Limit the findings of each partition, so that none hides another."""
    seen: dict[int, int] = {}
    kept = []
    for each in wrong:
        seen[each.partition] = seen.get(each.partition, 0) + 1
        if seen[each.partition] <= limits.AUDIT_WRONG_MAX // 4:
            kept.append(each)
    return kept


def _is_behind(last: str, mark: str | None) -> bool:
    """Whether the store's last entry is older than the journal's: it lost some, or no node has opened it yet."""
    if mark is None:
        return False
    epoch, n = mark.split("-")
    in_epoch, _, number = last.partition("-")
    return (int(in_epoch or 0), int(number or -1)) < (int(epoch), int(n))


def latest(engine: Engine) -> Report | None:
    """The newest audit's report, or None. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        text = connection.execute(select(audits.c.report).order_by(audits.c.at_ms.desc()).limit(1)).scalar()
    return None if text is None else msgspec.json.decode(text, type=Report)


def _unbalanced(connection: Connection, partition: int) -> list[Wrong]:
    """Find entries whose postings do not sum to zero in an asset."""
    query = (
        select(postings.c.epoch, postings.c.n, postings.c.asset, func.sum(postings.c.amount).label("total"))
        .where(postings.c.partition == partition)
        .group_by(postings.c.epoch, postings.c.n, postings.c.asset)
        .having(func.sum(postings.c.amount) != 0)
        .limit(limits.AUDIT_WRONG_MAX)
    )
    return [
        Wrong(partition, f"{row.epoch}-{row.n}", f"postings of {row.asset} sum to {row.total}")
        for row in connection.execute(query)
    ]


def _sums(connection: Connection, partition: int) -> Sums:
    query = (
        select(entries.c.kind, func.count(), func.sum(entries.c.coins), func.sum(entries.c.diamonds))
        .where(entries.c.partition == partition)
        .group_by(entries.c.kind)
    )
    sums = Sums()
    for kind, count, coins, diamonds in connection.execute(query):
        sums.entries += count
        add_kind(sums, KINDS.get(kind), int(coins), int(diamonds))
    return sums


def _held(connection: Connection, partition: int) -> int:
    query = select(func.sum(positions.c.balance)).where(_viewers_of(partition))
    return int(connection.execute(query).scalar() or 0)


def _window(connection: Connection, partition: int, after: str) -> list[tuple[str, int]]:
    """Some of the partition's viewers, and their coins according to `positions`."""
    query = select(positions).where(_viewers_of(partition), positions.c.account > f"viewer:{after}")
    rows = connection.execute(query.order_by(positions.c.account).limit(limits.AUDIT_WALLETS))
    return [(row.account[7:], row.balance) for row in rows]


def _viewers_of(partition: int) -> Any:
    return and_(positions.c.partition == partition, positions.c.account.like("viewer:%"))


def _drifted(connection: Connection, partition: int) -> list[Wrong]:
    """Find wallets whose position is not the sum of their postings."""
    posted = (
        select(postings.c.account, func.sum(postings.c.amount).label("total"))
        .where(postings.c.partition == partition)
        .group_by(postings.c.account)
        .subquery()
    )
    total = func.coalesce(posted.c.total, 0)
    query = (
        select(positions.c.account, positions.c.balance, total)
        .outerjoin(posted, posted.c.account == positions.c.account)
        .where(_viewers_of(partition), total != positions.c.balance)
        .limit(limits.AUDIT_WRONG_MAX)
    )
    return [
        Wrong(partition, account, f"holds {balance}, its postings sum to {sum_}")
        for account, balance, sum_ in connection.execute(query)
    ]


def _differences(partition: int, sums: Sums, accounts: list[tuple[str, int]], stored: list[str]) -> list[Wrong]:
    """Compare journal and store at the same entry."""
    totals, balances = stored[1 : 1 + len(TOTALS)], stored[1 + len(TOTALS) :]
    wrong = [
        Wrong(partition, total.label, f"the journal has {ours}, the store {theirs}")
        for total, theirs in zip(TOTALS, totals, strict=True)
        if str(ours := getattr(sums, total.sum)) != theirs
    ]
    wrong += [
        Wrong(partition, f"viewer:{user_id}", f"the journal has {balance}, the store {theirs}")
        for (user_id, balance), theirs in zip(accounts, balances, strict=True)
        if str(balance) != theirs
    ]
    return wrong
