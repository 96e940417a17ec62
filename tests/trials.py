"""Runs chosen tests in a copy of the tree: in a fork of this process, which has the libraries in memory already."""

import contextlib
import ctypes
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests import reach

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 120
TEST_S = 20  # a mistake may cause an endless loop
FILES = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
OPTIONS = ("-q", "-rfE", "--tb=no", "-W", "ignore::pytest.PytestAssertRewriteWarning")
NO_TESTS = 5  # pytest's status
HEAVY = (
    "alembic.command httpx hypothesis psycopg redis.asyncio sqlalchemy.dialects.postgresql starlette.applications "
    "starlette.websockets structlog uvicorn.protocols.websockets.websockets_sansio_impl websockets.asyncio.client"
)
PR_SET_PDEATHSIG = 1


class Reached:
    """Which tests reach a block, and how long each takes: read from the plugin's notes."""

    def __init__(self, notes: Path) -> None:
        self._blocks: dict[str, set[str]] = {}
        self._s: dict[str, float] = {}
        for line in notes.read_text().splitlines():
            noted = json.loads(line)
            self._blocks[noted["test"]] = set(noted["blocks"])
            self._s[noted["test"]] = noted["s"]
        self._telling: dict[tuple[str, str], int] = {}

    def caught(self, file: str, test: str) -> None:
        """This test has found a mistake in the file: it may find the next one, too."""
        self._telling[file, test] = self._telling.get((file, test), 0) + 1

    def tests(self, file: str, block: str, budget_s: float) -> list[str]:
        """The tests that reach it, the most telling first, until they take too long together.

        A test that reaches little else is about this block.
        """
        mark, stem = f"{file} {block}".strip(), Path(file).stem.removesuffix("s")
        stem = stem.partition("_")[0] if file.endswith(".lua") else stem  # `boards` of boards_publish.lua
        reaching = {test for test, blocks in self._blocks.items() if mark in blocks}
        if not block or not reaching:  # of no function, or of one that is called when the module is imported
            reaching |= {test for test, found in self._blocks.items() if any(each.split()[0] == file for each in found)}
        if not reaching:  # all of the file runs when it is imported: the tests of its neighbours need that
            near = file.rpartition("/")[0]
            reaching = {test for test, found in self._blocks.items() if any(each.startswith(near) for each in found)}
        variants: Counter[str] = Counter()  # of one test function; the first says most

        def order(test: str) -> tuple[int, int, bool, int]:
            variants[function := test.partition("[")[0]] += 1
            telling = self._telling.get((file, test), 0)
            return -telling, variants[function], stem not in test.partition("::")[0], len(self._blocks[test])

        chosen: list[str] = []
        for test in sorted(reaching, key=order):
            budget_s -= self._s[test]
            if budget_s < 0 and chosen:
                break
            chosen.append(test)
        return chosen


# A world of eight partitions: audits and openings take a quarter of the time. Some tests need all 64.
SMALL = {
    "server/limits.py": ("WALLET_PARTITIONS = 64", "WALLET_PARTITIONS = 8"),
    "server/store/keys.py": ("enumerate(_SUFFIXES)", "enumerate(_SUFFIXES[:8])"),
}


class Tree:
    """A copy of what git has of the tree. A `small` one has few partitions."""

    def __init__(self, folder: Path, *, small: bool) -> None:
        self.folder = folder
        self._shrunk = SMALL if small else {}
        names = subprocess.run(FILES, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in names.stdout.split():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for name in self._shrunk:
            self._put(name, (ROOT / name).read_text())

    def mark(self, files: Iterable[str]) -> None:
        """Let these files say which of their blocks are reached."""
        for file in files:
            self._put(file, reach.marked(file, (ROOT / file).read_text()))

    def fails_with(self, file: str, text: str, tests: Sequence[str]) -> str:
        """The first test that fails when a file has this text, as `first_failure` says it."""
        right = (self.folder / file).read_text()
        self._put(file, text)
        failed = self.first_failure(tests)
        self._put(file, right)
        return failed

    def _put(self, file: str, text: str) -> None:
        path = self.folder / file
        path.write_text(text.replace(*self._shrunk.get(file, ("", ""))) if file in self._shrunk else text)
        for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            cached.unlink()  # the same second and the same size would pass for the old text

    def first_failure(self, tests: Sequence[str], notes: Path | None = None) -> str:
        """The test that failed first, "timeout", or "" when all passed. Given `notes`, runs all and takes notes."""
        said = self.folder / "said.txt"
        if not (child := os.fork()):
            self._be_pytest(tests, said, notes)
        with contextlib.suppress(PermissionError):  # it may have done so
            os.setpgid(child, child)
        late = threading.Timer(TIMEOUT_S if notes is None else TIMEOUT_S * 30, _kill, [child])
        late.start()
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            late.cancel()
            _kill(child)  # what it has started
        assert status != NO_TESTS, tests
        lines = said.read_text().splitlines()
        failed = (
            line.partition(" ")[2].partition(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))
        )
        return next(failed, "timeout" if status < 0 else "the start") if status else ""

    def _be_pytest(self, tests: Sequence[str], said: Path, notes: Path | None) -> None:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(self.folder)
        sys.dont_write_bytecode = False  # else each trial compiles everything again: half of its time
        sys.path[0] = str(self.folder)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "server", "protocol")]:
            del sys.modules[name]
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        options = [*OPTIONS, *(["-x", "-o", f"timeout={TEST_S}"] if notes is None else ["-p", "tests.reach"])]
        if notes is not None:
            os.environ[reach.NOTES] = str(notes)
        status = 1
        try:
            status = pytest.main([*options, *tests])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def load_libraries() -> None:
    for name in HEAVY.split():
        importlib.import_module(name)
