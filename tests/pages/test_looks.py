"""The pages for everybody: by keyboard alone, on a phone, and without motion."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.pages.tabs import Tabs
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Animations that take time and change something's place, size or rotation.
MOVING = """() => document.getAnimations({ subtree: true }).filter((animation) => {
  const { duration, iterations } = animation.effect.getComputedTiming();
  const frames = animation.effect.getKeyframes();
  const moves = ["transform", "translate", "scale", "rotate", "maskPosition", "left", "top"].some((name) =>
    new Set(frames.map((frame) => frame[name])).size > 1);
  return moves && duration * iterations > 1;
}).map(({ animationName, effect }) => `${animationName ?? "script"} of ${effect.target.className}`)"""


# What can be read or used and lies beyond the width.
OUTSIDE = """(width) => [...document.querySelectorAll("a, button, input, h1, p, b, li")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest("[aria-hidden=true]"))
  .filter((element) => element.getBoundingClientRect().left < 0 || element.getBoundingClientRect().right > width)
  .map((element) => element.dataset.testid || element.className || element.textContent)"""


FOCUS_IN = """() => document.activeElement.closest("[data-testid=gift-panel]")?.dataset.testid
  ?? (document.activeElement === document.body ? "body" : document.activeElement.outerHTML)"""
BLURRED = """() => [...document.querySelectorAll("*")].filter((element) => {
  const { backdropFilter, filter } = getComputedStyle(element);
  return backdropFilter !== "none" || filter.includes("blur");
}).map(({ className }) => className)"""

# What covers the middle of an element: "" if it can be seen and touched there.
ON_TOP = """(element) => {
  const { left, top, width, height } = element.getBoundingClientRect();
  const there = document.elementFromPoint(left + width / 2, top + height / 2);
  return element.contains(there) || there?.contains(element) ? "" : there?.outerHTML ?? "outside";
}"""


# Inputs that cannot show all of their hint, and buttons that need two lines.
CUT = """() => [...document.querySelectorAll("input, .primary")].filter((element) => {
  if (!element.checkVisibility()) return false;
  if (element.tagName !== "INPUT") return element.querySelector(".send-label").offsetHeight > 30;
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = getComputedStyle(element).font;
  return pen.measureText(element.placeholder).width > element.clientWidth;
}).map(({ dataset }) => dataset.testid)"""
IN_SIGHT = """(element) => {
  const { left, top, width, height } = element.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2).closest(".stage") !== null;
}"""


async def focused(page: Page) -> str:
    """The test id of the focused element."""
    return str(await page.evaluate("document.activeElement?.dataset?.testid ?? ''"))


async def tab_to(page: Page, testid: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(40):
        if await focused(page) == testid:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{testid} is not reached by Tab")


async def test_by_keyboard_alone(site: Site, tabs: Tabs) -> None:
    """Tab reaches every part, the focus is visible, and one can chat, choose a gift and send it with a message."""
    page = await tabs.watch(site.url)
    await tab_to(page, "gift-balloon")
    outline = await page.get_by_test_id("gift-balloon").evaluate("(card) => getComputedStyle(card).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("gift-balloon")).to_have_attribute("aria-pressed", "true")
    await tab_to(page, "quantity-5")
    await page.keyboard.press("Space")
    await tab_to(page, "gift-message")
    await page.keyboard.type("typed")
    await tab_to(page, "gift-send")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("balance")).to_have_attribute("data-value", "9750")
    await expect(page.get_by_test_id("chat-gift")).to_contain_text("Alice sent Balloon ×5typed")
    assert await focused(page) == "gift-send"
    await tab_to(page, "chat-input")
    await page.keyboard.type("hello by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("chat-line").locator(".text")).to_have_text("hello by keyboard")
    assert await focused(page) == "chat-input"


async def test_a_key_held_down_gives_once(site: Site, tabs: Tabs) -> None:
    """The browser repeats a held key thirty times a second; the viewer has given one gift."""
    page = await tabs.watch(site.url)
    await page.get_by_test_id("gift-send").focus()
    for _ in range(10):
        await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await expect(page.get_by_test_id("chat-gift")).to_have_attribute("data-count", "1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("chat-gift")).to_have_attribute("data-count", "2")
    await expect(page.get_by_test_id("balance")).to_have_attribute("data-value", "9998")


async def test_on_a_phone(site: Site, tabs: Tabs) -> None:
    """Nothing is wider than the phone; the gifts are a sheet that opens, gives, and on closing returns the focus."""
    page = await tabs.watch(site.url, phone=True)
    sheet, opener = page.get_by_test_id("gift-panel"), page.get_by_test_id("gift-open")
    await expect(sheet).to_be_hidden()
    await page.get_by_test_id("chat-input").fill("w" * 300)
    await page.get_by_test_id("chat-input").press("Enter")
    await opener.tap()
    await expect(sheet).to_be_visible()
    assert await focused(page) == "gift-rose"
    await page.get_by_test_id("gift-castle").tap()
    await page.get_by_test_id("gift-send").tap()
    await expect(page.get_by_test_id("balance")).to_have_attribute("data-value", "5000")
    await page.keyboard.press("Escape")
    await expect(sheet).to_be_hidden()
    assert await focused(page) == "gift-open"
    await expect(opener).to_have_css("background-image", re.compile("gradient"))  # as before the touch
    await expect(page.get_by_test_id("show")).to_be_visible()
    await expect(page.get_by_test_id("chat-line")).to_be_visible()
    await opener.tap()
    for width in (360, 320):
        await page.set_viewport_size({"width": width, "height": 640})
        assert await page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") == [width] * 2
        assert await page.evaluate(OUTSIDE, width) == []


async def test_a_giver_on_a_phone_sees_the_gift(site: Site, tabs: Tabs) -> None:
    """After a gift the sheet leaves the stage free: only its button stays, for more taps, until their time is over."""
    page = await tabs.watch(site.url, phone=True, clock=True)
    sheet, send = page.get_by_test_id("gift-panel"), page.get_by_test_id("gift-send")
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))  # a streak lasts as long as the test needs
    for width, height in ((360, 640), (844, 390)):
        await page.set_viewport_size({"width": width, "height": height})
        await page.get_by_test_id("gift-open").tap()
        await page.get_by_test_id("gift-rose").tap()
        for count in ("2", "3"):  # the first was the tap on what is chosen already
            await send.tap()
            await expect(send).to_have_text(f"Combo ×{count}")
        assert await send.evaluate(ON_TOP) == ""
        assert await focused(page) == "gift-send"
        box = await sheet.bounding_box()
        assert box is not None
        assert box["width"] * box["height"] < width * height / 5
        await expect(page.get_by_test_id("tray-row")).to_have_attribute("data-count", "3")
        assert await page.get_by_test_id("tray-row").evaluate(IN_SIGHT)
        await page.clock.run_for(3_400)
        await expect(sheet).to_be_hidden()
        assert await focused(page) == "gift-open"
        await page.clock.run_for(10_000)  # another streak, another row
        await expect(page.get_by_test_id("tray-row")).to_have_count(0)


async def test_an_open_sheet_keeps_the_focus(site: Site, tabs: Tabs) -> None:
    """It is a dialog: Tab goes round in it, forwards and backwards, and what lies behind it cannot be reached."""
    page = await tabs.watch(site.url, phone=True)
    await page.get_by_test_id("gift-open").tap()
    sheet = page.get_by_test_id("gift-panel")
    await expect(sheet).to_have_role("dialog")
    await expect(sheet).to_have_attribute("aria-modal", "true")
    seen = set()
    for key in ("Tab", "Shift+Tab"):
        for _ in range(25):
            await page.keyboard.press(key)
            seen.add(await page.evaluate(FOCUS_IN))
    assert seen <= {"gift-panel", "body"}  # from the last to the first, the focus passes the browser's own parts
    await page.keyboard.press("Escape")
    await expect(sheet).to_be_hidden()
    await tab_to(page, "chat-input")


async def test_an_idle_page_rests(site: Site, tabs: Tabs) -> None:
    """While nothing happens nothing moves and nothing is blurred: the page costs about as much as an empty one."""
    page = await tabs.watch(site.url, lively=True)
    await expect(page.get_by_test_id("room-status")).to_have_attribute("data-status", "live")
    await page.wait_for_function("() => document.getAnimations({ subtree: true }).length === 0")
    assert await page.evaluate(BLURRED) == []


async def test_held_across(site: Site, tabs: Tabs) -> None:
    """On a phone held across one sees the stage, reads and writes chat, and gives; nothing covers the title."""
    page = await tabs.watch(site.url, phone=True)
    await (await site.join("bob")).gift("crown")
    await expect(page.get_by_test_id("board-row")).to_be_visible()
    for width, height in ((844, 390), (360, 740)):
        await page.set_viewport_size({"width": width, "height": height})
        await page.wait_for_function(f"({OUTSIDE})({width}).length === 0")  # what slides in has arrived
        for testid in ("room-title", "chat-input", "gift-open", "like-button", "room-status", "board-row"):
            assert await page.get_by_test_id(testid).evaluate(ON_TOP) == "", (width, testid)
        await page.get_by_test_id("gift-open").tap()
        for testid in ("gift-rose", "gift-rocket", "gift-send", "gift-close", "quantity-99"):
            await expect(page.get_by_test_id(testid)).to_be_in_viewport(ratio=1)
        await page.get_by_test_id("quantity-99").tap()
        await page.get_by_test_id("ask-above").select_option("100")
        await page.get_by_test_id("gift-heart").tap()  # a second tap on the chosen one would give
        await page.get_by_test_id("gift-crown").tap()
        await page.get_by_test_id("gift-send").tap()
        await expect(page.get_by_test_id("gift-send")).to_contain_text("Really send?")
        assert await page.evaluate(CUT) == []
        assert await page.evaluate(OUTSIDE, width) == []
        await page.keyboard.press("Escape")


async def test_without_motion(site: Site, tabs: Tabs) -> None:
    """With reduced motion gifts, combos and likes do not move, nor does the overlay. Other people see them move."""
    calm, lively, overlay = await asyncio.gather(
        tabs.watch(site.url), tabs.watch(site.url, "bob", lively=True), tabs.overlay(site.url)
    )
    await calm.get_by_test_id("gift-castle").click()
    await calm.get_by_test_id("gift-send").click()
    await calm.get_by_test_id("gift-rose").click()
    await calm.get_by_test_id("gift-rose").click()
    await calm.get_by_test_id("like-button").click()
    await expect(overlay.get_by_test_id("overlay-alert")).to_be_visible()
    for page in (calm, lively):
        await expect(page.get_by_test_id("show")).to_be_visible()
        await expect(page.locator(".floater")).not_to_have_count(0)
    moving = [await page.evaluate(MOVING) for page in (calm, overlay, lively)]
    assert moving[:2] == [[], []]
    assert "turn of rays" in moving[2]
