"""Fixtures: the run's two stores, and a site on them that is empty for each test."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from server.journal import database
from server.store.embedded import ROOM, WALLET
from tests.site import Site
from tests.stores import ValkeyProcess, settings


class Stores:
    """The run's wallet and room store."""

    def __init__(self, folder: Path) -> None:
        self.wallet = ValkeyProcess(WALLET, settings(folder))
        self.room = ValkeyProcess(ROOM, settings(folder))

    def empty(self) -> None:
        for store in (self.wallet, self.room):
            with store.client() as client:
                client.flushall()


@pytest.fixture(scope="session")
def run_stores() -> Iterator[Stores]:
    """Both stores, started once per run, in a short path: unix sockets have room for 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="liveroom-test-") as folder:
        stores = Stores(Path(folder))
        stores.wallet.start()
        stores.room.start()
        yield stores
        stores.wallet.stop()
        stores.room.stop()


@pytest.fixture
def stores(run_stores: Stores) -> Stores:
    """Both stores, empty."""
    run_stores.empty()
    return run_stores


@pytest.fixture
async def another_site(stores: Stores, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Site]]]:
    """Make sites (nodes) on the same stores and journal."""
    made: list[Site] = []
    journal = f"sqlite:///{tmp_path / 'journal.sqlite3'}"
    engine = database.connect(journal)
    database.migrate(engine)
    engine.dispose()

    async def make() -> Site:
        site = Site(
            settings(
                tmp_path,
                LIVEROOM_WALLET_URL=f"unix://{stores.wallet.socket}",
                LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
                LIVEROOM_JOURNAL_URL=journal,
                LIVEROOM_LOG="warning",
            )
        )
        made.append(site)
        await site.start()
        return site

    yield make
    for site in made:
        await site.stop()


@pytest.fixture
async def site(another_site: Callable[[], Awaitable[Site]]) -> Site:
    """A node with the demo room; alice and bob hold 10,000 coins each."""
    return await another_site()
