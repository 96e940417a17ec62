"""What a browser loads on its first visit: a few files, each there, and on the next visit hardly any."""

import pytest
from playwright.async_api import expect

from tests.pages.tabs import Tabs
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")
MOST = 12  # requests of a first visit, the socket among them
TRANSFERRED = """() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/web/bundles/"))
  .map(({ name, transferSize }) => [name.split(".").at(-1), transferSize]).sort()"""


@pytest.mark.parametrize("address", ["/", "/watch/demo", "/overlay/demo"])
async def test_a_first_visit_is_a_few_requests(address: str, site: Site, tabs: Tabs) -> None:
    """Everything that is drawn comes with at most twelve requests, and nothing is missing."""
    page = await tabs.new(phone=True)  # a window of its own, which has loaded nothing before
    await page.set_viewport_size({"width": 1280, "height": 800})
    asked: list[str] = []
    missing: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("response", lambda answer: missing.append(answer.url) if answer.status >= 400 else None)
    await page.goto(site.url + address)
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    if "overlay" not in address:
        await expect(page.get_by_test_id("gift-castle")).to_be_visible()
        await page.wait_for_function(
            "() => [...document.images].every((image) => image.complete && image.naturalWidth)"
        )
    await (await site.join("alice")).gift("castle")
    await expect(page.locator(".gift-show .art")).to_be_visible()
    assert len(asked) <= MOST, "\n".join(asked)
    assert missing == []


async def test_a_next_visit_loads_no_script_again(site: Site, tabs: Tabs) -> None:
    """The browser keeps script and sheet: their addresses change with what is in them."""
    page = await tabs.watch(site.url)
    await page.goto(f"{site.url}/watch/demo?user=bob")
    await expect(page.get_by_test_id("gift-castle")).to_be_attached()
    assert await page.evaluate(TRANSFERRED) == [["css", 0], ["js", 0]]
