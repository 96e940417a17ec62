"""Reads the newest audit's report from the journal from time to time, for this node's metrics."""

import asyncio
import functools

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.journal.audit import Report, latest
from server.journal.database import ask
from server.metrics import Readings

log = structlog.get_logger()


class AuditWatch:
    """Keeps the newest report. `report` is None until there is one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        self.report: Report | None = None

    async def start(self) -> None:
        self._task = background.forever("audit-watch", self._watch)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _watch(self) -> None:
        while True:
            try:
                self.report = await ask(latest, self._engine)
            except SQLAlchemyError as error:
                log.debug("audit_unread", error=str(error)[: limits.LOGGED_CHARS_MAX])
            await asyncio.sleep(limits.AUDIT_EVERY_S / 2)

    def register(self, read: Readings) -> None:
        """Register the audit's gauges; -1 means that there is no audit yet."""
        for name, text in (
            ("audit_ok", "1 while the newest audit found nothing wrong."),
            ("audit_at_ms", "When the newest audit was made."),
            ("audit_entries", "Ledger entries in the journal."),
            ("audit_oldest_unverified_ms", "Age of the oldest entry that was not compared with the store."),
            ("audit_quarantined", "Entries that do not fit and stop their partition."),
            ("audit_coins_held", "Coins in wallets."),
            ("audit_coins_sold", "Coins that were bought."),
            ("audit_coins_spent", "Coins that were given."),
            ("audit_diamonds_awarded", "Diamonds that gifts credited."),
        ):
            read.gauge(name, text, functools.partial(self._figure, name.removeprefix("audit_")))

    def _figure(self, field: str) -> float:
        return -1 if self.report is None else float(getattr(self.report, field))
