"""Fixtures: one browser for the run, and sites and tabs in its event loop."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from server import catalogue
from server.settings import Settings
from tests import browser as chromium
from tests.conftest import Stores
from tests.pages.tabs import WAIT_MS, Tabs, Windows
from tests.program import Served
from tests.site import Site
from tests.stores import settings

QUICK_MS = 900


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A Chromium. Without one these tests fail; they are never skipped."""
    path = chromium.system_chromium() or chromium.playwright_chromium()
    assert path, "there is no Chromium: run `python -m tests.browser`"
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """The run's one browser; everything that talks to it must use its event loop."""
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium_path, args=chromium.ARGS)
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def windows(browser: Browser) -> Windows:
    """The run's windows."""
    return Windows(browser)


@pytest.fixture
def of_a_node(stores: Stores, journal: str) -> dict[str, str]:
    """The environment of a node on the test's stores and journal."""
    return {
        "LIVEROOM_WALLET_URL": f"unix://{stores.wallet.socket}",
        "LIVEROOM_ROOM_URL": f"unix://{stores.room.socket}",
        "LIVEROOM_JOURNAL_URL": journal,
        "LIVEROOM_LOG": "warning",
    }


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, str]:
    """The environment of a node that shows gifts only for a moment."""
    gifts = json.loads(catalogue.OWN.read_text())
    for gift in gifts:
        gift["animation"]["duration_ms"] = QUICK_MS
    path = tmp_path / "quick.json"
    path.write_text(json.dumps(gifts))
    return {"LIVEROOM_CATALOGUE": str(path)}


@pytest_asyncio.fixture(loop_scope="session")
async def another_site(of_a_node: dict[str, str], tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Make sites on the same stores and journal, in the browser's event loop."""
    made: list[Site] = []

    async def make(**environ: str) -> Site:
        read: Settings = settings(tmp_path, **of_a_node, **environ)
        made.append(Site(read))
        await made[-1].start()
        return made[-1]

    yield make
    for site in made:
        await site.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def site(another_site: Callable[..., Awaitable[Site]]) -> Site:
    """A node with the demo room; alice and bob hold 10,000 coins each."""
    return await another_site()


@pytest_asyncio.fixture(loop_scope="session")
async def node(of_a_node: dict[str, str], tmp_path: Path) -> AsyncIterator[Served]:
    """A node in a process of its own on the same stores, ready, that a test can kill and start again."""
    served = Served(tmp_path, **of_a_node, LIVEROOM_DATA=str(tmp_path / "no-data"))
    await served.start()
    yield served
    await served.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def tabs(windows: Windows, another_site: object) -> AsyncIterator[Tabs]:
    """Tabs of the run's browser; they are left before the sites end, and none may have had an error."""
    opened = Tabs(windows)
    yield opened
    await opened.close()
