"""Fixtures: the run's two stores, and a site on them that is empty for each test."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from server.journal import database
from server.settings import Settings
from server.store.embedded import ROOM, WALLET
from tests import tree
from tests.cluster import Cluster
from tests.journeys.raw import Peers
from tests.lossy import LossyWire
from tests.money import Purse, assert_conserved
from tests.site import Site
from tests.stores import ValkeyProcess, settings
from tests.torture import LONG

# A busy machine must not fail a test, and a run must leave no folder behind. Chance has its turn in the long form.
hypothesis.settings.register_profile("liveroom", deadline=None, database=None, print_blob=True, derandomize=not LONG)
hypothesis.settings.load_profile("liveroom")

PAGES = Path(__file__).parent / "pages"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name what one worker runs: a file, because its tests share fixtures, or all pages, which share a browser."""
    for item in items:
        group = "pages" if PAGES in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_sessionfinish() -> None:
    """pytest looks for garbage several times at its end: it need not look through every syntax tree."""
    tree.parsed.cache_clear()


class Stores:
    """The wallet store and the room store of this test run."""

    def __init__(self, folder: Path) -> None:
        self.wallet = ValkeyProcess(WALLET, settings(folder))
        self.room = ValkeyProcess(ROOM, settings(folder))

    def empty(self) -> None:
        for store in (self.wallet, self.room):
            with store.client() as client:
                client.flushall()


@pytest.fixture(scope="session")
def run_stores() -> Iterator[Stores]:
    """Both stores, started once per run. Their path is short: unix sockets have room for 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="liveroom-test-") as folder:
        stores = Stores(Path(folder))
        stores.wallet.start()
        stores.room.start()
        yield stores
        stores.wallet.stop()
        stores.room.stop()


@pytest.fixture
def stores(run_stores: Stores) -> Stores:
    """Both stores, emptied."""
    run_stores.empty()
    return run_stores


@pytest.fixture(scope="session")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite journal with its schema, to be copied."""
    path = tmp_path_factory.mktemp("journal") / "empty.sqlite3"
    engine = database.connect(f"sqlite:///{path}")
    database.migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def journal(empty_journal: Path, tmp_path: Path) -> str:
    """The address of an empty journal."""
    path = tmp_path / "journal.sqlite3"
    shutil.copyfile(empty_journal, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def another_site(stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Make more sites (nodes) on the same stores and journal, optionally with other settings."""
    made: list[Site] = []

    async def make(**environ: str) -> Site:
        own = {
            "LIVEROOM_WALLET_URL": f"unix://{stores.wallet.socket}",
            "LIVEROOM_ROOM_URL": f"unix://{stores.room.socket}",
            "LIVEROOM_JOURNAL_URL": journal,
            "LIVEROOM_LOG": "warning",
        }
        site = Site(settings(tmp_path, **{**own, **environ}))
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


# --- money without a room ------------------------------------------------------------------------------------------
def _with_wallet(tmp_path: Path, journal: str, socket: Path) -> Settings:
    return settings(tmp_path, LIVEROOM_WALLET_URL=f"unix://{socket}", LIVEROOM_JOURNAL_URL=journal)


@pytest.fixture
async def purse(stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Purse]:
    """A wallet on the run's store; its books must balance after the test."""
    made = Purse(_with_wallet(tmp_path, journal, stores.wallet.socket), stores.wallet)
    await made.start()
    yield made
    try:
        assert_conserved(made.look)
    finally:
        await made.stop()


@pytest.fixture
async def another_purse(purse: Purse) -> AsyncIterator[Purse]:
    """The wallet of another node on the same store and journal."""
    made = Purse(purse.settings, purse.of)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def own_store() -> Iterator[ValkeyProcess]:
    """A wallet store that belongs to one test, which may kill, stop or change it."""
    with tempfile.TemporaryDirectory(prefix="liveroom-own-") as folder:
        store = ValkeyProcess(WALLET, settings(Path(folder)))
        store.start()
        yield store
        store.stop()


@pytest.fixture
async def wire(own_store: ValkeyProcess) -> AsyncIterator[LossyWire]:
    """A wire to that store that can lose requests and replies."""
    made = LossyWire(own_store.socket.with_name("wire.sock"), own_store.socket)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def far_purse(own_store: ValkeyProcess, wire: LossyWire, journal: str, tmp_path: Path) -> AsyncIterator[Purse]:
    """A wallet at the other end of that wire; its books must balance after the test."""
    made = Purse(_with_wallet(tmp_path, journal, wire.path), own_store)
    await made.start()
    yield made
    try:
        assert_conserved(made.look)
    finally:
        await made.stop()


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    """Raw sockets to any server; they are closed after the test."""
    made = Peers()
    yield made
    await made.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of three primaries, shared by a module."""
    with tempfile.TemporaryDirectory(prefix="liveroom-cluster-") as folder:
        made = Cluster(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()
