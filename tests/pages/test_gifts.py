"""Giving on the watch page: what it costs, what everybody sees, and that nobody pays twice."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from tests.conftest import Stores
from tests.pages.tabs import Tabs
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def has_coins(page: Page, coins: int) -> None:
    """The panel shows this balance."""
    await expect(page.get_by_test_id("balance")).to_have_attribute("data-value", str(coins))


async def give(page: Page, gift: str) -> None:
    """Choose a gift and send it."""
    await page.get_by_test_id(f"gift-{gift}").click()
    await page.get_by_test_id("gift-send").click()


async def test_a_gift_is_paid_and_seen_by_all(site: Site, tabs: Tabs) -> None:
    """The balance falls; both viewers see the row, the animation, the line and the board; the overlay has its alert."""
    message = "<b>for you</b> <img src=x onerror=alert(1)>"
    alice, bob, overlay = await asyncio.gather(
        tabs.watch(site.url, "alice", lively=True), tabs.watch(site.url, "bob"), tabs.overlay(site.url, lively=True)
    )
    await has_coins(alice, 10_000)
    await alice.get_by_test_id("gift-message").fill(message)
    await give(alice, "castle")

    alert = overlay.get_by_test_id("overlay-alert")
    await expect(alert).to_have_attribute("data-gift", "castle")
    await expect(alert).to_have_attribute("data-kind", "fullscreen")
    await expect(alert.locator(".caption .line")).to_have_text("Alice sent Castle")
    await expect(alert.locator(".said")).to_have_text(message)
    for page in (alice, bob):
        show = page.get_by_test_id("gift-show").get_by_test_id("show")
        await expect(show).to_have_attribute("data-gift", "castle")
        await expect(show.locator(".said")).to_have_text(message)
        await expect(page.get_by_test_id("tray-row")).to_have_attribute("data-gift", "castle")
        await expect(page.get_by_test_id("chat-gift")).to_contain_text(f"Alice sent Castle {message}")
        board = page.get_by_test_id("board-row")
        await expect(board).to_have_attribute("data-user", "alice")
        await expect(board).to_have_attribute("data-coins", "5000")
        await expect(page.get_by_test_id("coins")).to_have_attribute("data-value", "5000")
    await has_coins(alice, 5_000)
    await has_coins(bob, 10_000)
    await expect(alice.get_by_test_id("gift-message")).to_have_value("")
    assert await site.coins("alice") == 5_000


async def test_taps_of_a_combo_count_up_in_one_row(site: Site, tabs: Tabs) -> None:
    """Every tap is paid; row, line and button show one growing count, for the giver and the others."""
    alice, bob = await asyncio.gather(tabs.watch(site.url, "alice", clock=True), tabs.watch(site.url, "bob"))
    send = alice.get_by_test_id("gift-send")
    await alice.get_by_test_id("gift-rose").click(click_count=3)  # chosen already: each tap gives
    await send.click(click_count=4)
    await expect(send).to_have_text("Combo ×7")
    for page in (alice, bob):
        await expect(page.get_by_test_id("tray-row")).to_have_attribute("data-count", "7")
        await expect(page.get_by_test_id("tray-row").locator(".times")).to_have_text("×7")
        await expect(page.get_by_test_id("chat-gift")).to_have_attribute("data-count", "7")
    await has_coins(alice, 9_993)
    await alice.clock.fast_forward(3_000)
    await expect(send).to_have_attribute("data-combo", "")  # the streak's time is over
    await expect(send).to_have_text("Send1")
    assert await site.coins("alice") == 9_993


async def test_what_cannot_be_paid_is_disabled(site: Site, tabs: Tabs) -> None:
    """Cards above the balance and quantities beyond it are disabled; new coins enable them again."""
    await site.give_coins("carol", 120)
    carol = await tabs.watch(site.url, "carol")
    send, card = carol.get_by_test_id("gift-send"), carol.get_by_test_id
    await has_coins(carol, 120)
    await expect(card("gift-fireworks")).to_be_disabled()
    await expect(card("gift-crown")).to_be_enabled()
    await give(carol, "crown")
    await has_coins(carol, 21)
    await expect(card("gift-crown")).to_be_disabled()
    await expect(send).to_be_disabled()
    await expect(send).to_have_text("78 coins short")
    await card("gift-rose").click()
    await expect(send).to_be_enabled()
    await card("quantity-99").click()
    await expect(send).to_be_disabled()
    await expect(send).to_have_text("78 coins short")
    await site.give_coins("carol", 1_000)
    await has_coins(carol, 1_021)
    await expect(send).to_be_enabled()
    await expect(card("gift-fireworks")).to_be_enabled()


async def test_coins_that_another_tab_has_spent(
    another_site: Callable[..., Awaitable[Site]], tabs: Tabs, stores: Stores
) -> None:
    """A gift that became too expensive through the other tab's spending is refused with an explanation and not paid."""
    here, there = await another_site(), await another_site()
    first, second = await asyncio.gather(tabs.watch(here.url, "alice"), tabs.watch(there.url, "alice"))
    await has_coins(first, 10_000)
    assert stores.room.process is not None
    stores.room.process.send_signal(signal.SIGSTOP)  # nodes tell each other of balances through this store
    try:
        await give(second, "castle")
        await has_coins(second, 5_000)
        await has_coins(first, 10_000)
        await give(first, "rocket")
        status = first.get_by_test_id("gift-status")
        await expect(status).to_have_text("Not enough coins: you need 5,000 more.")
    finally:
        stores.room.process.send_signal(signal.SIGCONT)
    await has_coins(first, 5_000)
    await expect(first.get_by_test_id("gift-rocket")).to_be_disabled()
    await give(first, "fireworks")
    await expect(status).to_be_empty()
    await has_coins(first, 4_800)
    assert await here.coins("alice") == 4_800


