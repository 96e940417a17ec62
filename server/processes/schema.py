"""Brings the journal's schema up to date before anything uses it, and says why that is not possible."""

import queue
import threading
import time

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal import database, troubles
from server.journal.troubles import Trouble
from server.settings import Settings, Unusable

log = structlog.get_logger()
WRITTEN = ("entries", "postings", "watermarks")  # in each round of the drain


def bring_up(engine: Engine, *, waits: bool) -> None:
    """Migrate the database. If `waits`, wait for one that is away. Raises Unusable."""
    said = ""
    while (trouble := _in_thread(engine)) is not None:
        if trouble.lasts or not waits:
            raise Unusable(f"The journal's database (LIVEROOM_JOURNAL_URL) cannot be used: {trouble.says}.")
        if trouble.says != said:
            log.warning("journal_waits", why=f"its database cannot be used yet: {trouble.says}")
            said = trouble.says
        time.sleep(limits.SQL_AGAIN_S)


def migrate(settings: Settings) -> int:
    """Migrate the database once. Returns 0. Raises Unusable."""
    engine = database.connect(settings.journal_address)
    try:
        bring_up(engine, waits=False)
    finally:
        engine.dispose()
    return 0


def _in_thread(engine: Engine) -> Trouble | None:
    """Migrate in a thread that ends with the process: a signal is then handled at once, even while a call hangs."""
    done: queue.SimpleQueue[Trouble | Exception | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: done.put(_outcome(engine)), daemon=True, name="migrate").start()
    outcome = done.get()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _outcome(engine: Engine) -> Trouble | Exception | None:
    try:
        found = troubles.of_schema(engine)
        if found is None or not found.lasts:
            database.migrate(engine)
            found = troubles.of_rights(engine, WRITTEN)
    except SQLAlchemyError as error:
        return troubles.of(error)
    except Exception as error:  # raised again where it is seen
        return error
    return found
