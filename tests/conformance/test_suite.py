"""`make conformance` without the suite: the echo is our class, the verdict strict, and what cannot run is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from server import limits
from tests.conformance import suite
from tests.conformance.argued import ARGUED
from tests.conformance.echo import serving
from tests.conformance.suite import Missing, Outcome, judged, outcomes
from tests.tree import ROOT

FINE = Outcome("OK", "OK")


async def test_the_echo_is_on_our_class_and_takes_large_messages() -> None:
    """Texts and bytes come back, also above our bound on sizes, deflated or not; afterwards the bound is as it was."""
    bound = limits.FRAME_BYTES_MAX
    async with serving() as port:
        for compression in (None, "deflate"):
            async with connect(f"ws://127.0.0.1:{port}/", compression=compression, max_size=None) as client:
                for message in ("grüß dich", b"\x00\xff", "", "*" * (bound + 1), os.urandom(4 * bound)):
                    await client.send(message)
                    assert await client.recv() == message
    assert bound == limits.FRAME_BYTES_MAX


def test_only_what_is_fine_or_argued_passes() -> None:
    """A case that is not OK must be argued; an argument for one that is fine is too old; no cases, no pass."""
    index = {suite.AGENT: {"1.1.1": {"behavior": "OK", "behaviorClose": "INFORMATIONAL"}}}
    assert judged(outcomes(index), {}) == ([], True)
    bad = {"1.1.1": FINE, "1.1.10": Outcome("OK", "FAILED"), "1.1.9": Outcome("NON-STRICT", "OK")}
    lines, well = judged(bad, {"1.1.9": "the RFC allows it"})
    assert not well
    assert [line.split(":")[0] for line in lines] == ["1.1.9 NON-STRICT, close OK", "1.1.10 OK, close FAILED"]
    assert judged(bad, {"1.1.9": "the RFC allows it", "1.1.10": "so does it"})[1]
    assert not judged({"1.1.1": FINE}, {"1.1.1": "it failed once"})[1]
    assert not judged({}, {})[1]
    assert all(ARGUED.values())


def test_a_suite_that_cannot_be_installed_is_said(tmp_path: Path) -> None:
    """Status 2, what is missing, where to name it, and what our own tests cover instead."""
    command = [sys.executable, "-m", "tests.conformance", "--python2", sys.executable, "--folder", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    for said in (
        "cannot be installed here",
        "is not a Python 2.7 with pip",
        "PYTHON2=",
        "tests/edge/test_conformance.py",
    ):
        assert said in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_a_suite_that_does_not_run_is_said(tmp_path: Path) -> None:
    """It ends without a report: that is never a pass."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 0\n")
    broken.chmod(0o700)
    with pytest.raises(Missing, match="ended with status 0"):
        await suite.run(str(broken), tmp_path, 9, ["1.*"], tmp_path / "reports")
    asked = json.loads((tmp_path / "reports" / "spec.json").read_text())
    assert asked["servers"] == [{"agent": suite.AGENT, "url": "ws://127.0.0.1:9/"}]
    assert asked["cases"] == ["1.*"]
