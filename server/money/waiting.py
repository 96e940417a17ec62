"""Gifts that wait for the wallet store, and how each of them gets its outcome."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from protocol.ids import uuid7_ms
from server import limits
from server.money.results import Paid, Spend, unavailable
from server.store import keys
from server.store.client import Arg


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


def spend_arguments(
    batch: Sequence[Waiting], epoch_of: Callable[[int], str], site_limit: int
) -> tuple[list[str], list[Arg]]:
    """The keys and arguments of `wallet_spend`, by position: this is the hot path. Raises what `epoch_of` raises."""
    names: list[str] = []
    args: list[Arg] = [limits.GIFT_ID_LIFE_MS, limits.GIFT_ID_AHEAD_MS, limits.COMBO_COUNT_S, site_limit]
    for waiting in batch:
        spend = waiting.spend
        id_ms = uuid7_ms(spend.gift_id)
        partition, gift_keys = keys.spend_keys(spend.viewer, spend.creator, spend.gift_id, id_ms, spend.combo)
        names += gift_keys
        args += (
            epoch_of(partition),
            id_ms,
            spend.fingerprint,
            spend.coins,
            spend.diamonds,
            spend.count,
            1 if spend.combo else 0,
            spend.entry,
        )
    return names, args


def retrieve(future: "asyncio.Future[Any]") -> None:
    """Silence asyncio's warning: the sender may be gone, and the receipt has the outcome."""
    if not future.cancelled():
        future.exception()
