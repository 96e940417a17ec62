"""The journal's database by its URL: SQLite (WAL, synchronous=FULL) or PostgreSQL, the same Core code on both.

Isolation is said, never left to the server's default. Who reads gets one snapshot for the whole transaction
(`reading`). Who writes gets READ COMMITTED: a row lock, an advisory lock or a compared watermark decides between two
writers, and what is read behind a lock must be as new as the lock.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from server import limits
from server.settings import Unusable

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
# A transaction of a backlog writes some 35 MB. With SQLite's own measures, 2 MB of pages and a WAL of 4 MB, most
# are written there more than once and copied into the database after each: 2 of 22 us per entry (measured).
MEASURES = ("cache_size=-8192", "wal_autocheckpoint=16384")  # in KiB, per connection; in pages of 4 KiB
MIGRATION_LOCK = 0x11E2004  # an advisory lock's number: ours, any would do


def connect(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://...` (psycopg 3). Raises Unusable."""
    try:
        parsed = make_url(url)
    except Exception:
        raise Unusable("LIVEROOM_JOURNAL_URL is not a database address.") from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise Unusable(f"LIVEROOM_JOURNAL_URL is for {parsed.get_backend_name()}; SQLite and PostgreSQL are served.")
    try:
        engine = _postgresql(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(parsed)
    except (ImportError, ArgumentError):
        raise Unusable(f"LIVEROOM_JOURNAL_URL names a driver that is not here: {parsed.drivername}.") from None
    return engine


class SilentJournal(SQLAlchemyError):
    """No answer within the time that its caller may wait; what was asked may still be done."""


async def ask(read: Callable[..., T], *args: Any, within_s: float = limits.SQL_ANSWER_S) -> T:
    """Run SQL in a thread, and wait so long for it. Raises SilentJournal, and what `read` raises."""
    try:
        async with asyncio.timeout(within_s) as bound:
            return await asyncio.to_thread(read, *args)
    except TimeoutError:
        if not bound.expired():
            raise
        raise SilentJournal(f"the journal did not answer in {within_s:g} s") from None


# --- PostgreSQL ------------------------------------------------------------------------------------------------------
def _postgresql(url: Any) -> Engine:
    """Nothing of a session outlives a transaction: behind a transaction pooler the next one may have another server.

    So no prepared statements, and timeouts are set with each transaction, not with the connection.
    """
    from server.journal.impatient import ImpatientConnection  # noqa: PLC0415  # psycopg is slow to import

    bounds = {"connect_timeout": limits.SQL_CONNECT_S, "prepare_threshold": None}
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        connect_args=bounds,
        pool_pre_ping=True,
        pool_timeout=limits.SQL_POOL_S,
        max_overflow=limits.SQL_OVERFLOW,
    )

    def connect(_dialect: Any, _record: Any, args: Any, named: Any) -> Any:
        return ImpatientConnection.connect(*args, **named)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "begin", _bound_transaction)
    event.listen(engine, "checkin", _expect_a_ping)
    _close_what_comes_back_late(engine)
    return engine


def _close_what_comes_back_late(engine: Engine) -> None:
    """A thread may outlive the wait for it (`ask`): its connection comes back to a pool that nobody has any more."""
    disposed = False

    def note(_engine: Engine) -> None:
        nonlocal disposed
        disposed = True

    def close(_driver: Any, record: Any) -> None:
        if disposed:
            record.invalidate()

    event.listen(engine, "engine_disposed", note)
    event.listen(engine, "checkin", close)


def _bound_transaction(connection: Connection) -> None:
    """Every statement, every wait for a lock and every idle transaction ends by itself."""
    statement_s = connection.get_execution_options().get("statement_s", limits.SQL_STATEMENT_S)
    driver: Any = connection.connection.driver_connection
    driver.patience_s = statement_s + limits.SQL_SLACK_S
    lock_s = min(statement_s, limits.SQL_LOCK_S)
    connection.exec_driver_sql(
        f"SELECT set_config('statement_timeout', '{int(statement_s * 1000)}', true), "  # our own numbers
        f"set_config('lock_timeout', '{int(lock_s * 1000)}', true), "
        f"set_config('idle_in_transaction_session_timeout', '{int(limits.SQL_IDLE_S * 1000)}', true)"
    )


def _expect_a_ping(driver: Any, _record: Any) -> None:
    """What the pool does next with a connection is to ask whether it lives."""
    if driver is not None:
        driver.patience_s = limits.SQL_PING_S


# --- SQLite ----------------------------------------------------------------------------------------------------------
def _sqlite(url: Any) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """Durable at commit, readers beside the one writer; transactions are begun by us, not by the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON", *MEASURES):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock first, so that a transaction never fails half-way for it; readers need none."""
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def reading(engine: Engine, statement_s: float = limits.SQL_STATEMENT_S) -> Engine:
    """The same database for transactions that only read: all of a transaction's statements see one moment."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(reads=True)
    return engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True, statement_s=statement_s
    )


def patient(engine: Engine, statement_s: float) -> Engine:
    """The same database for writers whose statements may take longer than a request's."""
    return engine.execution_options(statement_s=statement_s)


def migrate(engine: Engine, to: str = "head") -> None:
    """Bring the schema up to date; nodes and journal may start at once."""
    from alembic import command  # noqa: PLC0415  # slow to import, needed once
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with patient(engine, limits.SQL_MIGRATE_S).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # whoever migrates first takes its time
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, to)
