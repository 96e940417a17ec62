"""What an idle page costs: `python -m tests.idle`. Processor time of the whole browser, above that of an empty page."""

import asyncio
import os
from pathlib import Path

from playwright.async_api import Browser, expect

from tests import browser as chromium

FOR_S = 20.0
LOADED_MS = 3000  # loading is over
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGES = ("watch", "overlay")


def seconds_used() -> float:
    """The processor time of every process that this one started, directly or not, and that is a browser's."""
    stats: dict[int, tuple[int, str, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = path.read_text().split(" (", 1)
        except OSError:  # it has ended meanwhile
            continue
        name, fields = rest.rsplit(") ", 1)
        each = fields.split()
        stats[int(pid)] = (int(each[1]), name, int(each[11]) + int(each[12]))

    def is_ours(pid: int) -> bool:
        while pid in stats and pid != os.getpid():
            pid = stats[pid][0]
        return pid == os.getpid()

    return sum(ticks for pid, (_, name, ticks) in stats.items() if "chrom" in name and is_ours(pid)) / TICKS_PER_S


async def percent(browser: Browser, address: str) -> float:
    """Of one core, while the page rests."""
    window = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await window.new_page()
    await page.goto(address)
    if address != "about:blank":
        await expect(page.get_by_test_id("conn-state")).to_have_attribute("data-state", "live")
    await page.wait_for_timeout(LOADED_MS)
    before = seconds_used()
    await page.wait_for_timeout(1000 * FOR_S)
    used = seconds_used() - before
    await window.close()
    return 100 * used / FOR_S


async def main() -> None:
    """Run the program, measure, and end it."""
    async with chromium.beside_a_program() as (browser, program):
        empty = await percent(browser, "about:blank")
        print(f"an empty page: {empty:.2f} % of a core, over {FOR_S:.0f} s")
        for page in PAGES:
            used = await percent(browser, f"{program.url}/{page}/demo")
            print(f"the {page} page, live and idle: {used - empty:+.2f} % above it")


if __name__ == "__main__":
    asyncio.run(main())
