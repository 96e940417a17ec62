"""Autobahn's test suite: where it comes from, how it is run, and what its report says of us."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

SUITE = "autobahntestsuite==25.10.1"
CASES = (
    *(f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
    *(f"12.{part}.*" for part in range(1, 6)),
    *(f"13.{part}.*" for part in range(1, 8)),
)
AGENT = "liveroom"
RUN_S_MAX = 1_800.0
FINE = ("OK", "INFORMATIONAL")
RUN_IT = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"
IS_PYTHON_2 = "import pip, sys; sys.exit(sys.version_info[:2] != (2, 7))"

CANNOT = """\
conformance: Autobahn's test suite cannot be installed here: {why}
It is written for Python 2.7 (CPython or PyPy) and needs its pip. Name such a program in PYTHON2:
  make conformance PYTHON2=/path/to/python2.7
Without the suite, tests/edge/test_conformance.py covers the same ground: framing (sections 1, 3 and 4), pings and
pongs (2), fragments (5), UTF-8 (6), closing (7), deflated messages (12, 13). Nothing replaces section 9: sizes, times.
"""


class Outcome(NamedTuple):
    """What the suite says about a case: how it went, and how the connection was closed."""

    behavior: str
    closing: str

    @property
    def fine(self) -> bool:
        return self.behavior in FINE and self.closing in FINE


class Missing(Exception):
    """The suite cannot be run here, and why."""


# --- finding and installing it -------------------------------------------------------------------------------------
def python_2(named: str | None) -> str:
    """A Python 2.7 that has pip: the named one, or the first of the usual ones. Raises Missing."""
    usual = ("python2.7", "pypy2.7", "pypy", "python2")
    there = [path for name in usual if (path := shutil.which(name))]
    there += map(str, sorted((Path.home() / ".pyenv" / "versions").glob("*2.7*/bin/python")))
    for path in [named] if named else there:
        try:
            asked = subprocess.run([path, "-c", IS_PYTHON_2], capture_output=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if asked.returncode == 0:
            return path
    raise Missing(f"{named} is not a Python 2.7 with pip" if named else "no Python 2.7 with pip was found")


def install(python: str, folder: Path) -> None:
    """Install the suite into a folder of its own, once. Raises Missing."""
    done = folder / "installed"
    if done.exists() and done.read_text() == SUITE:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(folder), SUITE]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if asked.returncode != 0:
        said = [line for line in asked.stderr.splitlines() if line.strip()]
        raise Missing(f"pip failed: {said[-1] if said else asked.returncode}")
    done.write_text(SUITE)


# --- running it ----------------------------------------------------------------------------------------------------
async def run(python: str, folder: Path, port: int, cases: Iterable[str], reports: Path) -> dict[str, Outcome]:
    """Run its client against 127.0.0.1. Returns what it says about each case. Raises Missing if it does not run."""
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    spec, log = reports / "spec.json", reports / "log"
    asked = {
        "outdir": str(reports),
        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}/"}],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    spec.write_text(json.dumps(asked))
    command = [python, "-W", "ignore", "-c", RUN_IT, str(folder), "-m", "fuzzingclient", "-s", str(spec)]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, cwd=reports)
    try:
        async with asyncio.timeout(RUN_S_MAX):
            code = await process.wait()
    except TimeoutError:
        raise Missing(f"it did not end within {RUN_S_MAX:g} s, see {log}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    index = reports / "index.json"
    if code != 0 or not index.exists():
        raise Missing(f"it ended with status {code}, see {log}")
    return outcomes(json.loads(index.read_text()))


def outcomes(index: Mapping[str, Any]) -> dict[str, Outcome]:
    """The suite's index.json, case by case."""
    return {case: Outcome(of["behavior"], of["behaviorClose"]) for case, of in index.get(AGENT, {}).items()}


# --- judging it ----------------------------------------------------------------------------------------------------
def judged(found: Mapping[str, Outcome], argued: Mapping[str, str]) -> tuple[list[str], bool]:
    """The lines to print, and whether all is well: every case is fine, or argued and not."""
    lines, well = [], bool(found)
    for case in sorted(found, key=lambda each: [int(part) for part in each.split(".")]):
        outcome, why = found[case], argued.get(case)
        if not outcome.fine:
            lines.append(f"{case} {outcome.behavior}, close {outcome.closing}: {why or 'NOT ARGUED'}")
        elif why:
            lines.append(f"{case} is fine: take its argument away")
        well &= outcome.fine != bool(why)
    return lines, well
