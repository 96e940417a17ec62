"""The rest of processes is seen: of one that waits all of it, of one that works none, and of those below it."""

import subprocess
import sys

import pytest

from tests.program import eventually
from tests.resting import Resting

WAITS = "import sys; print(flush=True); sys.stdin.read()"
WORKS = "import os; print(flush=True); above = os.getppid()\nwhile os.getppid() == above: pass"
WAITS_FOR_ONE_THAT_WORKS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORKS!r}])"


@pytest.mark.parametrize(
    ("program", "rests"),
    [(WAITS, True), (WORKS, False), (WAITS_FOR_ONE_THAT_WORKS, False)],
    ids=["waits", "works", "below"],
)
async def test_who_waits_rests(program: str, rests: bool) -> None:
    """However busy the machine is: who would work if it could does not rest."""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        resting, looks = Resting(process.pid), 0

        def looked() -> bool:
            nonlocal looks
            resting.look()
            looks += 1
            return resting.s > 0.1 or looks > 50

        await eventually(looked)
        assert (resting.s > 0.1) == rests
    finally:
        process.kill()
        process.communicate()


def test_who_has_ended_is_no_error() -> None:
    """Nobody is below it."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    Resting(process.pid).look()
