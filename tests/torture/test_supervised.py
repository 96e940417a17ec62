"""The whole program while the disk of its wallet store fails: it recovers without help and loses no money."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.journeys.givers import givers
from tests.program import Program, eventually
from tests.torture import rounds
from tests.torture.shim import PowerCut


@pytest.fixture
async def failing(shim_library: Path) -> AsyncIterator[tuple[Program, PowerCut]]:
    """A running program, and the disk of its wallet store."""
    with tempfile.TemporaryDirectory(prefix="lrt-", dir="/tmp") as folder:
        power = PowerCut(shim_library, Path(folder))
        program = Program(**power.environ)
        try:
            await program.start()
            yield program, power
        finally:
            await program.discard()


@pytest.mark.timeout(rounds(120, 600))
async def test_the_program_survives_its_disk(failing: tuple[Program, PowerCut]) -> None:
    """An fsync fails: the store is restarted, chat goes on meanwhile, every answered gift counts once."""
    program, power = failing
    people = await givers(program, "disk", 3)
    talker = await program.join("talker", "bot", room="disk")
    for turn in range(rounds(1, 8)):
        store = program.children()["wallet store"]
        power.control.eio_at = power.control.fsyncs + 3
        giving = asyncio.gather(*(giver.give(40) for giver in people))
        again = asyncio.create_task(program.child_again("wallet store", store))
        assert (await talker.ask("chat.send", text=f"still here {turn}"))["type"] == "ok"
        await giving
        await again
        await asyncio.gather(*(giver.give_again() for giver in people))
    for giver in people:
        await giver.assert_paid_once()
        await giver.assert_journaled_once()
    await eventually(lambda: program.running, what="a program that runs")
