"""Background work: a loop that raises is logged and restarted, and every task is held and its failure logged."""

import asyncio
import gc
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from server import background, limits
from server.background import FAILURES, Tasks
from server.processes.supervisor import Child
from tests.site import Site

Logs = list[Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short, and every failure is logged."""
    monkeypatch.setattr(limits, "LOOP_AGAIN_S", 0.001)
    monkeypatch.setattr(limits, "FAILURE_LOG_S", 0.0)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as captured:
        yield captured


def failures(name: str) -> int:
    """How often this task has failed, by the metrics."""
    (metric,) = FAILURES.collect()
    return int(sum(s.value for s in metric.samples if s.labels["task"] == name and s.name.endswith("_total")))


class Loop:
    """A loop that fails a number of times, then runs until the test lets it return."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.begun: list[float] = []
        self.lives = asyncio.Event()
        self.may_return = asyncio.Event()

    async def run(self) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        self.lives.set()
        await self.may_return.wait()


async def test_a_loop_that_raises_begins_again(logs: Logs) -> None:
    """Each failure is counted by the loop's name, and logged with its traceback."""
    before, loop = failures("raises"), Loop(RuntimeError("one"), KeyError("two"))
    task = background.forever("raises", loop.run)
    await loop.lives.wait()
    assert failures("raises") == before + 2
    assert [(entry["event"], entry["task"], entry["log_level"]) for entry in logs] == [
        ("task_failed", "raises", "error")
    ] * 2
    assert [str(entry["exc_info"]) for entry in logs] == ["one", "'two'"]
    assert logs[0]["exc_info"].__traceback__ is not None
    await background.end(task)


async def test_cancelling_ends_a_loop(logs: Logs) -> None:
    """It ends immediately, even in a pause, and does not count as a failure."""
    running, pausing = Loop(), Loop(RuntimeError("and a long pause"))
    first = background.forever("running", running.run)
    await running.lives.wait()
    limits_before, limits.LOOP_AGAIN_S = limits.LOOP_AGAIN_S, 60.0
    second = background.forever("pausing", pausing.run)
    await asyncio.sleep(0)
    limits.LOOP_AGAIN_S = limits_before
    for task in (first, second):
        await background.end(task)
        assert task.cancelled()
    assert (len(running.begun), len(pausing.begun)) == (1, 1)
    assert [entry["task"] for entry in logs] == ["pausing"]
    await background.end(first)  # ending it twice does no harm
    await background.end(None)


async def test_a_loop_that_returns_has_ended(logs: Logs) -> None:
    """A loop that returns is not restarted: it is stopping."""
    loop = Loop()
    task = background.forever("returns", loop.run)
    loop.may_return.set()
    await task
    assert len(loop.begun) == 1
    assert logs == []


async def test_what_a_loop_waits_for_may_be_cancelled(logs: Logs) -> None:
    """Cancelling what a loop waits for does not cancel the loop."""
    loop = Loop(asyncio.CancelledError())
    task = background.forever("waits", loop.run)
    await loop.lives.wait()
    assert failures("waits") == 1
    await background.end(task)


async def test_the_pause_is_bounded(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause doubles up to a bound, so a loop that always fails leaves time for others."""
    monkeypatch.setattr(limits, "LOOP_AGAIN_S", 0.01)
    monkeypatch.setattr(limits, "LOOP_AGAIN_S_MAX", 0.04)
    loop = Loop(*(RuntimeError(str(n)) for n in range(6)))
    task = background.forever("all the time", loop.run)
    await loop.lives.wait()
    pauses = [after - before for before, after in zip(loop.begun, loop.begun[1:], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.01, 0.02, 0.04, 0.04, 0.04, 0.04), strict=True))
    assert max(pauses) < 1.0
    await background.end(task)


async def test_a_storm_is_logged_once_in_a_while(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """All failures are counted; the log has one per name, later with the number left out."""
    monkeypatch.setattr(limits, "FAILURE_LOG_S", 60.0)
    for n in range(100):
        background.failed("storm", RuntimeError(str(n)), socket=n)
    background.failed("another", RuntimeError("heard"))
    assert failures("storm") == 100
    assert [(entry["task"], entry["unlogged"]) for entry in logs] == [("storm", 0), ("another", 0)]
    assert logs[0]["socket"] == 0
    monkeypatch.setattr(limits, "FAILURE_LOG_S", 0.0)
    background.failed("storm", RuntimeError("the last"))
    assert logs[-1]["unlogged"] == 99


async def test_a_task_that_raises_is_logged(logs: Logs) -> None:
    """A failure is logged even if nobody waits for the task, and the task is dropped."""
    tasks, before = Tasks("spawned"), failures("spawned")

    async def raises() -> None:
        raise RuntimeError("nobody waits")

    tasks.spawn(raises())
    assert len(tasks.running) == 1
    await tasks.wait()
    await asyncio.sleep(0)
    assert not tasks.running
    assert failures("spawned") == before + 1
    assert [str(entry["exc_info"]) for entry in logs] == ["nobody waits"]


async def test_a_shared_task_is_for_those_who_wait(logs: Logs) -> None:
    """Everybody who waits gets the exception; if nobody waits, nothing is logged."""
    tasks = Tasks("shared")

    async def raises() -> int:
        raise RuntimeError("to all")

    task = tasks.share(raises())
    outcomes = await asyncio.gather(asyncio.shield(task), asyncio.shield(task), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["to all"] * 2
    tasks.share(raises())
    await tasks.wait()
    gc.collect()
    assert logs == []


async def test_nobody_has_to_hold_a_task() -> None:
    """A task that nothing else refers to is kept, or it would be garbage-collected."""
    ended: list[str] = []
    tasks = Tasks("held")

    async def waits(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(name)

    tasks.spawn(waits("spawned"))
    tasks.share(waits("shared"))
    background.forever("held", lambda: waits("loop"))
    await asyncio.sleep(0)
    gc.collect()
    assert ended == []
    assert {"held"} == {task.get_name() for task in tasks.running}
    await tasks.end()
    assert sorted(ended) == ["shared", "spawned"]
    assert not tasks.running
    for task in [task for task in background._loops if task.get_name() == "held"]:
        await background.end(task)
    assert "loop" in ended


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_child_that_cannot_be_started_for_a_while(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """If the system cannot start a process, be it the first or a later one, the supervisor tries again."""
    monkeypatch.setattr(limits, "RESTART_S", 0.001)
    again, tries = asyncio.Event(), list[str]()

    def command() -> list[str]:
        tries.append("try")
        if len(tries) == failing:
            raise BlockingIOError("no more processes")
        if len(tries) == 3:
            again.set()
        return [sys.executable, "-c", "" if len(tries) < 3 else "import time; time.sleep(60)"]

    child = Child("child", command, {}, ())
    await child.start()
    async with asyncio.timeout(20):
        await again.wait()
    await child.stop(0.0)
    assert failures("child") == 0


async def test_the_metrics_show_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's metrics list every loop by name from the start, and count failures."""

    def at() -> dict[str, float]:
        found = re.findall(r'^liveroom_task_failures_total\{task="([^"]+)"\} (\S+)$', page, re.M)
        return {name: float(value) for name, value in found}

    page = (await site.http.get("/metrics")).text
    assert {"rooms", "wheel", "pace", "recovery", "audit-watch", "wallet-commit", "wallet-guard"} <= at().keys()
    before = at()["pace"]

    def late(_lag_s: float) -> None:
        raised.set()
        raise RuntimeError("late")

    raised = asyncio.Event()
    monkeypatch.setattr(site.node.pace, "late", late)
    await raised.wait()
    raised.clear()
    await raised.wait()  # the loop has been restarted
    page = (await site.http.get("/metrics")).text
    assert at()["pace"] >= before + 1
