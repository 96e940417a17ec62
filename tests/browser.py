"""Find a Chromium for the page tests, or install one: `python -m tests.browser`."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.program import Program

NAMES = ("chromium", "chromium-browser", "google-chrome")

# Without these a headless Chromium contacts Google at every start; root needs --no-sandbox.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def system_chromium() -> str | None:
    """The system's Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def playwright_chromium() -> str | None:
    """Playwright's own Chromium, if it has been downloaded."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # starts a driver

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def ensure() -> str:
    """The path of a Chromium. Raises RuntimeError if there is none and none can be installed."""
    if path := system_chromium() or playwright_chromium():
        return path
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "-qq", "update"], check=False, **quiet)
        subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"], check=False, **quiet)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if path := system_chromium() or playwright_chromium():
        return path
    raise RuntimeError("the page tests need Chromium, and it could not be installed")


@contextlib.asynccontextmanager
async def beside_a_program() -> "AsyncIterator[tuple[Browser, Program]]":
    """A Chromium and a running program, for scripts. Both end with the block."""
    from playwright.async_api import async_playwright  # noqa: PLC0415  # `ensure` needs no driver

    from tests.program import Program  # noqa: PLC0415

    path = await asyncio.to_thread(ensure)
    program = Program()
    await program.start()
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=ARGS)
            yield browser, program
            await browser.close()
        await program.everybody_leaves()
    finally:
        await program.discard()


if __name__ == "__main__":
    ensure()
