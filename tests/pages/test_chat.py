"""The chat of the watch page: text stays text, refusals are explained, and a flood stays bounded."""

import pytest
from playwright.async_api import Page, expect

from protocol.chat import ChatDeleted
from protocol.wire import Named
from server import limits
from tests.pages.tabs import Tabs, flood
from tests.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

HARMFUL = "<img src=x onerror=\"document.title='hurt'\"> & <script>document.title = 'hurt'</script>"


async def say(page: Page, text: str) -> None:
    """Type a message and send it with Enter."""
    await page.get_by_test_id("chat-input").fill(text)
    await page.get_by_test_id("chat-input").press("Enter")


async def test_two_people_chat(site: Site, tabs: Tabs) -> None:
    """Both see each message, in one order and as text, even when name and message contain markup."""
    alice = await tabs.watch(site.url, "alice")
    token = site.node.tokens.sign(sub="eve", name="<u>Eve</u>", role="viewer", exp_s=4e9)
    eve = await tabs.open(f"{site.url}/watch/demo#token={token}")
    await expect(eve.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")

    await alice.get_by_test_id("chat-input").fill("Good evening")
    await alice.get_by_test_id("chat-send").click()
    await expect(eve.get_by_test_id("chat-line")).to_have_count(1)
    await expect(alice.get_by_test_id("chat-input")).to_have_value("")
    await say(eve, HARMFUL)

    for page in (alice, eve):
        lines = page.get_by_test_id("chat-line")
        await expect(lines.locator(".text")).to_have_text(["Good evening", HARMFUL])
        await expect(lines.locator(".name")).to_have_text(["Alice", "<u>Eve</u>"])
        await expect(lines.locator("img, script, u")).to_have_count(0)
        await expect(page).to_have_title("Welcome to Liveroom · Liveroom")


async def test_on_a_phone_the_first_message_is_beside_the_field(site: Site, tabs: Tabs) -> None:
    """The chat fades at its top, so it fills from below, where one writes."""
    page = await tabs.watch(site.url, phone=True)
    await say(page, "Good evening")
    line = await page.get_by_test_id("chat-line").bounding_box()
    field = await page.get_by_test_id("chat-input").bounding_box()
    assert line
    assert field
    assert 0 <= field["y"] - (line["y"] + line["height"]) < 40


async def test_a_role_is_a_badge_beside_the_name(site: Site, tabs: Tabs) -> None:
    """The host's and a moderator's lines say so, in the line of the name; a viewer's do not."""
    page = await tabs.watch(site.url)
    for user, role in (("creator", "host"), ("mo", "moderator"), ("bob", "viewer")):
        await (await site.join(user, role)).ask("chat.send", text="hello")
    await expect(page.locator(".line .role")).to_have_text(["Host", "Mod"])
    for badge in await page.locator(".line .role").all():
        box, name = await badge.bounding_box(), await badge.locator("xpath=../b").bounding_box()
        assert box
        assert name
        assert box["width"] < 60
        assert abs(box["y"] - name["y"]) < 8


async def test_refused_message_is_explained_and_kept(site: Site, tabs: Tabs) -> None:
    """A refusal is a sentence below the chat, the text stays, and slow mode counts down until it can be sent."""
    await site.put_room("strict", blocked_words=["lottery"], slow_mode_s=30)
    page = await tabs.watch(site.url, room="strict", clock=True)
    text, send, status = (page.get_by_test_id(f"chat-{part}") for part in ("input", "send", "status"))

    await say(page, "Win the lottery")
    await expect(status).to_have_text("The host does not allow some of these words.")
    await expect(text).to_have_value("Win the lottery")

    await say(page, "Hello")
    await expect(text).to_have_value("")
    await expect(status).to_be_empty()
    await say(page, "Hello again")
    await expect(status).to_contain_text("Slow mode is on: again in ")
    await expect(send).to_be_disabled()
    await page.clock.fast_forward(31_000)
    await expect(send).to_be_enabled()
    await expect(status).to_be_empty()
    await expect(text).to_have_value("Hello again")


async def test_who_joins_finds_the_newest_messages(site: Site, tabs: Tabs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last fifty, in order, also after a reload, and then what is said next."""
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0.0)  # what comes after a shared snapshot comes live, all of it
    bot = await site.join("bot", "bot")
    await flood(bot, 0, 60)
    await bot.happened("chat.sent", text="line 59")
    page = await tabs.watch(site.url)
    texts = page.get_by_test_id("chat-line").locator(".text")
    await expect(texts).to_have_text([f"line {n}" for n in range(10, 60)])
    await expect(texts.last).to_be_in_viewport()
    await bot.ask("chat.send", text="next")
    await expect(texts).to_have_count(51)
    await page.reload()
    await expect(texts).to_have_text([*(f"line {n}" for n in range(11, 60)), "next"])


async def test_deleted_messages_go(site: Site, tabs: Tabs) -> None:
    """One by its id, all of a person; nobody who joins later finds them, either."""
    page = await tabs.watch(site.url)
    bob, eve = await site.join("bob"), await site.join("eve")
    first = await bob.ask("chat.send", text="one")
    for viewer, text in ((bob, "two"), (eve, "bad"), (eve, "worse")):
        await viewer.ask("chat.send", text=text)
    texts = page.get_by_test_id("chat-line").locator(".text")
    await expect(texts).to_have_text(["one", "two", "bad", "worse"])
    gone = ChatDeleted(id="gone", ids=(first["id"],), user_ids=("eve",), by=Named("creator", "Creator"))
    await site.node.history.append("demo", gone)
    await expect(texts).to_have_text(["two"])
    await eve.ask("chat.send", text="sorry")
    await expect(texts).to_have_text(["two", "sorry"])
    await page.reload()
    await expect(texts).to_have_text(["two", "sorry"])


async def test_a_flood_is_bounded_and_does_not_move_a_reader(site: Site, tabs: Tabs) -> None:
    """Only the last 200 lines are kept; a viewer who has scrolled up stays there and learns of new messages."""
    page = await tabs.watch(site.url)
    bot = await site.join("bot", "bot")
    lines, newer = page.get_by_test_id("chat-line"), page.get_by_test_id("chat-newer")
    await flood(bot, 0, 30)
    await expect(lines.last).to_contain_text("line 29")
    await expect(lines.last).to_be_in_viewport()
    await page.get_by_test_id("chat-list").evaluate("(list) => { list.scrollTop = 0; }")
    await flood(bot, 30, 240)
    await expect(lines.last).to_contain_text("line 239")
    await expect(lines).to_have_count(200)
    await expect(newer).to_be_visible()
    await expect(lines.last).not_to_be_in_viewport()
    await newer.click()
    await expect(lines.last).to_be_in_viewport()
    await expect(newer).to_be_hidden()


async def test_only_the_viewer_stops_the_chat(site: Site, tabs: Tabs) -> None:
    """A smaller window, a keyboard that opens and a line that grows move the list: it goes on following."""
    page = await tabs.watch(site.url, phone=True)
    bot, bob = await site.join("bot", "bot"), await site.join("bob")
    lines, newer = page.get_by_test_id("chat-line"), page.get_by_test_id("chat-newer")
    await flood(bot, 0, 30)
    await bob.gift("rose", combo="taps")
    for turn, (width, height) in enumerate(((360, 400), (740, 360), (320, 640), (360, 740))):
        await page.set_viewport_size({"width": width, "height": height})
        await bob.gift("rose", combo="taps", message="and on " * 25)
        await bot.ask("chat.send", text=f"turn {turn}")
        await expect(lines.last).to_contain_text(f"turn {turn}")
        await expect(lines.last).to_be_in_viewport(ratio=0.9)
        await expect(newer).to_be_hidden()


async def test_viewers_and_likes_are_counted(site: Site, tabs: Tabs) -> None:
    """A viewer counts once, until the tab is closed; an overlay never counts; every tap on the heart counts."""
    alice, bob = await tabs.alice_and_bob(site.url)
    await site.join("alice")
    await site.join("obs", "overlay")
    await alice.get_by_test_id("like-button").click(click_count=6)
    await expect(alice.locator(".heart")).not_to_have_count(0)
    await alice.get_by_test_id("stage").dblclick(position={"x": 200, "y": 150})
    for page in (alice, bob):
        await expect(page.get_by_test_id("likes")).to_have_attribute("data-value", "7")
        await expect(page.get_by_test_id("viewer-count")).to_have_attribute("data-value", "2")
    await bob.close()
    await expect(alice.get_by_test_id("viewer-count")).to_have_attribute("data-value", "1")


async def test_a_pin_is_in_sight(site: Site, tabs: Tabs) -> None:
    """What staff pins stands above the chat of everybody, and goes when it is taken off; a big gift pins itself."""
    page = await tabs.watch(site.url)
    host = await site.join("creator", token=site.token("creator", "host", room="demo"))
    said = await host.ask("chat.send", text="Doors open at nine")
    await host.ask("chat.pin", id=said["id"])
    await expect(page.get_by_test_id("pin")).to_contain_text("Creator Doors open at nine")
    await host.ask("chat.unpin", id=said["id"])
    await expect(page.get_by_test_id("pins")).to_be_hidden()
    await (await site.join("bob")).gift("whale")
    await expect(page.get_by_test_id("pin")).to_contain_text("Bob sent Whale")
