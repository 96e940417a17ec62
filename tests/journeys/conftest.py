"""Fixtures: a program that a module's tests share, and programs of one's own to stop and to kill."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.program import Program, rss_bytes

RSS_BYTES_MORE = 20 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Program]:
    """A running program, one per module."""
    program = Program()
    try:
        await program.start()
        yield program
    finally:
        await program.discard()


@pytest.fixture
async def program(running: Program) -> AsyncIterator[Program]:
    """The module's program; this test's sockets are closed afterwards."""
    yield running
    await running.everybody_leaves()


@pytest.fixture
async def new_program() -> AsyncIterator[Callable[..., Program]]:
    """Make programs that are not started yet; what is left of them ends with the test."""
    made: list[Program] = []

    def make(**environ: str) -> Program:
        made.append(Program(**environ))
        return made[-1]

    yield make
    for program in made:
        await program.discard()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unshaken(running: Program) -> AsyncIterator[None]:
    """After the module's tests the same processes serve, use no more memory, logged no error and moved no coin."""
    for codec in ("json", "msgpack"):  # what is created at first use must be there before the measurement
        viewer = await running.join("warm", codec=codec)
        await viewer.ask("chat.send", text="warm")
        await viewer.gift("rose")
        await viewer.leave()
    users = ("alice", "bob", "creator")
    before = {user: await running.coins(user) for user in users}
    pids, held = running.children(), rss_bytes(running.children()["node"])
    logged = len(running.stderr())
    yield
    assert running.children() == pids, running.output()
    assert {user: await running.coins(user) for user in users} == before
    viewer = await running.join("alice")
    said = await viewer.ask("chat.send", text="still here")
    await viewer.happened("chat.sent", id=said["id"])
    await viewer.leave()
    assert rss_bytes(pids["node"]) - held < RSS_BYTES_MORE
    for accident in ("Traceback", "Error", "_failed", "exception"):
        assert accident not in running.stderr()[logged:], running.output()
