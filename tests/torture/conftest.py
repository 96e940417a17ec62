"""Fixtures: banks that belong to one test, and the shim that stands between a store and its disk."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.conftest import Stores
from tests.stores import settings
from tests.torture import shim
from tests.torture.bank import Bank, Node

SEED = 20_260_801


@pytest.fixture
async def new_bank(stores: Stores, empty_journal: Path) -> AsyncIterator[Callable[..., Bank]]:
    """Make banks that are not open yet; they are closed after the test."""
    made: list[tuple[Bank, tempfile.TemporaryDirectory[str]]] = []

    def make(**environ: str) -> Bank:
        folder = tempfile.TemporaryDirectory(prefix="lrt-", dir="/tmp")
        made.append((Bank(Path(folder.name), empty_journal, stores.room, SEED + len(made), **environ), folder))
        return made[-1][0]

    yield make
    for bank, folder in made:
        await bank.close()
        folder.cleanup()


@pytest.fixture
async def bank(new_bank: Callable[..., Bank]) -> Bank:
    """An open bank: twelve people with coins."""
    made = new_bank()
    await made.open()
    return made


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
async def cut_bank(new_bank: Callable[..., Bank], shim_library: Path) -> Callable[..., Awaitable[Bank]]:
    """Make open banks with a power supply that can be cut."""

    async def make(*options: str, **environ: str) -> Bank:
        bank = new_bank(**environ)
        bank.stand_between(shim_library, options)
        await bank.open()
        return bank

    return make


@pytest.fixture
async def new_node() -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """Start more nodes on a bank, optionally with other settings."""
    made: list[Node] = []

    async def make(bank: Bank, **environ: str) -> Node:
        made.append(Node(settings(bank.folder, **{**bank.environ, **environ}), bank.book))
        await made[-1].start()
        return made[-1]

    yield make
    for node in made:
        await node.stop()
