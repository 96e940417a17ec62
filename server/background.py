"""Loops and tasks beside the others: none dies silently, and none is lost while it runs.

A task that nobody waits for keeps what it raised to itself, and the event loop holds it by a weak reference alone.
So tasks are made here and nowhere else (tests/test_tidy.py holds that).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter

from server import limits

log = structlog.get_logger()
T = TypeVar("T")

# Of this process; a node shows them with its metrics.
FAILURES = Counter(
    "liveroom_task_failures",
    "Times that something in the background raised what it should not.",
    ["task"],
    registry=None,
)
_loops: set[asyncio.Task[None]] = set()  # as many as there are calls of `forever`
_logged: dict[str, tuple[float, int]] = {}  # by name, when it was logged last, and how often it failed since


def failed(name: str, error: BaseException, **about: Any) -> None:
    """Count an error that ends here, and log it with its traceback: of each name one in a while, it may be a storm.

    `name` is of a fixed few: it is a label in the metrics.
    """
    FAILURES.labels(name).inc()
    now = time.monotonic()
    at, unlogged = _logged.get(name, (-limits.FAILURE_LOG_S, 0))
    if now - at < limits.FAILURE_LOG_S:
        _logged[name] = (at, unlogged + 1)
        return
    _logged[name] = (now, 0)
    log.error("task_failed", task=name, unlogged=unlogged, exc_info=error, **about)


def forever(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run a loop until it returns or is cancelled; when it raises, log and count that, and begin it again.

    The pause before grows while it goes on failing, up to LOOP_AGAIN_S_MAX.
    """
    FAILURES.labels(name)  # export 0 too: a rise from no value at all would not show
    task = asyncio.get_running_loop().create_task(_again(name, run), name=name)
    _loops.add(task)
    task.add_done_callback(_loops.discard)
    return task


async def _again(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    pause_s = limits.LOOP_AGAIN_S
    while True:
        began = loop.time()
        try:
            await run()
            return
        except asyncio.CancelledError as error:
            if current is None or current.cancelling():
                raise
            failed(name, error)  # something that it waited for was cancelled, not the loop
        except Exception as error:
            failed(name, error)
        if loop.time() - began > limits.LOOP_AGAIN_S_MAX:
            pause_s = limits.LOOP_AGAIN_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, limits.LOOP_AGAIN_S_MAX)


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task, if there is one, and wait until it has ended. Raises nothing of the task's."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        _retrieve(task)


class Tasks:
    """What an owner has under way: each is held until it has ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self.running: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something that nobody waits for: what it raises is logged and counted."""
        task = self._begin(coroutine)
        task.add_done_callback(self._ended)
        return task

    def share(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something for those who wait for it: what it raises is theirs, and nobody's when they are gone."""
        task = self._begin(coroutine)
        task.add_done_callback(self._shared)
        return task

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._loop is None:  # kept: until Python 3.12 each look for it is a system call, getpid
            self._loop = asyncio.get_running_loop()
        task = self._loop.create_task(coroutine, name=self._name)
        self.running.add(task)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(self._name, error)

    def _shared(self, task: "asyncio.Task[Any]") -> None:
        self.running.discard(task)
        _retrieve(task)

    async def wait(self) -> None:
        """Until nothing is under way, nor what that has begun."""
        while self.running:
            await asyncio.wait(self.running)

    async def end(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        for task in self.running:
            task.cancel()
        await self.wait()


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Take the outcome, so that no warning says that nobody did."""
    if not task.cancelled():
        task.exception()
