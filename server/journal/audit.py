"""The audit: that no coin was lost, doubled or made up, in the journal and between journal and store.

Per partition: every entry's postings sum to zero, the hash chain is whole, balances follow from the postings, and the
store says the same as the journal at the same entry. The first thing that is wrong freezes that partition alone.
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
from server.journal.sums import Sums, add_kind, held_by, moved_on, total_of
from server.journal.tables import audits, entries, positions, postings, quarantine, watermarks
from server.store import keys, scripts
from server.store.client import Store
from server.store.cluster import ClusterStore

log = structlog.get_logger()

LOOK = scripts.load("audit_look")
SCRIPTS = (LOOK,)


class Wrong(Struct, frozen=True):
    """One thing that does not hold."""

    partition: int
    where: str  # an entry, an account, or what was compared
    what: str


class Report(Struct, frozen=True, kw_only=True):
    """What an audit found. `verified` entries of `entries` were compared with the store."""

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
    stuck: dict[int, str] = {}  # msgspec copies it; partitions that stand still, and why


class StillMoving(Exception):
    """Money moves in a partition that is to be compared."""


class Audit:
    """Audits journal and store. Between runs it remembers how far each chain was found whole."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._whole: dict[int, tuple[int, int, str]] = {}
        self._compared: dict[int, str] = {}
        self._behind: set[int] = set()

    async def run(self, *, freeze: bool = False) -> Report:
        """One audit of everything; with `freeze`, partitions that are wrong stand still from now on.

        `python -m server repair` ends that. Raises StoreError, SQLAlchemyError.
        """
        wrong: list[Wrong] = []
        sums: dict[int, Sums] = {}
        compared = moving = 0
        behind: set[int] = set()
        oldest_ms = 0
        for partition in range(limits.WALLET_PARTITIONS):
            found, its_sums, mark, accounts = await asyncio.to_thread(self._journal_side, partition)
            wrong += found
            sums[partition] = its_sums
            said = await self._store_side(partition, [user_id for user_id, _ in accounts])
            if _before(said[0], mark):
                behind.add(partition)
                continue
            if mark is None or said[0] != mark:
                oldest_ms = max(oldest_ms, await self._waiting_ms(partition, mark, said[0]))
                moving += said[0] != (mark or "")
                continue
            compared += 1
            wrong += _differences(partition, its_sums, accounts, said)
        wrong += [
            Wrong(partition, "log", "the store is behind the journal, and was so at the audit before")
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
        """What is wrong with one partition: its journal, and all of its wallets in the store.

        `waiting` are the entries of its log that are not journaled yet: the store has their effect, the journal not.
        Raises StillMoving when the store's last entry is another one, StoreError, SQLAlchemyError.
        """
        self._whole.pop(partition, None)
        self._compared.pop(partition, None)
        while True:
            found, sums, mark, accounts = await asyncio.to_thread(self._journal_side, partition)
            expected = moved_on(sums, dict(accounts), waiting)
            said = await self._store_side(partition, [user_id for user_id, _ in accounts])
            last = f"{waiting[-1].epoch}-{waiting[-1].n}" if waiting else (mark or "")
            if said[0] != last:
                raise StillMoving(f"partition {partition}: the store's last entry is {said[0]}, not {last}")
            found += _differences(partition, sums, expected, said)
            if found or partition not in self._compared:
                return found

    # --- the store -------------------------------------------------------------------------------------------
    async def _store_side(self, partition: int, users: Sequence[str]) -> list[str]:
        look = LOOK(
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            counters=" ".join(total.counter for total in TOTALS),
            each=[{"wallet": keys.wallet(user_id), "user_id": user_id} for user_id in users],
        )
        said = cast(list[bytes], await self._wallet.run(*look))
        return [value.decode() for value in said]

    async def _waiting_ms(self, partition: int, mark: str | None, last: str) -> int:
        """How long the oldest entry that is not journaled has waited."""
        if not last:
            return 0
        rows = await self._wallet.call("XRANGE", keys.log(partition), f"({mark or '0-0'}", "+", "COUNT", 1)
        if not rows:
            return 0
        fields = rows[0][1]
        return max(0, self._clock.now_ms() - int(fields[fields.index(b"t") + 1]))

    # --- the journal -----------------------------------------------------------------------------------------
    def _journal_side(self, partition: int) -> tuple[list[Wrong], Sums, str | None, list[tuple[str, int]]]:
        """In one transaction: what is wrong, the sums, the watermark, and the wallets with their balances."""
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            row = connection.execute(select(watermarks).where(watermarks.c.partition == partition)).one_or_none()
            if row is None:
                return [], Sums(), None, []
            wrong = self._chain(connection, partition, row) + _unbalanced(connection, partition)
            sums = _sums(connection, partition)
            accounts = self._next_window(connection, partition)
            wrong += _drifted(connection, partition)
            sums.held = _held(connection, partition)
            left, told = held_by(sums)
            if left != sums.held:
                wrong.append(Wrong(partition, "coins", f"{told} is not held {sums.held}"))
        return wrong, sums, f"{row.epoch}-{row.n}", accounts

    def _chain(self, connection: Connection, partition: int, mark: Any) -> list[Wrong]:
        """Recompute the hashes from where they were found whole last time."""
        epoch, n, last = self._whole.get(partition, (0, 0, FIRST_HASH))
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
        self._whole[partition] = (epoch, n, last)
        return []

    def _next_window(self, connection: Connection, partition: int) -> list[tuple[str, int]]:
        """Wallets to compare with the store this time: a bounded number, all of them in turn."""
        accounts = _window(connection, partition, self._compared.get(partition, ""))
        if len(accounts) < limits.AUDIT_WALLETS:
            self._compared.pop(partition, None)
        else:
            self._compared[partition] = accounts[-1][0]
        return accounts

    def _quarantined(self) -> int:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            return int(connection.execute(select(func.count()).select_from(quarantine)).scalar_one())

    def _stuck(self) -> dict[int, str]:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            rows = connection.execute(select(quarantine.c.partition, quarantine.c.reason))
            return {row.partition: row.reason for row in rows}

    def _keep(self, report: Report, freeze: bool) -> None:
        """The report, and what is wrong beside the entries that do not fit: those partitions stand still."""
        with self._engine.begin() as connection:
            if freeze:
                _set_aside(connection, report)
            oldest = report.at_ms - limits.AUDITS_KEPT_MS
            connection.execute(delete(audits).where(audits.c.at_ms < oldest))
            connection.execute(delete(audits).where(audits.c.at_ms == report.at_ms))
            text = msgspec.json.encode(report).decode()
            connection.execute(insert(audits).values(at_ms=report.at_ms, ok=int(report.ok), report=text))


def _set_aside(connection: Connection, report: Report) -> None:
    """One row per partition that an audit found wrong, at its watermark; entries 0-0 are never journaled there."""
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
    """At least one of every partition, more of each up to a bound: no partition hides another."""
    seen: dict[int, int] = {}
    shown = []
    for each in wrong:
        seen[each.partition] = seen.get(each.partition, 0) + 1
        if seen[each.partition] <= limits.AUDIT_WRONG_MAX // 4:
            shown.append(each)
    return shown


def _before(last: str, mark: str | None) -> bool:
    """Whether the store's last entry comes before the journal's: it lost some, or nobody has opened it yet."""
    if mark is None:
        return False
    epoch, n = mark.split("-")
    in_epoch, _, number = last.partition("-")
    return (int(in_epoch or 0), int(number or -1)) < (int(epoch), int(n))


def latest(engine: Engine) -> Report | None:
    """The newest audit's report. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        text = connection.execute(select(audits.c.report).order_by(audits.c.at_ms.desc()).limit(1)).scalar()
    return None if text is None else msgspec.json.decode(text, type=Report)


def _unbalanced(connection: Connection, partition: int) -> list[Wrong]:
    """Entries whose postings do not sum to zero in an asset."""
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
    """Some of the partition's viewers and their coins, as the positions have them."""
    query = select(positions).where(_viewers_of(partition), positions.c.account > f"viewer:{after}")
    rows = connection.execute(query.order_by(positions.c.account).limit(limits.AUDIT_WALLETS))
    return [(row.account[7:], row.balance) for row in rows]


def _viewers_of(partition: int) -> Any:
    return and_(positions.c.partition == partition, positions.c.account.like("viewer:%"))


def _drifted(connection: Connection, partition: int) -> list[Wrong]:
    """Wallets whose position is not the sum of their postings."""
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


def _differences(partition: int, sums: Sums, accounts: list[tuple[str, int]], said: list[str]) -> list[Wrong]:
    """Journal against store, at the same entry."""
    totals, balances = said[1 : 1 + len(TOTALS)], said[1 + len(TOTALS) :]
    wrong = [
        Wrong(partition, total.shown, f"the journal has {ours}, the store {theirs}")
        for total, theirs in zip(TOTALS, totals, strict=True)
        if str(ours := getattr(sums, total.sum)) != theirs
    ]
    wrong += [
        Wrong(partition, f"viewer:{user_id}", f"the journal has {balance}, the store {theirs}")
        for (user_id, balance), theirs in zip(accounts, balances, strict=True)
        if str(balance) != theirs
    ]
    return wrong
