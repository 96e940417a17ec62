"""Browser tabs in rooms: what they log, what they show, and that no error stays unseen."""

import asyncio
import re
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import Browser, ConsoleMessage, Error, Page, expect

from tests.site import Viewer

WAIT_MS = 15_000.0  # a deadline, not a measurement: the machine may be busy

# Runs in every page of a test from its first moment on. It logs a breach of the page's policy as an error, and keeps
# on <html> which alerts were shown (`shown`), and the most that were shown at once (`atOnce`).
# No page asks before it gives.
WATCH = """
try { localStorage["liveroom.ask-above"] = "never"; } catch { /* about:blank has no storage */ }
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("content security policy:", event.violatedDirective, event.blockedURI));
new MutationObserver((records) => {
  const root = document.documentElement;
  root.shown ??= [];
  for (const { addedNodes } of records) {
    for (const node of addedNodes) {
      if (!node.classList?.contains("gift-show")) continue;
      root.shown.push(`${node.querySelector(".who").textContent} ${node.dataset.gift}`);
      root.atOnce = Math.max(root.atOnce ?? 0, document.querySelectorAll(".gift-show").length);
    }
  }
}).observe(document, { childList: true, subtree: true });
"""

# Windows are calm unless a test says otherwise: a dozen endless animations, drawn without a GPU, cost most of a core.
DESKTOP = {"viewport": {"width": 960, "height": 640}, "reduced_motion": "reduce"}
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}

# A browser logs each failed connection as an error; a test in which that happens expects these.
NODE_AWAY = (r"WebSocket connection to .* failed", r"net::ERR_")


async def says_online(page: Page) -> None:
    """Fire the event of a network that is back: a page that waits to reconnect need not wait any longer."""
    await page.evaluate("() => { dispatchEvent(new Event('online')); }")


async def flood(bot: Viewer, first: int, end: int) -> None:
    """Messages "line <n>", thirty to a frame; each frame goes when the one before is answered."""
    for start in range(first, end, 30):
        texts = [f"line {n}" for n in range(start, min(end, start + 30))]
        await bot.tell([{"type": "chat.send", "text": text, "ref": text} for text in texts])
        await bot.happened("ok", ref=texts[-1])


class Windows:
    """The run's windows, one tab in each: a tab in the background draws no frames, and a used one loads faster."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: list[Page] = []

    async def take(self) -> Page:
        """An empty tab that nobody else has."""
        while self._free:
            page = self._free.pop()
            if not page.is_closed():
                return page
        return await self.new(DESKTOP)

    async def new(self, of: dict[str, Any]) -> Page:
        """An empty tab in a new window of this kind."""
        window = await self._browser.new_context(**of)
        window.set_default_timeout(WAIT_MS)
        await window.add_init_script(WATCH)
        return await window.new_page()

    async def give_back(self, page: Page) -> None:
        """Leave the page, and free the tab for others."""
        await page.unroute_all()
        await page.emulate_media(reduced_motion="reduce")
        await page.goto("about:blank")
        self._free.append(page)


class Tabs:
    """The tabs of one test, and the errors that they had."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._shared: list[Page] = []
        self._own: list[Page] = []
        self._errors: list[str] = []
        self._expected: list[str] = []

    def expect_errors(self, *patterns: str) -> None:
        """Expect errors that this test causes on purpose."""
        self._expected += patterns

    async def new(self, *, lively: bool = False, clock: bool = False, phone: bool = False) -> Page:
        """An empty tab: one that shows motion, one with a clock that the test can advance, or one on a phone."""
        own = clock or phone  # no later test may get such a window
        page = await (self._windows.new(PHONE if phone else DESKTOP) if own else self._windows.take())
        (self._own if own else self._shared).append(page)
        page.on("console", self._heard)
        page.on("pageerror", self._failed)
        if lively:
            await page.emulate_media(reduced_motion="no-preference")
        if clock:
            await page.clock.install()
        return page

    async def open(self, address: str, **options: bool) -> Page:
        """A page at this address."""
        page = await self.new(**options)
        await page.goto(address, wait_until="commit")
        return page

    async def watch(self, url: str, user: str = "alice", room: str = "demo", **options: bool) -> Page:
        """The watch page of this user, in the room and with its catalogue."""
        page = await self.open(f"{url}/watch/{room}?{urlencode({'user': user})}", **options)
        await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
        await expect(page.get_by_test_id("gift-rose")).to_be_attached()
        return page

    async def alice_and_bob(self, url: str) -> list[Page]:
        """The watch page of two people."""
        return await asyncio.gather(self.watch(url, "alice"), self.watch(url, "bob"))

    async def overlay(self, url: str, room: str = "demo", **options: bool) -> Page:
        """The overlay page, in the room."""
        page = await self.open(f"{url}/overlay/{room}", **options)
        await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(f"{message.text} at {message.location.get('url', '')}")

    def _failed(self, error: Error) -> None:
        self._errors.append(str(error))

    def unexpected(self) -> list[str]:
        """Errors that pages logged or threw, except the expected ones."""
        return [error for error in self._errors if not any(re.search(known, error) for known in self._expected)]

    async def close(self) -> None:
        """Leave every page; nothing may have gone wrong in any."""
        for page in self._own:
            await page.context.close()
        for page in self._shared:
            if not page.is_closed():
                await self._windows.give_back(page)
                page.remove_listener("console", self._heard)
                page.remove_listener("pageerror", self._failed)
        errors = self.unexpected()
        assert not errors, errors
