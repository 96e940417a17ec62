"""Balances that cannot be published: every reply and welcome has them, too, so nobody is alarmed."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.session import Cause
from server.edge.balances import Balances
from server.money.results import Change
from server.store.client import StoreError


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_balance_that_cannot_be_published(cancelled: bool) -> None:
    """Whether the call fails or is cancelled, the loop has nothing to report."""
    loop, reported = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    calls = [loop.create_future()]
    balances = Balances("n1", SimpleNamespace(send=lambda *_: calls[0]))  # type: ignore[arg-type]
    balances.changed([Change(user_id="alice", coins=5, cause=Cause.GIFT, ref="g1", entry="1-1")])
    if cancelled:
        calls[0].cancel()
    else:
        calls[0].set_exception(StoreError("the bus is away"))
    for _ in range(3):
        await asyncio.sleep(0)
    calls.clear()
    gc.collect()
    assert reported == []
