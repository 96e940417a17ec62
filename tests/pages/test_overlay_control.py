"""The controls of the overlay, with a node that is killed and started again in between; its settings and media."""

import base64
import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, Route, expect

from tests.features.test_members import host_of
from tests.pages.tabs import NODE_AWAY, Tabs, says_online
from tests.pages.test_overlay import has_shown
from tests.program import Served, eventually
from tests.site import Site, Viewer

pytestmark = pytest.mark.asyncio(loop_scope="session")
MakeSite = Callable[..., Awaitable[Site]]
KINDS = ("alerts", "goal", "board", "chat", "combo", "viewers", "ticker", "poll")
PLACES = ("center", "top-left", "left", "bottom-left", "right", "top-right", "bottom", "top")
ALL = [{"kind": kind, "place": place} for kind, place in zip(KINDS, PLACES, strict=True)]


async def link_to(site: Site, url: str = "") -> str:
    """A new link's address, at this node."""
    made = (await site.http.post("/v1/rooms/demo/overlays", json={})).json()
    return f"{url or site.url}/overlay/demo#key={made['key']}"


async def opened(tabs: Tabs, address: str, **options: bool) -> Page:
    page = await tabs.open(address, **options)
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    return page


async def restarted(node: Served, page: Page) -> None:
    """Kill the node, start it again, and wait until the page is back."""
    await node.kill()
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "reconnecting")
    await node.start()
    await says_online(page)
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")


async def controlled(host: Viewer, verb: str, **fields: str) -> None:
    assert (await host.ask("alerts.control", verb=verb, **fields))["type"] == "ok"


async def stages(site: Site, gift: str) -> list[str]:
    """What overlays said of a gift, the oldest first."""
    found = (await site.http.get("/v1/rooms/demo/alerts")).json()["alerts"]
    return [each["stage"] for each in reversed(found) if gift in each["gifts"]]


async def test_pause_holds_over_restarts_and_reloads(
    node: Served, another_site: MakeSite, tabs: Tabs, quick: dict[str, str]
) -> None:
    """Gifts wait, and are shown once after `resume`; `next` shows one of them meanwhile."""
    tabs.expect_errors(*NODE_AWAY)
    site = await another_site(**quick)
    page, host, alice = await opened(tabs, await link_to(site, node.url)), await host_of(site), await site.join("alice")
    stage = page.locator(".stage")
    await controlled(host, "pause")
    await expect(stage).to_have_attribute("data-paused", "true")
    await restarted(node, page)
    for gift in ("rose", "heart", "coffee"):
        await alice.gift(gift)
    waiting = page.get_by_test_id("overlay")
    await expect(waiting).to_have_attribute("data-waiting", "3")
    await controlled(host, "next")
    await has_shown(page, "Alice rose")
    await expect(page.get_by_test_id("overlay-alert")).to_have_count(0)
    await page.reload()
    await expect(stage).to_have_attribute("data-paused", "true")
    await expect(waiting).to_have_attribute("data-waiting", "2")
    await expect(page.get_by_test_id("overlay-alert")).to_have_count(0)
    await restarted(node, page)
    await controlled(host, "resume")
    await has_shown(page, "Alice heart", "Alice coffee")


async def test_mute_silences_and_holds(node: Served, another_site: MakeSite, tabs: Tabs, quick: dict[str, str]) -> None:
    """No sound begins while muted, also after a restart and a reload; after `unmute` there is one again."""
    tabs.expect_errors(*NODE_AWAY)
    site = await another_site(**quick)
    host, alice = await host_of(site), await site.join("alice")
    assert (await host.ask("overlay.set", settings={"sound": "chime"}))["type"] == "ok"
    page = await tabs.new()
    sounds = "globalThis.made = 0; const Before = AudioContext; globalThis.AudioContext = class extends Before {\n"
    await page.add_init_script(f"{sounds} constructor() {{ super(); globalThis.made++; }} }};")
    await page.goto(await link_to(site, node.url))
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await controlled(host, "mute")
    await expect(page.locator(".stage")).to_have_attribute("data-muted", "true")
    await restarted(node, page)
    await page.reload()
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await alice.gift("rose")
    await has_shown(page, "Alice rose")
    assert await page.evaluate("globalThis.made") == 0
    await controlled(host, "unmute")
    await expect(page.locator(".stage")).to_have_attribute("data-muted", "false")
    await alice.gift("heart")
    await has_shown(page, "Alice rose", "Alice heart")
    assert await page.evaluate("globalThis.made") == 1


