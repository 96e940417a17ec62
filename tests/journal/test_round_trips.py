"""How often an order waits for the database: each statement, each begin and each end is a round trip."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from server import limits
from server.journal import database
from server.journal.database import reading
from server.journal.earnings import Earnings
from server.orders import chargebacks
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.postgres import Journals
from tests.site import Site


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """A desk of the host platform; everything must be sound after the test."""
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


@contextlib.contextmanager
def round_trips(engine: Engine) -> Iterator[list[str]]:
    """What is sent to the database until the block ends."""
    sent: list[str] = []

    def statement(_connection: object, _cursor: object, said: str, *_rest: object) -> None:
        sent.append(said)

    def commit(_connection: object) -> None:
        sent.append("COMMIT")

    def rollback(_connection: object) -> None:
        sent.append("ROLLBACK")

    hooks: list[tuple[str, Any]] = [("before_cursor_execute", statement), ("commit", commit), ("rollback", rollback)]
    for name, hook in hooks:
        event.listen(engine, name, hook)
    yield sent
    for name, hook in hooks:
        event.remove(engine, name, hook)


async def test_how_often_an_order_asks_the_database(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is some milliseconds on a busy database: give a reason when you raise one of these."""
    node, postgresql = desk.site.node, desk.site.node.engine.dialect.name == "postgresql"
    lock = 1 if postgresql else 0
    await desk.buy("cleo", 100, "t1")
    gift, _ = await desk.give("cleo", 60, 30), await desk.give("cleo", 10, 5, to="ben")
    await desk.journal()
    with round_trips(node.engine) as sent:
        await node.refunds.refund(gift, "")
    assert len(sent) == 4 + 5 + lock, sent
    await desk.journal()
    with round_trips(node.engine) as sent:
        assert (await node.refunds.refund(gift, "")).duplicate
    assert len(sent) == 4, sent
    with round_trips(node.engine) as sent:

        async def journaled(*_: object) -> None:
            before = len(sent)
            await desk.journal()
            del sent[before:]

        monkeypatch.setattr(chargebacks, "wait_until_journaled", journaled)
        await node.chargebacks.charge_back("t1", "")
    assert len(sent) == 4 + 5 + lock + 5 + 7 + lock, sent
    with round_trips(node.engine) as sent:
        await Earnings(node.engine, node.clock).of("ann")
    assert len(sent) == 4, sent


def test_a_connection_is_pinged_when_it_was_idle(postgres: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which the server answered a moment ago is used at once. A dead one that was idle is found before use."""
    engine = database.connect(postgres.journal())
    pinged: list[object] = []
    ping = engine.dialect.do_ping

    def noted(driver: Any) -> bool:
        pinged.append(driver)
        return ping(driver)

    monkeypatch.setattr(engine.dialect, "do_ping", noted)
    monkeypatch.setattr(limits, "SQL_FRESH_S", 3_600.0)
    for _ in range(2):
        with reading(engine).connect() as connection:
            own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    assert pinged == []
    monkeypatch.setattr(limits, "SQL_FRESH_S", 0.0)
    with reading(engine).connect() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() == own
    assert len(pinged) == 1
    postgres.run(f"SELECT pg_terminate_backend({own}, 5000)")
    with reading(engine).connect() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != own
    assert len(pinged) == 3, "the dead one, and the new one"
    engine.dispose()


def test_a_transaction_is_of_its_kind(journal: str) -> None:
    """A reader sees one snapshot and cannot write; a writer sees what is committed meanwhile."""
    engine = database.connect(journal)
    if engine.dialect.name == "postgresql":
        shown = text("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
        with reading(engine).connect() as connection:
            assert tuple(connection.execute(shown).one()) == ("repeatable read", "on")
        with engine.begin() as connection:
            assert tuple(connection.execute(shown).one()) == ("read committed", "off")
    engine.dispose()
