"""The watch page when its node goes away: it says so, reconnects alone, and misses nothing silently."""

import os
import signal

import pytest
from playwright.async_api import Page, expect

from server import limits
from tests.pages.tabs import NODE_AWAY, Tabs, flood, says_online
from tests.program import Served
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def is_in_state(page: Page, state: str) -> None:
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", state)


async def test_what_was_missed_comes_after_the_reconnect(node: Served, site: Site, tabs: Tabs) -> None:
    """The node is killed: the page shows that it reconnects and disables gifts; afterwards it has what was said."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.watch(node.url)
    bob = await site.join("bob")
    await bob.ask("chat.send", text="before")
    await expect(page.get_by_test_id("chat-line")).to_have_count(1)

    await node.kill()
    await is_in_state(page, "reconnecting")
    await expect(page.get_by_test_id("conn-state")).to_contain_text("Reconnecting")
    await expect(page.get_by_test_id("gift-send")).to_be_disabled()
    await expect(page.get_by_test_id("curtain")).to_be_hidden()
    await page.get_by_test_id("chat-input").fill("too early")
    await page.get_by_test_id("chat-input").press("Enter")
    await expect(page.get_by_test_id("chat-status")).to_have_text("Not connected: it was not sent.")
    await bob.ask("chat.send", text="meanwhile")
    await bob.gift("crown")

    await node.start()
    await is_in_state(page, "live")
    await expect(page.get_by_test_id("conn-state")).to_have_text("Connected")
    await expect(page.get_by_test_id("chat-line").locator(".text")).to_have_text(["before", "meanwhile"])
    await expect(page.get_by_test_id("chat-gift")).to_have_count(1)
    await expect(page.get_by_test_id("board-row")).to_have_attribute("data-coins", "99")
    await expect(page.get_by_test_id("coins")).to_have_attribute("data-value", "99")
    await expect(page.get_by_test_id("chat-gap")).to_have_count(0)
    await page.get_by_test_id("chat-send").click()
    await expect(page.get_by_test_id("chat-line").locator(".text").last).to_have_text("too early")


async def test_too_long_an_absence_is_marked(node: Served, site: Site, tabs: Tabs) -> None:
    """When more was said than is replayed, a mark shows it, before the newest messages; the figures are right."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.watch(node.url)
    bot = await site.join("bot", "bot")
    await bot.ask("chat.send", text="before")
    await expect(page.get_by_test_id("chat-line")).to_have_count(1)
    await node.kill()
    await is_in_state(page, "reconnecting")
    await (await site.join("bob")).gift("crown")
    await flood(bot, 0, limits.REPLAY_EVENTS_MAX)
    await node.start()
    await says_online(page)
    await is_in_state(page, "live")
    await expect(page.get_by_test_id("chat-gap")).to_have_text("Some messages were missed")
    await expect(page.get_by_test_id("coins")).to_have_attribute("data-value", "99")
    await bot.ask("chat.send", text="after")
    newest = [f"line {n}" for n in range(limits.REPLAY_EVENTS_MAX - 50, limits.REPLAY_EVENTS_MAX)]
    texts = page.get_by_test_id("chat-line").locator(".text")
    await expect(texts).to_have_text(["before", *newest, "after"])
    await expect(page.get_by_test_id("chat-gap")).to_have_count(1)
    in_order = "[data-testid=chat-gap] + [data-testid=chat-gift] + [data-testid=chat-line] .text"
    await expect(page.locator(in_order)).to_have_text(newest[0])


async def test_a_gift_outlives_its_node(node: Served, site: Site, tabs: Tabs) -> None:
    """A gift that the node accepted in its last moment is sent again after the reconnect; it is paid and shown once."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.watch(node.url)
    os.kill(node.pid, signal.SIGSTOP)
    await page.get_by_test_id("gift-crown").click()
    await page.get_by_test_id("gift-send").click()
    await node.kill()
    await is_in_state(page, "reconnecting")
    await node.start()
    await says_online(page)
    await is_in_state(page, "live")
    await expect(page.get_by_test_id("balance")).to_have_attribute("data-value", "9901")
    await expect(page.get_by_test_id("tray-row")).to_have_attribute("data-count", "1")
    await expect(page.get_by_test_id("chat-gift")).to_have_count(1)
    await expect(page.get_by_test_id("gift-status")).to_be_empty()
    assert await site.coins("alice") == 9_901


async def test_a_page_that_was_loaded_too_early_gets_in(site: Site, tabs: Tabs) -> None:
    """A page whose node goes away while it loads enters later without help, with its catalogue."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.new()
    for address in ("/dev/token?*", "/v1/gifts"):
        await page.route(f"{site.url}{address}", lambda route: route.abort("connectionrefused"))
    await page.goto(f"{site.url}/watch/demo")
    await is_in_state(page, "reconnecting")
    await page.unroute_all()
    await is_in_state(page, "live")
    await expect(page.get_by_test_id("gift-rose")).to_be_visible()


async def test_a_page_outlives_its_token(site: Site, tabs: Tabs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its token expires the page gets another and sends it on the same socket, which stays open."""
    monkeypatch.setattr(limits, "WHEEL_S", 0.05)
    page = await tabs.new()
    short = site.token("alice", ttl_s=3)
    await page.route(f"{site.url}/dev/token?*", lambda route: route.fulfill(json={"token": short}), times=1)
    async with page.expect_websocket() as opened:
        await page.goto(f"{site.url}/watch/demo")
    socket = await opened.value
    await is_in_state(page, "live")
    async with socket.expect_event("framereceived", lambda frame: "expires_ms" in frame):
        pass
    (member,) = (each.member for each in site.node.sessions.connections)
    assert member.expires_s * 1000 > site.node.clock.now_ms() + 60_000
    assert not socket.is_closed()
    await is_in_state(page, "live")
