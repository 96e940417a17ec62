"""The streamer's page: links, settings that reach the overlay, controls, and a preview."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.pages.tabs import Tabs
from tests.pages.test_axe import is_clean
from tests.pages.test_overlay import has_shown
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")
SIZES = {"desktop": (1920, 1080), "laptop": (1280, 720), "phone": (390, 844)}


async def as_host(tabs: Tabs, site: Site, **options: bool) -> Page:
    """The page of the demo room's host."""
    token = site.token("creator", "host", room="demo")
    page = await tabs.open(f"{site.url}/streamer/demo#token={token}", **options)
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    return page


async def test_a_link_is_made_used_renewed_and_ended(site: Site, tabs: Tabs) -> None:
    """The whole way of a streamer, without an address that has a token."""
    page = await as_host(tabs, site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + request.headers.get("referer", "")))
    await expect(page.get_by_test_id("overlays")).to_contain_text("No overlay is open")
    await page.get_by_test_id("link-make").click()
    url = await page.get_by_test_id("link-url").input_value()
    overlay = await tabs.open(url)
    await expect(overlay.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await expect(page.get_by_test_id("overlays")).to_contain_text("1 overlay is open")
    await page.get_by_test_id("link-rotate").click()
    await expect(overlay.get_by_test_id("conn-state")).to_have_attribute("data-state", "closed")
    await expect(page.get_by_test_id("link-url")).not_to_have_value(url)
    await overlay.goto("about:blank")
    await overlay.goto(await page.get_by_test_id("link-url").input_value())
    await expect(overlay.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await page.get_by_test_id("link-end").click()
    await expect(page.get_by_test_id("link")).to_have_count(0)
    await expect(overlay.get_by_test_id("conn-state")).to_have_attribute("data-state", "closed")
    assert not [each for each in asked if "eyJ" in each or "key=" in each]


async def test_settings_are_saved_and_shown(site: Site, tabs: Tabs) -> None:
    """In the preview, in every overlay, and again after a reload."""
    page = await as_host(tabs, site)
    overlay = await tabs.overlay(site.url)
    await page.get_by_test_id("set-widget-viewers").check()
    await page.get_by_test_id("set-place-viewers").select_option("top-right")
    await page.get_by_test_id("set-theme").select_option("light")
    await page.get_by_test_id("set-min_coins").fill("5")
    await page.get_by_test_id("variant-add").click()
    await page.get_by_test_id("set-which").select_option("gift heart")
    await page.get_by_test_id("set-animation").select_option("ride")
    await expect(page.get_by_test_id("saved")).to_have_attribute("data-state", "saved")
    for shown in (page.get_by_test_id("preview"), overlay.locator("body")):
        await expect(shown.locator(".stage")).to_have_attribute("data-theme", "light")
        await expect(shown.get_by_test_id("overlay-viewers")).to_be_visible()
        await expect(shown.locator("[data-place=top-right]")).to_contain_text("0")
    alice = await site.join("alice")
    await alice.gift("rose")
    await alice.gift("heart")
    await has_shown(overlay, "Alice heart")
    for window in (page, overlay):
        await expect(window.get_by_test_id("overlay-alert")).to_have_attribute("data-kind", "ride")
    await page.reload()
    await expect(page.get_by_test_id("set-widget-viewers")).to_be_checked()
    await expect(page.get_by_test_id("set-min_coins")).to_have_value("5")
    await expect(page.get_by_test_id("set-animation")).to_have_value("ride")
    await page.get_by_test_id("variant-remove").click()
    await page.locator("[data-testid=variant-add]").click()
    await page.get_by_label("Own picture or film").fill("https://evil.example.com/x.webm")
    await page.get_by_test_id("set-theme").select_option("dark")
    await expect(page.get_by_test_id("saved")).to_contain_text("Media may not come from this address")


async def test_the_controls(site: Site, tabs: Tabs) -> None:
    """By keyboard: pause and mute stay pressed on every page of the host, and the preview follows."""
    page, other = await as_host(tabs, site), await as_host(tabs, site)
    overlay = await tabs.overlay(site.url)
    for verb, attribute in (("pause", "data-paused"), ("mute", "data-muted")):
        button = page.get_by_test_id(f"control-{verb}")
        await button.focus()
        await page.keyboard.press("Enter")
        for window in (page, other):
            await expect(window.get_by_test_id(f"control-{verb}")).to_have_attribute("aria-pressed", "true")
        await expect(overlay.locator(".stage")).to_have_attribute(attribute, "true")
        await expect(button).to_be_focused()
        await expect(button).to_have_text(re.compile("Resume|Unmute"))
        await page.keyboard.press("Enter")
        await expect(other.get_by_test_id(f"control-{verb}")).to_have_attribute("aria-pressed", "false")
    await page.get_by_test_id("control-test").click()
    await expect(overlay.get_by_test_id("overlay-alert")).to_have_attribute("data-gift", "test")
    await expect(page.get_by_test_id("overlay-alert")).to_have_attribute("data-gift", "test")
    await page.get_by_test_id("control-skip").click()
    await expect(overlay.get_by_test_id("overlay-alert")).to_have_count(0)


async def test_only_the_host_enters(site: Site, tabs: Tabs) -> None:
    """Anybody else reads why not."""
    tabs.expect_errors("403", "401")
    for token in (site.token("alice"), "x"):
        page = await tabs.open(f"{site.url}/streamer/demo#token={token}")
        await expect(page.get_by_test_id("token-needed")).to_contain_text("Only the host")


@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_is_accessible(site: Site, tabs: Tabs, size: str) -> None:
    """Nothing lies beyond the width, and axe finds nothing serious."""
    page = await as_host(tabs, site)
    width, height = SIZES[size]
    await page.set_viewport_size({"width": width, "height": height})
    await page.get_by_test_id("link-make").click()
    await page.get_by_test_id("variant-add").click()
    await expect(page.get_by_test_id("link-url")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await is_clean(page, size)
    await page.set_viewport_size({"width": 960, "height": 640})
