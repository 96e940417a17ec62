"""Gifts that wait for the wallet store, and how each of them gets its outcome."""

import asyncio
from collections.abc import Sequence
from typing import Any

from server.money.results import Paid, Spend, unavailable


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


def retrieve(future: "asyncio.Future[Any]") -> None:
    """Silence asyncio's warning: the sender may be gone, and the receipt has the outcome."""
    if not future.cancelled():
        future.exception()
