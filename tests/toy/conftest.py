"""Fixtures: a copy of the program to which one feature's files were added."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.program import ROOT, Program

TOY = Path(__file__).parent / "applause"
COPIED = ("server", "protocol")
BESIDE = ("tests", "loadtest", "docs")  # what the repository's tests need to check the copy
LEFT_OUT = shutil.ignore_patterns("node_modules", "toy")  # compiled modules are copied, and are as good there
collect_ignore = ["applause"]  # the toy is tested in the copy


def files(root: Path) -> dict[str, bytes]:
    """The files below a folder in the trees that are copied; compiled modules do not count."""
    found = (path for top in COPIED for path in (root / top).rglob("*"))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found if p.is_file() and p.suffix != ".pyc"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the program plus the toy's files, none of which replaces another."""
    house = tmp_path_factory.mktemp("house")
    for top in (*COPIED, *BESIDE):
        shutil.copytree(ROOT / top, house / top, ignore=LEFT_OUT)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copyfile(path, house / path.name)
    assert not files(TOY).keys() & files(house).keys()
    shutil.copytree(TOY, house, dirs_exist_ok=True, ignore=LEFT_OUT)
    yield house
    assert files(house) == files(ROOT) | files(TOY)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(house: Path) -> AsyncIterator[Program]:
    """The program of that copy."""
    program = Program(root=house)
    try:
        await program.start()
        yield program
    finally:
        await program.discard()


@pytest.fixture
async def program(running: Program) -> AsyncIterator[Program]:
    """The same program; this test's sockets are closed afterwards."""
    yield running
    await running.everybody_leaves()
