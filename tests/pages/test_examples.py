"""The examples of liveroom.js in a browser, on another origin than the server's; the node is killed in between."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.installed import Installed
from tests.pages.tabs import NODE_AWAY, Tabs, says_online
from tests.program import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a folder into which the package was installed from its file."""
    installed = Installed(tmp_path_factory.mktemp("empty"))
    installed.with_react()
    with installed.served() as address:
        yield address


async def address_of(node: Served, page: str, user: str) -> str:
    return f"{page}#base={node.url}&room=demo&token={await node.token(user)}"


async def test_a_page_on_another_origin(node: Served, origin: str, tabs: Tabs) -> None:
    """It shows the room and the chat, and sends; what is written while the node is away goes out when it is back."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.open(await address_of(node, f"{origin}/page.html", "alice"))
    await expect(page.locator("#state")).to_have_text("live")
    await expect(page.locator("#title")).to_have_text("Welcome to Liveroom")
    await page.get_by_label("Message").fill("from elsewhere")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#chat li")).to_have_text(["Alice: from elsewhere"])

    await node.kill()
    await expect(page.locator("#state")).to_have_text("reconnecting")
    await page.get_by_label("Message").fill("meanwhile")
    await page.get_by_role("button", name="Send").click()
    await node.start()
    await says_online(page)
    await expect(page.locator("#state")).to_have_text("live")
    await expect(page.locator("#chat li")).to_have_text(["Alice: from elsewhere", "Alice: meanwhile"])
    await expect(page.locator("#problem")).to_have_text("")
    await node.everybody_leaves()


async def test_a_worker(node: Served, origin: str, tabs: Tabs) -> None:
    """The client runs in a worker, which has neither a document nor the page's address; it comes back there, too."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.open(f"{origin}/react/useRoom.js")  # any document of that origin
    here = {"base": node.url, "room": "demo", "token": await node.token("alice")}
    await page.evaluate(
        """(here) => {
          globalThis.heard = [];
          globalThis.worker = new Worker("/worker.js", { type: "module" });
          worker.onmessage = ({ data }) => heard.push(data.coins);
          worker.postMessage(here);
        }""",
        here,
    )
    await page.wait_for_function("() => heard.at(-1) === 0")
    bob = await node.join("bob")
    await bob.gift("rose", 3)
    await page.wait_for_function("() => heard.at(-1) === 3")
    await node.kill()
    await node.start()
    await (await node.join("bob")).gift("rose", 4)
    await page.wait_for_function("() => heard.at(-1) === 7")
    await page.evaluate("() => worker.terminate()")
    await node.everybody_leaves()


async def test_the_hook_in_react(node: Served, origin: str, tabs: Tabs) -> None:
    """A component draws the room and gives; in strict mode it is mounted twice, and one person stays in the room."""
    tabs.expect_errors(*NODE_AWAY)
    page = await tabs.open(await address_of(node, f"{origin}/react/index.html", "alice"))
    await expect(page.locator("#state")).to_have_text("live")
    give = page.get_by_role("button", name="Give a rose")
    await expect(give).to_have_text("Give a rose (you have 10000 coins)")
    await give.click()
    await expect(page.locator("#coins")).to_have_text("1 coins")
    await expect(give).to_have_text("Give a rose (you have 9999 coins)")

    await node.kill()
    await expect(page.locator("#state")).to_have_text("reconnecting")
    await expect(give).to_be_disabled()
    await node.start()
    await says_online(page)
    await expect(page.locator("#state")).to_have_text("live")
    bob = await node.join("bob")
    await bob.ask("chat.send", text="welcome back")
    await expect(page.locator("li")).to_have_text(["Bob: welcome back"])
    await give.click()
    await expect(page.locator("#coins")).to_have_text("2 coins")
    await expect(page.get_by_role("status")).to_have_text("")
    await node.everybody_leaves()
