"""No request waits forever on SQL: locks, stopped servers, open transactions. And a session keeps no state."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal import database
from server.journal.database import SilentJournal, ask, reading
from tests.postgres import Journals
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
ANSWER_S = limits.SQL_ANSWER_S + 5  # some more, for a busy machine


@pytest.fixture
def own_postgres() -> Iterator[Journals]:
    """A PostgreSQL for one test, which may stop it."""
    server = Journals()
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def _top_up(site: Site, id: str, coins: int = 5) -> httpx.Response:
    order = {"id": id, "coins": coins, "source": "test"}
    return await site.http.post("/v1/wallets/cleo/topups", json=order, timeout=ANSWER_S)


async def test_a_locked_table_is_not_waited_for(site: Site, postgres: Journals) -> None:
    """Another transaction locks the table: answer 503 within seconds; the same id later counts once."""
    engine = site.node.engine
    lock = "LOCK TABLE topups IN ACCESS EXCLUSIVE MODE" if engine.dialect.name == "postgresql" else "SELECT 1"
    with engine.begin() as connection:
        connection.execute(text(lock))
        began = time.monotonic()
        answer = await _top_up(site, "locked")
        assert (answer.status_code, time.monotonic() - began < ANSWER_S) == (503, True)
    assert (await _top_up(site, "locked")).status_code == 201
    assert await site.coins("cleo") == 5


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # it has its own, and this takes ten seconds
async def test_a_stopped_postgresql_is_not_waited_for(own_postgres: Journals, another_site: MakeSite) -> None:
    """Its sockets stay open but it never answers: every request ends, even one that waits for others."""
    site = await another_site(LIVEROOM_JOURNAL_URL=own_postgres.journal())
    assert (await _top_up(site, "before")).status_code == 201
    process = own_postgres.process
    assert process is not None
    for pid in _family(process.pid):
        _signal(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        asked = [_top_up(site, f"meanwhile-{n}") for n in range(20)]
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {503}
        assert time.monotonic() - began < ANSWER_S
    finally:
        for pid in _family(process.pid):
            _signal(pid, signal.SIGCONT)
    async with asyncio.timeout(30):
        while (await _top_up(site, "meanwhile-0")).status_code not in (200, 201):
            pass


def _family(pid: int) -> list[int]:
    """A process and its children: PostgreSQL has one per connection."""
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [pid, *map(int, listed.read().split())]


def _signal(pid: int, what: signal.Signals) -> None:
    os.kill(pid, what)


def test_every_transaction_is_bounded(journal: str) -> None:
    """Readers and writers have timeouts, on a new connection and on a pooled one."""
    engine = database.connect(journal)
    if engine.dialect.name == "sqlite":
        with reading(engine).connect() as connection:
            assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 5_000
        engine.dispose()
        return
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    shown = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    for _ in range(2):
        with engine.begin() as connection:
            assert tuple(connection.execute(text(shown)).one()) == ("5s", "3s", "1min")
        with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
            assert tuple(connection.execute(text(shown)).one()) == ("10min", "3s", "1min")
    engine.dispose()


def test_nothing_of_a_session_outlives_a_transaction(journal: str) -> None:
    """A transaction pooler may switch servers: keep no prepared statement and no setting between two."""
    engine = database.connect(journal)
    if engine.dialect.name == "sqlite":
        engine.dispose()
        return
    with engine.connect() as connection:
        for _ in range(20):
            connection.execute(text("SELECT count(*) FROM entries WHERE n = :n"), {"n": 1})
            connection.rollback()
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0
        connection.rollback()
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.execute("SHOW statement_timeout").fetchone() == ("0",)
        driver.rollback()
    engine.dispose()


async def test_asking_ends(journal: str) -> None:
    """The caller gets an answer even if the thread hangs."""
    waits = asyncio.Event()
    loop = asyncio.get_running_loop()
    with pytest.raises(SilentJournal):
        await ask(lambda: asyncio.run_coroutine_threadsafe(waits.wait(), loop).result(), within_s=0.05)
    waits.set()
    assert issubclass(SilentJournal, SQLAlchemyError)


async def test_a_repeated_order_is_not_inserted_again(site: Site) -> None:
    """A repeated order is looked up first: it costs one read, and logs no error in the database."""
    written: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT"):
            written.append(statement)

    event.listen(site.node.engine, "before_cursor_execute", note)
    assert [(await _top_up(site, "again")).status_code for _ in range(3)] == [201, 200, 200]
    assert len(written) == 1
    event.remove(site.node.engine, "before_cursor_execute", note)


def test_a_connection_that_comes_back_late_is_closed(postgres: Journals) -> None:
    """A thread can outlive the wait for it: what it gives back after the end must not stay open."""
    engine = database.connect(postgres.journal())
    connection = engine.connect()
    driver: Any = connection.connection.driver_connection
    engine.dispose()
    connection.close()
    with pytest.raises(Exception, match="closed"):
        driver.execute("SELECT 1")


def test_a_silent_answer_closes_the_connection(postgres: Journals) -> None:
    """A statement that says nothing for longer than is waited ends with an error, and nobody can use the connection."""
    engine = database.connect(postgres.journal())
    connection = engine.connect()
    driver: Any = connection.connection.driver_connection
    driver.patience_s = 0.1
    with pytest.raises(psycopg.OperationalError, match=r"no answer in 0\.1 s"):
        driver.execute("SELECT pg_sleep(5)")
    assert driver.closed
    connection.invalidate()
    connection.close()
    engine.dispose()


def test_sqlite_is_durable(empty_journal: Path) -> None:
    """A commit is on disk, readers run beside the writer, and we begin transactions, not the driver."""
    engine = database.connect(f"sqlite:///{empty_journal}")
    with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
        driver: Any = connection.connection.driver_connection
        assert (found, driver.isolation_level) == (["wal", 2, 5_000, 1], None)
    engine.dispose()
