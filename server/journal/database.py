"""The journal's database by its URL: SQLite (WAL, synchronous=FULL) or PostgreSQL, the same Core code on both."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from server.settings import Unusable

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
        engine = create_engine(parsed, pool_pre_ping=True)
    except (ImportError, ArgumentError):
        raise Unusable(f"LIVEROOM_JOURNAL_URL names a driver that is not here: {parsed.drivername}.") from None
    if engine.dialect.name == "sqlite":
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


def reading(engine: Engine) -> Engine:
    """The same database for transactions that only read."""
    return engine.execution_options(reads=True)


def migrate(engine: Engine, to: str = "head") -> None:
    """Bring the schema up to date; nodes and journal may start at once."""
    from alembic import command  # noqa: PLC0415  # slow to import, needed once
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, to)
