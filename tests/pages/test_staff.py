"""The watch page for staff, with the keyboard alone, and for those about whom staff decides."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.features.test_members import host_of
from tests.pages.tabs import Tabs
from tests.pages.test_axe import is_clean
from tests.program import eventually
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def staff_page(site: Site, tabs: Tabs) -> Page:
    """The page of the room's host."""
    token = site.token("creator", "host", room="demo")
    page = await tabs.open(f"{site.url}/watch/demo#token={token}")
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    return page


async def open_menu(page: Page, text: str) -> None:
    """Open the menu of the message with this text by keyboard."""
    line = page.get_by_test_id("chat-line").filter(has_text=text)
    await line.get_by_test_id("line-menu").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("act-delete")).to_be_focused()


async def choose(page: Page, act: str) -> None:
    """Go down the open menu to this act, and choose it."""
    for _ in range(6):
        if await page.evaluate("() => document.activeElement.dataset.testid") == f"act-{act}":
            break
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("act", "told", "fields"),
    [
        ("delete", "chat.deleted", {}),
        ("mute", "members.muted", {"user_id": "bob"}),
        ("ban", "members.banned", {"user_id": "bob"}),
    ],
)
async def test_staff_acts_on_a_message(site: Site, tabs: Tabs, act: str, told: str, fields: dict[str, Any]) -> None:
    """Its menu does what it says; a deleted message goes, and the focus is never lost."""
    page, bob, carol = await staff_page(site, tabs), await site.join("bob"), await site.join("carol")
    await bob.ask("chat.send", text="hello")
    await open_menu(page, "hello")
    await choose(page, act)
    await carol.happened(told, **fields)
    await expect(page.get_by_test_id("line-acts")).to_have_count(0)
    await expect(page.get_by_test_id("chat-line")).to_have_count(0 if act == "delete" else 1)


async def test_staff_hides_and_warns(site: Site, tabs: Tabs) -> None:
    """A hidden person's messages are marked; a warning has the text that was typed."""
    page, bob = await staff_page(site, tabs), await site.join("bob")
    await bob.ask("chat.send", text="hello")
    await open_menu(page, "hello")
    await choose(page, "warn")
    await expect(page.get_by_test_id("warn-text")).to_be_focused()
    await page.keyboard.type("Please be kind")
    await page.keyboard.press("Enter")
    assert (await bob.happened("members.warned"))["text"] == "Please be kind"
    await bob.ask("members.acknowledge")
    await open_menu(page, "hello")
    await choose(page, "hide")
    await expect(page.get_by_test_id("line-menu")).to_be_focused()
    await eventually(lambda: _hidden(site, "bob"), what="bob to be hidden")
    await bob.ask("chat.send", text="and now")
    await expect(page.get_by_test_id("chat-line").last.locator(".role")).to_have_text("Hidden")


async def _hidden(site: Site, user: str) -> bool:
    members = (await site.http.get("/v1/rooms/demo/members")).json()["members"]
    return any(member["user_id"] == user and member["hidden"] for member in members)


async def test_the_menu_by_keyboard(site: Site, tabs: Tabs) -> None:
    """Arrows go round, Escape closes it and gives the focus back; axe has nothing to say. Viewers have no menu."""
    page, bob = await staff_page(site, tabs), await site.join("bob")
    await bob.ask("chat.send", text="hello")
    await open_menu(page, "hello")
    await page.keyboard.press("ArrowUp")
    await expect(page.get_by_test_id("act-warn")).to_be_focused()
    await is_clean(page, "menu")
    await page.keyboard.press("Escape")
    await expect(page.get_by_test_id("line-menu")).to_be_focused()
    await expect(page.get_by_test_id("line-acts")).to_have_count(0)
    viewer = await tabs.watch(site.url)
    await expect(viewer.get_by_test_id("line-menu")).to_be_hidden()


async def test_staff_decides_about_held_messages(site: Site, tabs: Tabs) -> None:
    """They wait in sight, also after a reload; approved they are seen, and the sender gets to know the others."""
    await site.put_room("demo", blocked_words=["bad"], automod=1)
    page, bob = await staff_page(site, tabs), await tabs.watch(site.url, "bob")
    for text in ("bad one", "bad two"):
        await bob.get_by_test_id("chat-input").fill(text)
        await bob.get_by_test_id("chat-input").press("Enter")
        await expect(bob.get_by_test_id("chat-status")).to_have_text("Your message waits for the staff.")
        await expect(bob.get_by_test_id("chat-input")).to_have_value("")
    lines = page.get_by_test_id("held-line")
    await expect(lines.locator(".text")).to_have_text(["bad one", "bad two"])
    await is_clean(page, "held")
    await page.reload()
    await expect(lines).to_have_count(2)
    await lines.first.get_by_test_id("held-approve").focus()
    await page.keyboard.press("Enter")
    await expect(bob.get_by_test_id("chat-line").locator(".text")).to_have_text(["bad one"])
    await expect(lines).to_have_count(1)
    await expect(page.get_by_test_id("held-approve")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("held")).to_be_hidden()
    await expect(bob.get_by_test_id("chat-note")).to_have_text("Your message was not let through")
    await expect(bob.get_by_test_id("held")).to_be_hidden()


async def test_who_is_warned_acknowledges(site: Site, tabs: Tabs) -> None:
    """The warning stays, also after a reload, until it is read; then one can chat."""
    page, host = await tabs.watch(site.url), await host_of(site)
    await host.ask("members.warn", user_id="alice", text="Please be kind")
    warning = page.get_by_test_id("warning")
    await expect(warning).to_contain_text("Please be kind")
    await is_clean(page, "warning")
    await page.reload()
    await expect(warning).to_contain_text("Please be kind")
    await page.get_by_test_id("warning-read").focus()
    await page.keyboard.press("Enter")
    await expect(warning).to_be_hidden()
    await expect(page.get_by_test_id("chat-input")).to_be_focused()
    await page.keyboard.type("Sorry")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("chat-line")).to_have_count(1)


async def test_who_is_muted_sees_until_when(site: Site, tabs: Tabs) -> None:
    """At once and after a reload, as long as it lasts."""
    page, host = await tabs.watch(site.url), await host_of(site)
    muted = page.get_by_test_id("muted")
    await expect(muted).to_be_hidden()
    await host.ask("members.mute", user_id="alice", seconds=600)
    await expect(muted).to_have_text(re.compile(r"^You are muted until \d+:\d\d.[AP]M\.$"))
    await page.reload()
    await expect(muted).to_be_visible()
    await host.ask("members.mute", user_id="alice")
    await expect(muted).to_have_text("You are muted until the broadcast ends.")
    await host.ask("members.unmute", user_id="alice")
    await expect(muted).to_be_hidden()
    await host.ask("members.mute", user_id="alice", seconds=1)
    await expect(muted).to_be_visible()
    await expect(muted).to_be_hidden()
