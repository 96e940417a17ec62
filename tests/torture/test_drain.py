"""Drains that are killed at any moment, drains that compete, and entries that no drain can read."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server.store import keys
from tests.program import ROOT, eventually
from tests.torture import rounds
from tests.torture.bank import WAIT_S, Bank

KILLED, ALARMED = -9, -14
Drains = Callable[..., Awaitable[list[int]]]


@pytest.fixture
async def drains(bank: Bank) -> AsyncIterator[Drains]:
    """Run drains in processes of their own, each with the moment of its death. Returns how they ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.torture.drainer",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def run(*moments: str) -> list[int]:
        line = " ".join((bank.settings.wallet_address, bank.settings.journal_address, *moments))
        process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(WAIT_S):
            return [int(code) for code in (await process.stdout.readline()).split()]

    yield run
    process.stdin.close()
    await process.wait()


@pytest.mark.timeout(rounds(60, 600))
async def test_a_drain_that_dies_doubles_and_loses_nothing(bank: Bank, drains: Drains) -> None:
    """Wherever a drain dies, even around a commit, the next one goes on where the journal ends."""
    moments = [f"{what}:{n}" for n in range(1, rounds(3, 12)) for what in ("begin", "commit", "committed")]
    for moment in moments:
        await bank.give(rounds(60, 240))  # enough for many transactions to die in
        assert await drains(moment) == [KILLED], moment
    for _ in range(rounds(6, 100)):
        await bank.give(40)
        assert (await drains(f"after:{bank.random.randint(1, 30_000)}"))[0] in (0, ALARMED)
    assert await drains("never") == [0]
    await bank.check()


@pytest.mark.timeout(rounds(60, 600))
async def test_drains_in_each_others_way(bank: Bank, drains: Drains) -> None:
    """Several drain while gifts are sent, and some die: every entry is journaled once, none is set aside."""
    for _ in range(rounds(4, 40)):
        _, codes = await asyncio.gather(bank.give(300), drains("never", "never", f"commit:{bank.random.randint(1, 4)}"))
        assert codes[:2] == [0, 0]
        assert codes[2] in (0, KILLED)
        assert bank.set_aside() == {}
    assert await drains("never") == [0]
    await bank.check()


GARBAGE = {
    "no time": {"b": "1", "d": "1", "e": "{}"},
    "time is no number": {"t": "x1", "b": "1", "d": "1", "e": "{}"},
    "balance is no number": {"t": "1", "b": "1e3", "d": "1", "e": '{"kind":"topup"}'},
    "balance is huge": {"t": "1", "b": "9" * 30, "e": '{"kind":"topup","viewer":"v","coins":' + "9" * 30 + "}"},
    "no body": {"t": "1", "b": "1"},
    "body is no JSON": {"t": "1", "b": "1", "d": "1", "e": '{"kind":"gift"'},
    "body is a list": {"t": "1", "e": "[]"},
    "body is no gift": {"t": "1", "b": "1", "d": "1", "e": '{"kind":"gift"}'},
    "body is no text": {"t": "1", "e": b'{"kind":"open","x":"\xff"}'},
    "body has a NUL": {"t": "1", "e": b'{"kind":"open","x":"\x00"}'},
    "unknown kind": {"t": "1", "e": '{"kind":"gold"}'},
    "a name too long": {"t": "1", "b": "5", "e": '{"kind":"topup","coins":5,"id":"1","viewer":"' + "v" * 300 + '"}'},
}


async def test_entries_that_cannot_be_read_stop_their_partitions_alone(bank: Bank) -> None:
    """The drain sets them aside; other partitions go on, and rooms are still shown their gifts."""
    busy = {keys.partition_of(viewer) for viewer in bank.viewers}
    corrupt = dict(zip((p for p in range(64) if p not in busy), GARBAGE, strict=False))
    assert len(corrupt) == len(GARBAGE)
    with bank.look() as look:
        for partition, name in corrupt.items():
            look.xadd(keys.log(partition), GARBAGE[name], id="1-*")
    await bank.give(50)
    stopping = asyncio.Event()
    async with bank.draining() as drain:
        running = asyncio.create_task(drain.run(stopping))
        await eventually(lambda: running.done() or corrupt.keys() <= bank.set_aside().keys(), WAIT_S, "all set aside")
        stopping.set()
        await running
    assert bank.set_aside().keys() == corrupt.keys()
    assert bank.gift_rows().keys() == bank.book.acked.keys()
    with bank.look() as look:
        assert all(look.hget(keys.wallet_meta(partition), "frozen") for partition in corrupt)
