"""Several nodes on one machine, behind one port: one room, one wallet, and restarting each in turn loses nothing."""

import asyncio
import contextlib
import copy
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from loadtest.crowd import Target, hammer
from loadtest.results import Second
from loadtest.scenarios import Plan
from server.settings import DEV_SERVICE_KEY
from tests.program import Program, eventually

WORKERS = 2
CROWD = 40
IN_S = 30.0
UNUSABLE = 2


@pytest.fixture
async def shared() -> AsyncIterator[Program]:
    """A program of two workers, both ready: it reports when the last one is."""
    program = Program(LIVEROOM_WORKERS=str(WORKERS), LIVEROOM_AUDIT_EVERY_S="1")  # a crowd waits for the next
    try:
        await program.start()
        await eventually(lambda: "Liveroom is live" in program.stdout(), what="the last worker")
        yield program
    finally:
        await program.discard()


class Doorman:
    """Watches a crowd until all of it is in."""

    def __init__(self) -> None:
        self.all_in = asyncio.Event()

    def update(self, second: Second, *_: object) -> None:
        if second.open == CROWD:
            self.all_in.set()


def workers(program: Program) -> dict[int, int]:
    """The nodes' pids by worker number."""
    found = {}
    for pid, name in program.processes().items():
        if name == "node":
            with contextlib.suppress(OSError, ValueError):  # it may end while we look
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found[int(words[words.index(b"--worker") + 1])] = pid
    return found


async def metric(program: Program, worker: int, name: str) -> float:
    """A worker's own metric, from its own port."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{program.port + 1 + worker}/metrics")).text
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_one_room_on_all_workers(shared: Program) -> None:
    """Newcomers are spread over the workers.

    All see one order, gifts are paid once, and balances reach every socket.
    """
    viewers = [await shared.join("alice" if n % 2 else "bob") for n in range(30)]
    held = [await metric(shared, worker, "liveroom_connections") for worker in range(WORKERS)]
    assert sum(held) == len(viewers)
    assert min(held) > 0
    gifts = await asyncio.gather(*(viewer.gift("rose") for viewer in viewers))
    assert {reply["type"] for reply in gifts} == {"ok"}
    told = []
    for viewer in viewers:
        await viewer.until(lambda _, viewer=viewer: len(viewer.events("gifts.sent")) == len(viewers))
        told.append([(event["seq"], event["id"]) for event in viewer.events("gifts.sent")])
        await viewer.happened("wallet.changed", coins=10_000 - len(viewers) // 2)
    assert all(each == told[0] for each in told)
    for worker in range(WORKERS):
        assert await metric(shared, worker, "liveroom_gifts_total") > 0


async def test_a_restart_of_each_in_turn(shared: Program) -> None:
    """Under load each worker ends and is replaced: those who resume have seen every event, and every gift is paid."""
    plan = Plan(scenario="restarts", viewers=CROWD, seconds=6, ramp_s=0.5, chats_per_s=30, gifts_per_s=30)
    doorman = Doorman()
    running = asyncio.create_task(hammer(plan, Target(url=shared.url, service_key=DEV_SERVICE_KEY), doorman))
    async with asyncio.timeout(IN_S):
        await doorman.all_in.wait()
    for number, pid in sorted(workers(shared).items()):
        os.kill(pid, signal.SIGTERM)
        await eventually(lambda n=number, old=pid: workers(shared).get(n) not in (None, old), what="a new worker")
        await eventually(lambda n=number: answers(shared.port + 1 + n), what="its port")
    found = await running
    assert [check.wrong for check in found.checks if check.wrong] == []
    assert found.totals["acked_gifts"] == found.totals["gifts"] > 0
    assert found.totals["closed 4001"] > 0
    assert "closed 1012" not in found.totals
    assert found.totals["resumed"] > 0
    assert found.totals["gaps"] == 0


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_killed_worker_is_replaced(shared: Program) -> None:
    """The others go on meanwhile, and it leaves nothing behind."""
    first = copy.copy(shared)
    first.port = shared.port + 1  # the first worker's own metric
    alice = await shared.join("alice", node=first)
    before = workers(shared)
    assert sorted(before) == list(range(WORKERS))
    os.kill(before[1], signal.SIGKILL)
    await eventually(lambda: workers(shared).get(1) not in (None, before[1]), what="a new worker")
    await eventually(lambda: answers(shared.port + 2), what="its port")
    assert await metric(shared, 1, "liveroom_connections") >= 0
    assert (await alice.gift("rose"))["type"] == "ok"
    ended = await shared.stop()
    assert (ended.code, ended.after_s < 5) == (0, True)
    assert not shared.processes()


async def test_a_workers_port_that_is_taken() -> None:
    """It is reported in one sentence before anything starts."""
    program = Program(LIVEROOM_WORKERS="2")
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", program.port + 2))
            taken.listen()
            program.spawn()
            assert (await program.ended()).code == UNUSABLE
        assert f"Port {program.port + 2} on 127.0.0.1 cannot be used" in program.stderr()
    finally:
        await program.discard()
