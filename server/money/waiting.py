"""Gifts that wait for the wallet store, and how each of them gets its outcome."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from server.money.results import Paid, Spend, unavailable
from server.store import keys


class Waiting:
    """A queued gift, and the future that its sender awaits."""

    __slots__ = ("future", "spend")

    def __init__(self, spend: Spend, future: "asyncio.Future[Paid]") -> None:
        self.spend = spend
        self.future = future


def fail(batch: Sequence[Waiting], error: Exception | None = None) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error or unavailable())


def fail_closed(batch: list[Waiting], epochs: Collection[int]) -> list[Waiting]:
    """Fail the gifts of partitions that are not among these open ones. Return the others."""
    closed = [waiting for waiting in batch if keys.partition_of(waiting.spend.viewer) not in epochs]
    fail(closed)
    return [waiting for waiting in batch if waiting not in closed] if closed else batch


def retrieve(future: "asyncio.Future[Any]") -> None:
    """Silence asyncio's warning: the sender may be gone, and the receipt has the outcome."""
    if not future.cancelled():
        future.exception()
