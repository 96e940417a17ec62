"""Draws docs/screenshot.png: `python -m tests.screenshot`. With a folder: windows of each size, into it."""

import asyncio
import sys
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, expect

from tests import browser as chromium
from tests.program import ROOT, Program
from tests.site import Viewer

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "small": {"viewport": {"width": 1024, "height": 700}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "across": {"viewport": {"width": 844, "height": 390}, "is_mobile": True, "has_touch": True},
}
ROOM = "evening"
SAID = [
    ("mira", "Good evening from Lisbon!"),
    ("jonas", "first time here, what a voice"),
    ("aiko", "the new song please"),
    ("creator", "Welcome, everybody. Two more, then your wishes."),
    ("noor", "worth staying up for"),
    ("mira", "that bridge again!"),
]
SETTLED_MS = 900  # until what enters has entered


async def people(program: Program) -> dict[str, Viewer]:
    """The room, and who is in it, with coins."""
    body = {"host": {"user_id": "creator", "name": "Creator"}, "title": "Late night acoustic", "settings": {}}
    async with program.client() as client:
        (await client.put(f"/v1/rooms/{ROOM}", json=body)).raise_for_status()
        (await client.post(f"/v1/rooms/{ROOM}/start")).raise_for_status()
        for user in ("mira", "jonas", "aiko", "noor"):
            top_up = {"id": f"shot-{user}", "coins": 20_000, "source": "screenshot"}
            (await client.post(f"/v1/wallets/{user}/topups", json=top_up)).raise_for_status()
    roles = {"mira": "viewer", "jonas": "viewer", "aiko": "viewer", "noor": "viewer", "creator": "host"}
    return {user: await program.join(user, role, room=ROOM) for user, role in roles.items()}


async def show(there: dict[str, Viewer]) -> None:
    """What happens before the picture is taken."""
    for user, text in SAID:
        await there[user].ask("chat.send", text=text)
    await there["noor"].gift("coffee", 5)
    await there["aiko"].gift("fireworks")
    await there["jonas"].gift("rose", 12, combo="taps")
    await there["jonas"].gift("rose", 8, combo="taps")


async def watching(browser: Browser, program: Program, size: str) -> Page:
    """The watch page in a window of this size, in the room and with what was said."""
    window = await browser.new_context(**SIZES[size])
    page = await window.new_page()
    await page.goto(f"{program.url}/watch/{ROOM}?user=alice")
    await expect(page.get_by_test_id("gift-rose")).to_be_attached()
    await expect(page.get_by_test_id("chat-line")).to_have_count(len(SAID))
    return page


async def main(folder: Path | None) -> None:
    """Run the program, draw, and end it."""
    async with chromium.beside_a_program() as (browser, program):
        there = await people(program)
        await show(there)
        for size in SIZES if folder else ["desktop"]:
            await draw(browser, program, there, size, folder)


async def draw(browser: Browser, program: Program, there: dict[str, Viewer], size: str, folder: Path | None) -> None:
    """One size: while a large gift is shown, and with a folder, at rest and with what opens."""
    page = await watching(browser, program, size)
    if folder:
        await page.wait_for_timeout(SETTLED_MS)
        await page.screenshot(path=folder / f"{size}-rest.png")
        if size in ("phone", "across"):
            await page.get_by_test_id("gift-open").tap()
            await page.wait_for_timeout(SETTLED_MS)
            await page.screenshot(path=folder / f"{size}-gifts.png")
            await page.keyboard.press("Escape")
    await there["aiko"].gift("coffee", 3)
    await there["mira"].gift("castle" if size == "desktop" else "crown", message="For the best voice of the night")
    await expect(page.get_by_test_id("show")).to_be_visible()
    await page.wait_for_timeout(2 * SETTLED_MS)
    path = folder / f"{size}.png" if folder else ROOT / "docs/screenshot.png"
    await page.screenshot(path=path)
    if not folder:  # a third of the bytes, and the eye does not see it
        whole = Image.open(path).convert("RGB")
        few = whole.quantize(256)  # dithered only onto colours that are given
        whole.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    await page.context.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if sys.argv[1:] else None))
