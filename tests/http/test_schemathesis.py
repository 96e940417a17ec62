"""Schemathesis reads the served OpenAPI document, and finds nothing that the server does not keep to."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.site import Site

ROOT = Path(__file__).parents[2]
SEED = 1  # the same requests each time
EXAMPLES = 10  # chance ones for each operation, besides every edge that its schema has: some seven seconds in all


@pytest.mark.timeout(300)
async def test_schemathesis_finds_nothing(site: Site, tmp_path: Path) -> None:
    """Statuses, types, bodies, headers and `Allow` are described; what does not fit is refused, and what fits is not.

    The phase "stateful" is left out: it takes a gift's name in the catalogue for the id of a gift that was sent.
    """
    await site.put_room("mine")
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{site.url}/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {site.settings.service_key}", "--phases", "examples,coverage,fuzzing"),
        *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--generation-deterministic"),
        *("--no-shrink", "--continue-on-failure", "--warnings", "off", "--no-color"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.http.hooks"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    assert running.returncode == 0, said.decode()
    assert b"No issues found" in said, said.decode()
