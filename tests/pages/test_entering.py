"""Who gets in: pages in production need a token, and explain why they are kept out."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.pages.tabs import Tabs
from tests.site import Site
from tests.stores import SECRETS

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRODUCTION = {"LIVEROOM_MODE": "production", **SECRETS}
NO_FREE_TOKEN = r"404 \(Not Found\) at .*/dev/token\?"  # the page asks this way whether the server gives out tokens
SHUT_OUT = r"WebSocket connection to .* failed"


async def test_production_pages_need_a_token(another_site: Callable[..., Awaitable[Site]], tabs: Tabs) -> None:
    """Without a token both pages say what is missing; with one in the address they enter, only as that person."""
    tabs.expect_errors(NO_FREE_TOKEN)
    site = await another_site(**PRODUCTION)
    await site.put_room("stage")
    watch = await tabs.open(f"{site.url}/watch/stage")
    await expect(watch.get_by_test_id("conn-state")).to_have_text("No token")
    await expect(watch.get_by_test_id("curtain")).to_contain_text("A token is needed")
    await expect(watch.get_by_test_id("token-needed")).to_be_visible()
    await expect(watch.get_by_test_id("gift-send")).to_be_disabled()
    overlay = await tabs.open(f"{site.url}/overlay/stage")
    await expect(overlay.get_by_test_id("token-needed")).to_contain_text("A key is needed: open the overlay by a link")
    await expect(overlay.get_by_test_id("token-needed")).to_contain_text("/streamer/stage")

    for page, kind, role in ((watch, "watch", "viewer"), (overlay, "overlay", "overlay")):
        await page.goto("about:blank")
        await page.goto(f"{site.url}/{kind}/stage#token={site.token('carol', role, room='stage')}")
        await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await expect(watch.get_by_test_id("user-switch")).to_be_hidden()
    await watch.get_by_test_id("chat-input").fill("in")
    await watch.get_by_test_id("chat-input").press("Enter")
    await expect(watch.get_by_test_id("chat-line").locator(".name")).to_have_text("Carol")


async def test_a_page_that_is_kept_out_says_why(site: Site, tabs: Tabs) -> None:
    """A bad or expired token, no room, an unknown one and one that is not live have their own explanation each."""
    tabs.expect_errors(SHUT_OUT, r"404 \(Not Found\) at .*/v1/rooms/nowhere")
    await site.put_room("later", live=False)
    page = await tabs.new()
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    for address, words in (
        ("/watch/demo#token=nonsense", "Your access is not valid"),
        (f"/watch/demo?again#token={site.token('carol', ttl_s=-60)}", "Your access has expired"),
        (f"/watch/later#token={site.token('carol', room='demo')}", "Your access is for another room"),
        ("/watch/%", "There is no room in this address"),
        ("/watch/nowhere", "There is no such room"),
        ("/watch/later", "Not live yet"),
    ):
        await page.goto(site.url + address)
        await expect(page.get_by_test_id("curtain")).to_contain_text(words)
        await expect(page.get_by_test_id("like-button")).to_be_hidden()
    assert [url.partition("?")[0].rsplit("/")[-2] for url in opened] == ["demo", "demo", "later", "nowhere", "later"]
    await (await site.http.post("/v1/rooms/later/start")).aread()
    await expect(page.get_by_test_id("curtain")).to_be_hidden()
    await expect(page.get_by_test_id("room-status")).to_have_attribute("data-status", "live")


async def test_the_next_broadcast_wakes_the_page(site: Site, tabs: Tabs) -> None:
    """After the end the page looks now and then whether the room is on the air again, and enters by itself."""
    page = await tabs.watch(site.url, clock=True)
    await site.http.post("/v1/rooms/demo/end")
    state, curtain = page.get_by_test_id("conn-state"), page.get_by_test_id("curtain")
    await expect(state).to_have_attribute("data-state", "closed")
    await expect(curtain).to_contain_text("This live has ended")
    await site.http.post("/v1/rooms/demo/start")
    await page.clock.fast_forward(41_000)
    await expect(state).to_have_attribute("data-state", "live")
    await expect(curtain).to_be_hidden()
    await expect(page.get_by_test_id("gift-send")).to_be_enabled()


async def test_nothing_foreign_runs(site: Site, tabs: Tabs) -> None:
    """The pages' policy stops inline code and foreign addresses; these tests would see its complaints."""
    page = await tabs.watch(site.url)
    overlay = await tabs.overlay(site.url)
    assert tabs.unexpected() == []
    for at in (page, overlay):
        await at.evaluate(
            """() => {
                document.body.insertAdjacentHTML("beforeend", "<i style='color:red' onclick='document.title = 1'></i>");
                document.body.lastElementChild.click();
                const script = document.createElement("script");
                script.textContent = "document.title = 1";
                document.body.append(script);
                return fetch("https://127.0.0.1:1/").catch(() => {});
            }"""
        )
        assert await at.title() != "1"
    said = "\n".join(tabs.unexpected())
    for directive in ("script-src-elem", "script-src-attr", "style-src-attr", "connect-src"):
        assert said.count(f"policy: {directive}") == 2
    tabs.expect_errors("[Cc]ontent [Ss]ecurity [Pp]olicy", "Refused to connect", "https://127.0.0.1:1/")


async def test_the_screenshot_is_there() -> None:
    """The picture of the watch page is a PNG of less than 400 kB."""
    data = (Path(__file__).parents[2] / "docs/screenshot.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) < 400_000
