"""Goals on the watch page, in a real browser."""

import pytest
from playwright.async_api import expect

from tests.pages.tabs import Tabs
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_goals_on_the_page(site: Site, tabs: Tabs) -> None:
    """They grow with each gift, say when they are reached, and go when the host removes them. New pages have them."""
    page = await tabs.watch(site.url)
    await expect(page.get_by_test_id("goals")).to_be_hidden()
    host = await site.join("creator", token=site.token("creator", "host", room="demo"))
    goal = await host.ask("goals.set", kind="coins", title="New <b>microphone</b>", target=1_500)
    row = page.get_by_test_id("goal")
    await expect(row).to_have_attribute("data-current", "0")
    await expect(row).to_contain_text("New <b>microphone</b>0 of 1,500")
    bob = await site.join("bob")
    await bob.gift("whale")
    await expect(row).to_have_attribute("data-current", "1000")
    phone = await tabs.watch(site.url, "bob", phone=True)
    await expect(phone.get_by_test_id("goal")).to_have_attribute("data-current", "1000")
    await expect(phone.get_by_test_id("goal")).to_be_visible()
    await bob.gift("whale")
    await expect(row).to_have_attribute("data-reached", "true")
    await expect(row).to_contain_text("Reached")
    await expect(page.get_by_test_id("chat-note")).to_have_text("Goal reached: New <b>microphone</b>")
    await host.ask("goals.remove", id=goal["id"])
    await expect(page.get_by_test_id("goals")).to_be_hidden()
