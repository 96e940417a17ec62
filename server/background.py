"""Background loops and tasks: none dies silently, and none is lost while it runs.

An exception in a task that nobody awaits is not reported, and the event loop holds tasks only by weak references.
So all tasks are made here (tests/test_tidy.py checks that).
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

# A node shows them with its metrics.
FAILURES = Counter(
    "liveroom_task_failures",
    "Unexpected exceptions in background loops and tasks.",
    ["task"],
    registry=None,
)
_loops: set[asyncio.Task[None]] = set()  # held here: the event loop has only weak references
_logged: dict[str, tuple[float, int]] = {}  # by name: when it was last logged, and how often it has failed since


def failed(name: str, error: BaseException, **about: Any) -> None:
    """Count an error, and log its traceback, at most once per FAILURE_LOG_S for each name: errors may come in storms.

    `name` must be one of a fixed few, because it is a label in the metrics.
    """
    FAILURES.labels(name).inc()
    now = time.monotonic()
    at, unlogged = _logged.get(name, (-limits.FAILURE_LOG_S, 0))
    if now - at < limits.FAILURE_LOG_S:
        _logged[name] = (at, unlogged + 1)
        return
    _logged[name] = (now, 0)
    log.error("task_failed", task=name, unlogged=unlogged, exc_info=error, **about)


def trouble(task: asyncio.Task[Any]) -> str | None:
    """Why a task that somebody waited for has brought nothing; None if it has."""
    if not task.done():
        return "it did not come in time"
    error = task.exception()
    return None if error is None else str(error)


def forever(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run a loop until it returns or is cancelled. If it raises, log and count that, and start it again.

    The pause before the restart grows with each failure, up to LOOP_AGAIN_S_MAX.
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
            failed(name, error)  # not the loop itself was cancelled, but something that it awaited
        except Exception as error:
            failed(name, error)
        if loop.time() - began > limits.LOOP_AGAIN_S_MAX:
            pause_s = limits.LOOP_AGAIN_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, limits.LOOP_AGAIN_S_MAX)


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task, if there is one, and wait for its end. Does not raise the task's exception."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        _retrieve(task)


class Tasks:
    """The running tasks of an owner. Each is held until it has ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self.running: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine that nobody awaits: its exception is logged and counted."""
        task = self._begin(coroutine)
        task.add_done_callback(self._ended)
        return task

    def share(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine for those who await the task: they get its exception. If they are gone, nobody does."""
        task = self._begin(coroutine)
        task.add_done_callback(self._shared)
        return task

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._loop is None:  # cached: until Python 3.12 each call makes a system call, getpid
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
        """Wait until no task runs, including those that they start."""
        while self.running:
            await asyncio.wait(self.running)

    async def end(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self.running:
            task.cancel()
        await self.wait()


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Retrieve the exception, so that asyncio does not warn about it."""
    if not task.cancelled():
        task.exception()
