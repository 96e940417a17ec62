"""What becomes of the outcomes that nobody waits for any more."""

import asyncio
import gc

import pytest

from protocol.refusals import Refused
from server.money.results import Paid, unavailable
from server.money.store import _retrieve
from server.money.waiting import Waiting, fail, retrieve
from tests.money import a_gift


@pytest.mark.parametrize("callback", [retrieve, _retrieve])
async def test_an_outcome_without_a_reader(callback: object) -> None:
    """A sender that is gone makes no noise: neither a cancelled one nor one whose gift failed."""
    noise: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: noise.append(context))
    for cancelled in (True, False):
        future: asyncio.Future[Paid] = loop.create_future()
        future.add_done_callback(callback)  # type: ignore[arg-type]
        future.cancel() if cancelled else future.set_exception(unavailable())
        await asyncio.sleep(0)
        del future
        gc.collect()
    assert noise == []


async def test_gifts_that_fail_together() -> None:
    """Each sender gets the error, or `wallet_unavailable`; an answer that is there stays."""
    loop = asyncio.get_running_loop()
    waiting = [Waiting(a_gift(), loop.create_future()) for _ in range(3)]
    paid = Paid(balance=1, combo_count=0, entry_id="1-1", duplicate=False, first=True)
    waiting[0].future.set_result(paid)
    fail(waiting[:2])
    fail(waiting, KeyError("another"))
    assert waiting[0].future.result() == paid
    assert isinstance(waiting[1].future.exception(), Refused)
    assert isinstance(waiting[2].future.exception(), KeyError)
