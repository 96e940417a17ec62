"""What axe finds on the pages: nothing serious, in each of their states, in light, dark and forced colours."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.pages.tabs import Tabs
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(__file__).parents[1] / "js/node_modules/axe-core/axe.min.js"
# Where the browser chooses the colours, axe guesses them. There, every part must leave the choice to the browser.
SERIOUS = """async (forced) => (await axe.run(document, {
  resultTypes: ["violations"], rules: { "color-contrast": { enabled: !forced } },
})).violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .flatMap(({ id, nodes }) => nodes.map(({ html, any, all, none }) =>
    `${id}: ${html.slice(0, 160)} ${[...any, ...all, ...none].map(({ message }) => message).join("; ")}`))"""
OWN_COLOURS = """() => [...document.querySelectorAll("body *")]
  .filter((element) => getComputedStyle(element).forcedColorAdjust === "none").map(({ outerHTML }) => outerHTML)"""
DRAWN = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""
COLOURS: list[dict[str, Any]] = [
    {"color_scheme": "light"},
    {"color_scheme": "dark"},
    {"color_scheme": "light", "forced_colors": "active"},
    {"color_scheme": "dark", "forced_colors": "active"},
]


async def is_clean(page: Page, state: str) -> None:
    """Axe has nothing serious to say of the page as it is, in any colours."""
    await page.evaluate(AXE.read_text())  # the page's policy does not bind what a test evaluates
    found: set[str] = set()
    for colours in COLOURS:
        await page.emulate_media(**colours)
        await page.evaluate(DRAWN)
        forced = "forced_colors" in colours
        found.update(await page.evaluate(SERIOUS, forced))
        found.update(await page.evaluate(OWN_COLOURS) if forced else [])
    await page.emulate_media(color_scheme="light", forced_colors="none")
    assert sorted(found) == [], state


async def test_a_live_room(site: Site, tabs: Tabs) -> None:
    """With chat, a gift of a streak, a large animation, the board, a mark and a refusal, and with nothing at all."""
    page = await tabs.watch(site.url)
    await is_clean(page, "empty")
    bob, host, bot = await site.join("bob"), await site.join("creator", "host"), await site.join("bot", "bot")
    for who in (bob, host, bot):
        await who.ask("chat.send", text="hello")
    await bob.gift("rose", 5, combo="streak", message="for you")
    await bob.gift("crown")
    await page.get_by_test_id("gift-castle").click()
    await page.get_by_test_id("chat-input").fill("x")
    await page.get_by_test_id("chat-input").press("Enter")
    await page.get_by_test_id("chat-input").press("Enter")
    await expect(page.get_by_test_id("chat-gift")).to_have_count(2)
    await expect(page.get_by_test_id("board-row")).to_have_count(1)
    await is_clean(page, "busy")


async def test_a_room_that_is_not_live(site: Site, tabs: Tabs) -> None:
    """Offline, paused and ended."""
    await site.put_room("later", live=False)
    page = await tabs.watch(site.url, room="later")
    await is_clean(page, "offline")
    for verb, reason in (("start", None), ("pause", "paused"), ("end", "room_ended")):
        await site.http.post(f"/v1/rooms/later/{verb}")
        if reason:
            await expect(page.get_by_test_id("curtain")).to_have_attribute("data-reason", reason)
            await is_clean(page, reason)


async def test_a_page_that_is_kept_out(site: Site, tabs: Tabs) -> None:
    """A bad token, on both pages."""
    for kind, testid in (("watch", "curtain"), ("overlay", "overlay-problem")):
        page = await tabs.open(f"{site.url}/{kind}/demo#token=nonsense")
        await expect(page.get_by_test_id(testid)).to_be_visible()
        await is_clean(page, kind)


async def test_the_sheet_of_gifts(site: Site, tabs: Tabs) -> None:
    """On a phone, closed and open, upright and held across."""
    page = await tabs.watch(site.url, phone=True)
    for width, height in ((360, 740), (844, 390)):
        await page.set_viewport_size({"width": width, "height": height})
        await is_clean(page, f"closed at {width}")
        await page.get_by_test_id("gift-open").tap()
        await expect(page.get_by_test_id("gift-send")).to_be_in_viewport()
        await is_clean(page, f"open at {width}")
        await page.keyboard.press("Escape")


async def test_the_overlay(site: Site, tabs: Tabs) -> None:
    """Empty, and with an alert."""
    page = await tabs.overlay(site.url)
    await is_clean(page, "empty")
    await (await site.join("alice")).gift("castle", message="for you")
    await expect(page.get_by_test_id("overlay-alert")).to_be_visible()
    await is_clean(page, "alert")
