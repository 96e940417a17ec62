"""The overlay page: transparent, one alert after the other, and none twice, whatever happens on the way."""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from tests.pages.tabs import NODE_AWAY, Tabs, says_online
from tests.program import Served
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def has_shown(page: Page, *alerts: str) -> None:
    """Exactly these alerts were shown, in this order."""
    await expect(page.locator("html")).to_have_js_property("shown", list(alerts))


async def corner_alpha(page: Page) -> list[int]:
    """How opaque the four corners of the window are for a streaming program."""
    shot = base64.b64encode(await page.screenshot(omit_background=True)).decode()
    alphas: list[int] = await page.evaluate(
        """async (data) => {
            const image = Object.assign(new Image(), { src: data });
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const at = (x, y) => context.getImageData(x, y, 1, 1).data[3];
            const [right, bottom] = [image.width - 1, image.height - 1];
            return [at(0, 0), at(right, 0), at(0, bottom), at(right, bottom)];
        }""",
        f"data:image/png;base64,{shot}",
    )
    return alphas


async def test_alerts_come_one_after_the_other(
    another_site: Callable[..., Awaitable[Site]], tabs: Tabs, quick: dict[str, str]
) -> None:
    """Gifts that come together wait for one another; the taps of a combo are one alert whose count grows."""
    site = await another_site(**quick)
    page = await tabs.overlay(site.url, lively=True)
    alice, bob = await site.join("alice"), await site.join("bob")
    await alice.gift("balloon", message="<i>first</i>")
    await expect(page.get_by_test_id("overlay-alert").locator(".said")).to_have_text("<i>first</i>")
    for _ in range(3):
        await bob.gift("rose", 2, combo="streak")
    await alice.gift("whale")
    await expect(page.get_by_test_id("overlay")).to_have_attribute("data-waiting", "2")
    await expect(page.locator("[data-gift=rose]").get_by_text("×6")).to_be_visible()
    await has_shown(page, "Alice balloon", "Bob rose", "Alice whale")
    await expect(page.get_by_test_id("overlay-alert")).to_have_count(0)
    await expect(page.locator("html")).to_have_js_property("atOnce", 1)
    await bob.gift("crown")
    await has_shown(page, "Alice balloon", "Bob rose", "Alice whale", "Bob crown")


async def test_only_the_alert_is_visible(site: Site, tabs: Tabs) -> None:
    """The page is transparent to its corners, also while an alert is shown and while the connection is gone."""
    page = await tabs.overlay(site.url)
    for element in ("html", "body"):
        await expect(page.locator(element)).to_have_css("background-color", "rgba(0, 0, 0, 0)")
        await expect(page.locator(element)).to_have_css("background-image", "none")
    assert await corner_alpha(page) == [0, 0, 0, 0]
    await (await site.join("alice")).gift("balloon")
    await expect(page.get_by_test_id("overlay-alert")).to_be_visible()
    assert await corner_alpha(page) == [0, 0, 0, 0]


async def test_rays_come_from_the_gift(site: Site, tabs: Tabs) -> None:
    """Also where the alert is not in the middle of the window."""
    page = await tabs.overlay(site.url, "demo?position=top-left&scale=0.8")
    await (await site.join("alice")).gift("castle")
    alert = page.get_by_test_id("overlay-alert")
    await expect(alert.locator(".rays")).to_be_visible()
    gift = await alert.locator(".motion").bounding_box()  # the art in it rises to its place
    rays = await alert.locator(".rays").bounding_box()
    assert gift
    assert rays
    for side, size in (("x", "width"), ("y", "height")):
        assert abs(rays[side] + rays[size] / 2 - gift[side] - gift[size] / 2) < gift[size] / 10


async def test_an_alert_is_shown_once(
    node: Served, another_site: Callable[..., Awaitable[Site]], tabs: Tabs, quick: dict[str, str]
) -> None:
    """Alerts shown before the node stops are not shown again after it, nor after a reload; the missed one is."""
    tabs.expect_errors(*NODE_AWAY)
    site = await another_site(**quick)
    page = await tabs.overlay(node.url)
    state = page.get_by_test_id("conn-state")
    alice = await site.join("alice")
    await alice.gift("rose")
    await has_shown(page, "Alice rose")
    await node.stop()
    await expect(state).to_have_attribute("data-state", "reconnecting")
    await expect(state).to_have_attribute("data-reason", re.compile("draining|no_token"))  # then: it asks for a token
    await alice.gift("heart")
    await node.start()
    await says_online(page)
    await expect(state).to_have_attribute("data-state", "live")
    await has_shown(page, "Alice rose", "Alice heart")
    await expect(page.get_by_test_id("overlay-alert")).to_have_count(0)

    await page.goto("about:blank")
    await alice.gift("coffee")
    await page.goto(f"{node.url}/overlay/demo")
    await has_shown(page, "Alice coffee")
    await alice.gift("crown")
    await has_shown(page, "Alice coffee", "Alice crown")


async def test_the_overlay_stays_for_the_next_broadcast(site: Site, tabs: Tabs) -> None:
    """The end of a broadcast closes viewers' sockets, not the overlay's: gifts of the next one are shown at once."""
    page, watch = await asyncio.gather(tabs.overlay(site.url), tabs.watch(site.url))
    await site.http.post("/v1/rooms/demo/end")
    state = watch.get_by_test_id("conn-state")
    await expect(state).to_have_attribute("data-state", "closed")
    await expect(state).to_have_attribute("data-reason", "room_ended")
    await expect(state).to_have_text("Ended")
    await expect(watch.get_by_test_id("curtain")).to_contain_text("This live has ended")
    await expect(watch.get_by_test_id("room-status")).to_have_attribute("data-status", "ended")
    await expect(watch.get_by_test_id("gift-send")).to_be_disabled()
    await watch.get_by_test_id("chat-input").fill("still here?")
    await watch.get_by_test_id("chat-input").press("Enter")
    await expect(watch.get_by_test_id("chat-status")).to_have_text("You are no longer in the room.")

    await site.http.post("/v1/rooms/demo/start")
    await (await site.join("alice")).gift("rose")
    await has_shown(page, "Alice rose")
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