async def test_a_gift_without_an_answer_is_sent_again_as_the_same(site: Site, tabs: Tabs, stores: Stores) -> None:
    """While the wallet is away the page says so; the next try is the same gift, with message and id, paid once."""
    page = await tabs.watch(site.url)
    sent: list[dict[str, object]] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(json.loads(frame))))
    await page.reload()
    await has_coins(page, 10_000)
    stores.wallet.kill()
    await page.get_by_test_id("gift-message").fill("with love")
    await give(page, "balloon")
    await expect(page.get_by_test_id("gift-status")).to_contain_text("Gifts are unavailable for a moment")
    await expect(page.get_by_test_id("gift-message")).to_have_value("with love")
    stores.wallet.start()
    await site.node.wallet.wait_up(15)
    await page.get_by_test_id("gift-send").click()
    await has_coins(page, 9_950)
    await expect(page.get_by_test_id("gift-status")).to_be_empty()
    first, again = ({key: value for key, value in command.items() if key != "ref"} for command in sent)
    assert (first, first["message"]) == (again, "with love")
    assert await site.coins("alice") == 9_950


async def test_a_double_click_is_one_expensive_gift(site: Site, tabs: Tabs) -> None:
    """Where taps make no combo, a double click on the card selects, and a double click on the button gives one."""
    page = await tabs.watch(site.url)
    await page.get_by_test_id("gift-castle").dblclick()
    await page.get_by_test_id("gift-fireworks").click()
    await page.get_by_test_id("gift-send").dblclick()
    await expect(page.get_by_test_id("chat-gift")).to_have_count(1)
    await page.get_by_test_id("gift-rose").dblclick()  # the first tap selects, the second gives
    await expect(page.get_by_test_id("chat-gift")).to_have_count(2)
    await has_coins(page, 9_799)


async def test_the_panel_is_closed_while_nothing_can_be_given(site: Site, tabs: Tabs) -> None:
    """A pause and a room without gifts close the panel, on the open page."""
    page = await tabs.watch(site.url)
    send, curtain = page.get_by_test_id("gift-send"), page.get_by_test_id("curtain")
    await expect(send).to_be_enabled()
    await site.http.post("/v1/rooms/demo/pause")
    await expect(curtain).to_have_attribute("data-reason", "paused")
    await expect(curtain).to_be_visible()
    await expect(send).to_be_disabled()
    await site.http.post("/v1/rooms/demo/resume")
    await expect(curtain).to_be_hidden()
    await expect(send).to_be_enabled()
    await site.put_room("demo", live=False, gifts=False)
    await expect(send).to_be_disabled()
