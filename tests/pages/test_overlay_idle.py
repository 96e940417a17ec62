"""An idle overlay paints nothing: streaming programs leak with each frame, and a show lasts for hours."""

import asyncio
import json

import pytest
from playwright.async_api import Page, expect

from tests.features.test_members import host_of
from tests.pages.tabs import Tabs
from tests.pages.test_overlay import has_shown
from tests.pages.test_overlay_control import ALL, link_to, opened
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")
IDLE_S = 10
FRAMES = [
    "devtools.timeline",
    "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame",
]


@pytest.mark.parametrize("widgets", [ALL[:1], ALL], ids=["alerts", "every widget"])
async def test_an_idle_overlay_paints_nothing(site: Site, tabs: Tabs, widgets: list[dict[str, str]]) -> None:
    """Ten seconds of a trace without one frame, after an alert was shown and with all that widgets may have to show."""
    host, alice = await host_of(site), await site.join("alice")
    await host.ask("goals.set", kind="coins", title="New guitar", target=2_000)
    await host.ask("overlay.set", settings={"widgets": widgets, "big_coins": 1})
    page = await opened(tabs, await link_to(site), lively=True)
    await alice.ask("chat.send", text="hello")
    await alice.gift("rose", combo="taps")
    await alice.gift("heart")
    await has_shown(page, "Alice rose", "Alice heart")
    await expect(page.get_by_test_id("overlay-alert")).to_have_count(0)
    if len(widgets) > 1:
        await expect(page.get_by_test_id("overlay-ticker")).to_be_visible()
        await expect(page.get_by_test_id("overlay-combo")).to_have_count(0)
    busy = await traced(page, 1, moves=True)
    assert busy > 0, "the trace does not see frames"
    await asyncio.sleep(1)  # what moved has come to rest
    assert await traced(page, IDLE_S) == 0


async def traced(page: Page, seconds: float, *, moves: bool = False) -> int:
    """How many frames the page draws in this time."""
    browser = page.context.browser
    assert browser is not None
    await browser.start_tracing(page=page, categories=FRAMES)
    if moves:
        await page.evaluate("""() => {
            const moving = document.body.appendChild(document.createElement("p"));
            moving.textContent = "moving";
            moving.animate([{ translate: "0 0" }, { translate: "90px 0" }], 500).onfinish = () => moving.remove();
        }""")
    await asyncio.sleep(seconds)
    trace = json.loads(await browser.stop_tracing())
    return sum(event["name"] == "DrawFrame" for event in trace["traceEvents"])