async def test_clear_drops_what_waits_also_where_nobody_heard_it(
    node: Served, another_site: MakeSite, tabs: Tabs, quick: dict[str, str]
) -> None:
    """An overlay that was away when the queue was cleared shows nothing of before either."""
    tabs.expect_errors(*NODE_AWAY)
    site = await another_site(**quick)
    page, host, alice = await opened(tabs, await link_to(site, node.url)), await host_of(site), await site.join("alice")
    await controlled(host, "pause")
    await expect(page.locator(".stage")).to_have_attribute("data-paused", "true")
    gift = (await alice.gift("rose"))["id"]
    waiting = page.get_by_test_id("overlay")
    await expect(waiting).to_have_attribute("data-waiting", "1")
    await controlled(host, "clear")
    await expect(waiting).to_have_attribute("data-waiting", "0")
    await eventually(lambda: stages_end(site, gift, "skipped"), what="the proof")
    await alice.gift("heart")
    await expect(waiting).to_have_attribute("data-waiting", "1")
    await node.kill()
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "reconnecting")
    coffee = (await alice.gift("coffee"))["id"]
    await alice.happened("gifts.sent", id=coffee)  # a gift is shown after it is paid
    await controlled(host, "clear")
    await alice.gift("crown")
    await controlled(host, "resume")
    await node.start()
    await says_online(page)
    await has_shown(page, "Alice crown")


async def stages_end(site: Site, gift: str, stage: str) -> bool:
    return (await stages(site, gift))[-1:] == [stage]


async def test_controls_of_the_moment(node: Served, another_site: MakeSite, tabs: Tabs) -> None:
    """Skip, replay, test and reset, each on a node that has just been killed and started again."""
    tabs.expect_errors(*NODE_AWAY)
    site = await another_site()
    page, host, alice = await opened(tabs, await link_to(site, node.url)), await host_of(site), await site.join("alice")
    alert = page.get_by_test_id("overlay-alert")
    assert (await host.ask("overlay.set", settings={"duration_ms": 60_000}))["type"] == "ok"
    await restarted(node, page)
    gift = (await alice.gift("whale"))["id"]
    await expect(alert).to_have_attribute("data-gift", "whale")
    await controlled(host, "skip")
    await expect(alert).to_have_count(0)
    await eventually(lambda: stages_end(site, gift, "skipped"), what="the proof")
    await restarted(node, page)
    await controlled(host, "replay", id=gift)
    await has_shown(page, "Alice whale", "Alice whale")
    await restarted(node, page)  # the alert plays on meanwhile
    await controlled(host, "reset")
    await has_shown(page, "Alice whale", "Alice whale", "Alice whale")
    await controlled(host, "skip")
    await expect(alert).to_have_count(0)
    await controlled(host, "test")
    await expect(alert.locator(".test")).to_be_visible()
    await expect(alert).to_have_count(1)


async def test_an_alert_is_proven_and_offered_again_once(site: Site, tabs: Tabs) -> None:
    """One that was not finished comes again after a reload, and not after the next one."""
    page, alice = await opened(tabs, await link_to(site)), await site.join("alice")
    alert = page.get_by_test_id("overlay-alert")
    gift = (await alice.gift("castle"))["id"]
    await expect(alert).to_have_count(1)
    await eventually(lambda: stages_end(site, gift, "started"), what="the proof of a start")
    await page.reload()
    await expect(alert).to_have_count(1)
    await page.reload()
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await eventually(lambda: stages_end(site, gift, "failed"), what="the proof of a failure")
    await expect(alert).to_have_count(0)
    assert await stages(site, gift) == ["received", "started", "started", "failed"]


