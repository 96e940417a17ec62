"""Reads the newest audit's report, and what is frozen, from the journal from time to time, for this node's metrics."""

import asyncio
import functools

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.clock import Clock
from server.journal import rights, troubles
from server.journal.database import ask
from server.journal.findings import Report, frozen, latest
from server.journal.troubles import Trouble
from server.metrics import Readings

log = structlog.get_logger()


class AuditWatch:
    """Keeps the newest report. `report` is None until there is one, `trouble` says why the journal cannot be used.

    `frozen` has the partitions that are frozen now: an audit freezes them after its report, and a thaw waits for none.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.report: Report | None = None
        self.frozen: list[int] = []
        self.trouble: Trouble | None = None  # of the database
        self._said: str | None = None

    def seen(self) -> Report | None:
        """The newest report as it is to be read now."""
        return None if self.report is None else self.report.seen_at(self._clock.now_ms())

    async def start(self) -> None:
        self._task = background.forever("audit-watch", self._watch)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _watch(self) -> None:
        while True:
            trouble: Trouble | None = None
            try:
                trouble = await ask(_trouble, self._engine)
                self.report, self.frozen = await ask(_read, self._engine)
            except SQLAlchemyError as error:
                trouble = trouble or troubles.of(error)
            self._note(trouble)
            await asyncio.sleep(limits.AUDIT_EVERY_S / 2 if self.trouble is None else limits.SQL_LOOK_S)

    def _note(self, trouble: Trouble | None) -> None:
        """Say once what is wrong with the database, when it lasts: at a first start the schema is just being made."""
        again = trouble is not None and self.trouble is not None
        self.trouble = trouble
        if trouble is None:
            if self._said is not None:
                log.info("journal_up")
            self._said = None
        elif again and trouble.says != self._said:
            self._said = trouble.says
            log.error("journal_unusable", why=trouble.says)

    def degraded(self) -> dict[str, str]:
        """What the journal and its audits show that is worse than it should be."""
        found = {} if self.trouble is None else {"journal": self.trouble.shown}
        if self.frozen:
            found["partitions"] = f"frozen: {', '.join(map(str, self.frozen))}"
        report = self.seen()
        if report is None:
            return {**found, "audit": "none was made yet"}
        if (lacks := rights.shown(report)) is not None:
            found["drain"] = lacks
        if not report.ok:
            found["audit"] = "not ok: GET /v1/audit says why"
        return found

    def register(self, read: Readings) -> None:
        """Register the audit's gauges; -1 means that there is no audit yet."""
        for name, text in (
            ("audit_ok", "1 while everything was compared lately and nothing is wrong."),
            ("audit_at_ms", "When the newest audit was made."),
            ("audit_entries", "Ledger entries in the journal."),
            ("audit_oldest_unverified_ms", "Age of the oldest entry that was not compared with the store."),
            ("audit_oldest_check_ms", "Age of the oldest comparison of a wallet, counter or key."),
            ("audit_finished_ms", "When the last audit finished."),
            ("audit_partitions_compared", "Partitions that the last audit compared, of 64."),
            ("audit_counter", "The number of the last audit that was kept."),
            ("audit_anchor", "The first 48 bits of its anchor, the hash over all verified heads."),
            ("audit_verified_again_ms", "Every row was verified since."),
            ("audit_doubts", "What is wrong with the database as a whole: it is old, or another one."),
            ("audit_quarantined", "Entries that do not fit and stop their partition."),
            ("audit_coins_held", "Coins in wallets."),
            ("audit_coins_sold", "Coins that were bought."),
            ("audit_coins_spent", "Coins that were given."),
            ("audit_diamonds_awarded", "Diamonds that gifts credited."),
            ("audit_diamonds_taken_back", "Diamonds that refunds and chargebacks took of them."),
        ):
            read.gauge(name, text, functools.partial(self._figure, name.removeprefix("audit_")))

    def _figure(self, field: str) -> float:
        report = self.seen()
        if report is None:
            return -1
        if field == "oldest_check_ms":
            return -1 if report.oldest_check_ms is None else report.age_ms(self._clock.now_ms())
        if field == "anchor":
            return int(report.anchor[:12] or "0", 16)  # a float holds 53 bits exactly
        if field == "doubts":
            return len(report.doubts)
        return float(getattr(report, field))


def _trouble(engine: Engine) -> Trouble | None:
    """What is wrong with the schema, or with our rights. Raises SQLAlchemyError."""
    return troubles.of_schema(engine) or troubles.of_rights(engine)


def _read(engine: Engine) -> tuple[Report | None, list[int]]:
    """The newest report, and the frozen partitions in order. Raises SQLAlchemyError."""
    return latest(engine), sorted(frozen(engine))
