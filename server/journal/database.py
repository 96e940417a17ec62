"""The journal's database: SQLite (WAL, synchronous=FULL) or PostgreSQL, with the same SQLAlchemy Core code.

Each transaction sets its isolation, whatever the server's default is. A reader gets one snapshot for the whole
transaction (`reading`). A writer gets READ COMMITTED: a row lock, an advisory lock or a compared watermark decides
between two writers, and a row that is read under a lock must be as new as the lock.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, SQLAlchemyError

from server import limits
from server.settings import Unusable

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
# In a backlog a transaction writes some 35 MB. SQLite's defaults, 2 MB of cached pages and a WAL of 4 MB, write most
# pages more than once and copy them into the database after each transaction: 2 of 22 us per entry (measured).
SIZES = ("cache_size=-8192", "wal_autocheckpoint=16384")  # in KiB, per connection; in pages of 4 KiB
MIGRATION_LOCK = 0x11E2004  # the number of an advisory lock; the value is arbitrary


def connect(url: str) -> Engine:
    """Make an engine for `sqlite:///path` or `postgresql://...` (psycopg 3). Raises Unusable."""
    try:
        parsed = make_url(url)
    except Exception:
        raise Unusable("LIVEROOM_JOURNAL_URL is not a database address.") from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise Unusable(f"LIVEROOM_JOURNAL_URL is for {parsed.get_backend_name()}, not for SQLite or PostgreSQL.")
    try:
        engine = _postgresql(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(parsed)
    except (ImportError, ArgumentError):
        raise Unusable(f"LIVEROOM_JOURNAL_URL names a driver that is not installed: {parsed.drivername}.") from None
    return engine


class SilentJournal(SQLAlchemyError):
    """The database did not answer in time. It may still carry out the statement."""


async def ask(read: Callable[..., T], *args: Any, within_s: float = limits.SQL_ANSWER_S) -> T:
    """Run SQL in a thread and wait at most `within_s` for it. Raises SilentJournal, and what `read` raises."""
    try:
        async with asyncio.timeout(within_s) as bound:
            return await asyncio.to_thread(read, *args)
    except TimeoutError:
        if not bound.expired():
            raise
        raise SilentJournal(f"the journal did not answer in {within_s:g} s") from None


# --- PostgreSQL ------------------------------------------------------------------------------------------------------
def _postgresql(url: Any) -> Engine:
    """Make an engine that also works behind a transaction pooler, where each transaction may have another session.

    So there are no prepared statements, and each transaction sets its own timeouts.
    """
    from server.journal.impatient import ImpatientConnection  # noqa: PLC0415  # psycopg is slow to import

    # The driver leaves transactions to us: `_begin_bounded` begins each in one round trip, with all its settings.
    bounds = {"connect_timeout": limits.SQL_CONNECT_S, "prepare_threshold": None, "autocommit": True}
    engine = create_engine(
        url,
        connect_args=bounds,
        pool_timeout=limits.SQL_POOL_S,
        max_overflow=limits.SQL_OVERFLOW,
    )

    def connect(_dialect: Any, _record: Any, args: Any, named: Any) -> Any:
        return ImpatientConnection.connect(*args, **named)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "begin", _begin_bounded)
    event.listen(engine, "checkin", _expect_a_ping)
    _ping_what_was_idle(engine)
    _close_what_comes_back_late(engine)
    return engine


def _ping_what_was_idle(engine: Engine) -> None:
    """Ping a pooled connection before it is handed out, unless the server answered on it a moment ago."""
    failed: Any = engine.dialect.loaded_dbapi

    def ping(driver: Any, _record: Any, _handed: Any) -> None:
        if driver.silent_s < limits.SQL_FRESH_S:
            return
        try:
            engine.dialect.do_ping(driver)
        except failed.Error as error:
            raise InvalidatePoolError from error  # the others are as old: the pool connects again

    event.listen(engine, "checkout", ping)


def _close_what_comes_back_late(engine: Engine) -> None:
    """Close connections that come back after the pool is disposed: a thread can outlive the wait for it (`ask`)."""
    disposed = False

    def note(_engine: Engine) -> None:
        nonlocal disposed
        disposed = True

    def close(_driver: Any, record: Any) -> None:
        if disposed:
            record.invalidate()

    event.listen(engine, "engine_disposed", note)
    event.listen(engine, "checkin", close)


def _begin_bounded(connection: Connection) -> None:
    """Begin with bounds on every statement, every wait for a lock and every idle transaction: one round trip.

    A server that says nothing to this is given up as soon as one that does not answer a ping.
    """
    options = connection.get_execution_options()
    statement_s = options.get("statement_s", limits.SQL_STATEMENT_S)
    lock_s = min(statement_s, limits.SQL_LOCK_S)
    driver: Any = connection.connection.driver_connection
    driver.patience_s = limits.SQL_PING_S
    connection.exec_driver_sql(
        f"BEGIN ISOLATION LEVEL {'REPEATABLE READ READ ONLY' if options.get('reads') else 'READ COMMITTED'}; "
        f"SET LOCAL statement_timeout = {int(statement_s * 1000)}; "  # our own numbers
        f"SET LOCAL lock_timeout = {int(lock_s * 1000)}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {int(limits.SQL_IDLE_S * 1000)}"
    )
    driver.patience_s = statement_s + limits.SQL_SLACK_S


def _expect_a_ping(driver: Any, _record: Any) -> None:
    """Set the timeout of a ping, which is the next thing that the pool does with a connection."""
    if driver is not None:
        driver.patience_s = limits.SQL_PING_S


# --- SQLite ----------------------------------------------------------------------------------------------------------
def _sqlite(url: Any) -> Engine:
    engine = create_engine(url)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """Make commits durable and let readers run beside the one writer. We begin transactions, not the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON", *SIZES):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock first, so that a transaction never fails half-way for want of it. Readers need none."""
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def reading(engine: Engine, statement_s: float = limits.SQL_STATEMENT_S) -> Engine:
    """The same database for transactions that only read. All statements of a transaction see one snapshot."""
    return engine.execution_options(reads=True, statement_s=statement_s)


def patient(engine: Engine, statement_s: float) -> Engine:
    """The same database for writers whose statements may take longer than those of a request."""
    return engine.execution_options(statement_s=statement_s)


class Migrated(NamedTuple):
    """The version that the schema had, None without a schema, and the version that it has now."""

    before: str | None
    now: str | None


def migrate(engine: Engine, to: str = "head") -> Migrated:
    """Bring the schema up to date. Nodes and journal may call this at the same time."""
    from alembic import command  # noqa: PLC0415  # slow to import, needed once
    from alembic.config import Config  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with patient(engine, limits.SQL_MIGRATE_S).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # the first may take its time
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        before = MigrationContext.configure(connection).get_current_revision()
        command.upgrade(config, to)
        return Migrated(before, MigrationContext.configure(connection).get_current_revision())