async def test_a_link_that_ends_stops_the_overlay(site: Site, tabs: Tabs) -> None:
    """At once, with a sentence, and without asking for tokens again; the key was in no address and no Referer."""
    asked: list[tuple[str, str]] = []
    page = await tabs.new()
    page.on("request", lambda request: asked.append((request.url, request.headers.get("referer", ""))))
    made = (await site.http.post("/v1/rooms/demo/overlays", json={})).json()
    await page.goto(made["url"])
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await site.http.delete(f"/v1/rooms/demo/overlays/{made['id']}")
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "closed")
    await expect(page.get_by_test_id("overlay-problem")).to_contain_text("withdrawn")
    tabs.expect_errors("403")
    await page.reload()
    await expect(page.get_by_test_id("overlay-problem")).to_contain_text("withdrawn")
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "closed")
    assert not [each for each in asked if made["key"] in each[0].partition("#")[0] or made["key"] in each[1]]
    assert not [each for each in asked if "eyJ" in each[0] + each[1]]


async def test_settings_reach_the_overlay_at_once(site: Site, tabs: Tabs) -> None:
    """Widgets come and go, variants and the least coins count, and names cannot turn a line round."""
    page, host, alice = await opened(tabs, await link_to(site)), await host_of(site), await site.join("alice")
    settings = {
        "widgets": ALL,
        "theme": "light",
        "min_coins": 5,
        "big_coins": 100,
        "variants": [{"gift": "coffee", "show": False}, {"gift": "heart", "animation": "ride", "message": False}],
    }
    await host.ask("goals.set", kind="coins", title="New guitar", target=2_000)
    assert (await host.ask("overlay.set", settings=settings))["type"] == "ok"
    await expect(page.get_by_test_id("overlay-goal")).to_contain_text("New guitar")
    await alice.ask("chat.send", text="hello <b>there</b>")
    await expect(page.get_by_test_id("overlay-line")).to_have_text("Alicehello <b>there</b>")
    await alice.gift("rose")
    await alice.gift("coffee")
    await alice.gift("heart", message="for you")
    alert = page.get_by_test_id("overlay-alert")
    await expect(alert).to_have_attribute("data-kind", "ride")
    await expect(alert.locator(".said")).to_have_text("")
    await has_shown(page, "Alice heart")
    await expect(page.locator(".who")).to_have_css("unicode-bidi", "isolate")
    await expect(page.get_by_test_id("overlay-ticker")).to_be_hidden()
    await alice.gift("whale")
    await expect(page.get_by_test_id("overlay-big")).to_have_attribute("data-gift", "whale")
    await expect(page.get_by_test_id("overlay-rank")).to_contain_text("Alice")
    for _ in range(2):
        await alice.gift("rose", combo="taps")
    await expect(page.get_by_test_id("overlay-combo")).to_contain_text("×2")
    await expect(page.get_by_test_id("overlay-combo")).to_have_count(0)  # its streak has ended
    assert (await host.ask("overlay.set", settings={"widgets": [{"kind": "viewers"}]}))["type"] == "ok"
    await expect(page.get_by_test_id("overlay-viewers")).to_have_text("1")
    await expect(page.get_by_test_id("overlay-board")).to_have_count(0)


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MEDIA = "https://media.example.com"
ITS_OWN = "the gift's own picture"


@pytest.mark.parametrize(
    ("name", "body", "shown"),
    [
        ("right.png", PNG, "image"),
        ("lies.png", b"<svg onload='x'/>", ITS_OWN),
        ("large.png", PNG + b"\0" * (8 * 1024 * 1024), ITS_OWN),
        ("away.png", None, ITS_OWN),
    ],
)
async def test_own_media_are_checked(
    another_site: MakeSite, tabs: Tabs, name: str, body: bytes | None, shown: str
) -> None:
    """A picture of an allowed origin is shown; in place of anything else, or of a large file, comes the gift's own."""
    tabs.expect_errors("Failed to load resource")
    site = await another_site(LIVEROOM_MEDIA_ORIGINS=MEDIA)
    host, alice = await host_of(site), await site.join("alice")
    variants = [{"media": f"{MEDIA}/{name}"}]
    assert (await host.ask("overlay.set", settings={"variants": variants}))["type"] == "ok"
    page = await tabs.new()

    async def give(route: Route) -> None:
        if body is None:
            await route.fulfill(status=404)
        else:
            headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "image/png"}
            await route.fulfill(status=200, body=body, headers=headers)

    await page.route(f"{MEDIA}/**", give)
    await page.goto(await link_to(site))
    await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await alice.gift("rose")
    art = page.get_by_test_id("overlay-alert").locator(".art")
    await expect(art).to_have_attribute("src", re.compile("^blob:" if shown == "image" else "rose|^data:"))
