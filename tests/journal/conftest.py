"""Every test of the journal runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import Stores
from tests.lossy import LossyWire
from tests.postgres import Journals
from tests.site import Site
from tests.stores import settings


@pytest.fixture(scope="session")
def postgres() -> Iterator[Journals]:
    """The run's PostgreSQL."""
    server = Journals()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without a schema."""
    if request.param == "postgresql":
        server: Journals = request.getfixturevalue("postgres")
        return server.journal("template1")
    return f"sqlite:///{tmp_path / 'empty.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, empty_journal: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an empty journal."""
    if request.param == "postgresql":
        server: Journals = request.getfixturevalue("postgres")
        address = server.journal()
        yield address
        server.give_back(address)
        return
    path = tmp_path / "journal.sqlite3"
    shutil.copyfile(empty_journal, path)
    yield f"sqlite:///{path}"


@pytest.fixture
async def money_wire(stores: Stores) -> AsyncIterator[LossyWire]:
    """A wire to the run's wallet store that can lose what passes."""
    made = LossyWire(stores.wallet.socket.with_name("wire.sock"), stores.wallet.socket)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def far_site(stores: Stores, journal: str, tmp_path: Path, money_wire: LossyWire) -> AsyncIterator[Site]:
    """A node that has its wallet store at the other end of that wire."""
    made = Site(
        settings(
            tmp_path,
            LIVEROOM_WALLET_URL=f"unix://{money_wire.path}",
            LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
            LIVEROOM_JOURNAL_URL=journal,
            LIVEROOM_LOG="warning",
        )
    )
    await made.start()
    yield made
    await made.stop()
