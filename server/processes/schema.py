"""Brings the journal's schema up to date before anything uses it, and says why that is not possible."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal import database, troubles
from server.journal.database import Migrated
from server.journal.troubles import Trouble
from server.settings import Settings, Unusable

log = structlog.get_logger()
WRITTEN = ("entries", "legs", "watermarks")  # in each round of the drain


def bring_up(engine: Engine, *, waits: bool, then: Callable[[Engine], None] = lambda _engine: None) -> Migrated:
    """Migrate the database, and do what comes `then`. If `waits`, wait for one that is away. Raises Unusable."""
    said = ""
    while isinstance(found := _in_thread(engine, then), Trouble):
        if found.lasts or not waits:
            raise Unusable(f"The journal's database (LIVEROOM_JOURNAL_URL) cannot be used: {found.says}.")
        if found.says != said:
            log.warning("journal_waits", why=f"its database cannot be used yet: {found.says}")
            said = found.says
        time.sleep(limits.SQL_AGAIN_S)
    return found


def migrate(settings: Settings) -> int:
    """Migrate the database once, and print what was done. Returns 0. Raises Unusable."""
    if settings.journal_url is None:
        with contextlib.suppress(OSError):  # then SQLite cannot open its file, and says so
            settings.data.mkdir(parents=True, exist_ok=True)
    engine = database.connect(settings.journal_address)
    try:
        before, now = bring_up(engine, waits=False)
    finally:
        engine.dispose()
    if before == now:
        print(f"The journal's schema is up to date already: {now}.")
    elif before is None:
        print(f"The journal's schema is made: {now}.")
    else:
        print(f"The journal's schema is brought from {before} to {now}.")
    return 0


def _in_thread(engine: Engine, then: Callable[[Engine], None]) -> Trouble | Migrated:
    """Migrate in a thread that ends with the process: a signal is then handled at once, even while a call hangs."""
    done: queue.SimpleQueue[Trouble | Exception | Migrated] = queue.SimpleQueue()
    threading.Thread(target=lambda: done.put(_outcome(engine, then)), daemon=True, name="migrate").start()
    outcome = done.get()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _outcome(engine: Engine, then: Callable[[Engine], None]) -> Trouble | Exception | Migrated:
    try:
        found = troubles.of_schema(engine)
        if found is not None and found.lasts:
            return found
        migrated = database.migrate(engine)
        if (lacks := troubles.of_rights(engine, WRITTEN)) is not None:
            return lacks
        then(engine)
        return migrated
    except SQLAlchemyError as error:
        return troubles.of(error)
    except Exception as error:  # raised again where it is seen
        return error
