"""The ledger log as it is read: where to begin, and what stands there."""

import asyncio
from typing import Any, cast

from server.journal.books import parse
from server.journal.ledger import Logs
from server.store import keys
from server.store.client import Store
from server.store.cluster import ClusterStore

Position = tuple[int, int]  # epoch and number of an entry


def after(position: Position) -> str:
    """Where XRANGE begins to read behind it."""
    return f"({position[0]}-{position[1]}"


async def read_logs(wallet: Store | ClusterStore, start: dict[int, str], count: int) -> Logs:
    """Up to `count` entries of each partition from where `start` says; partitions with none are left out.

    Raises StoreError.
    """
    asked = [(p, wallet.send("XRANGE", keys.log(p), each, "+", "COUNT", count)) for p, each in start.items()]
    replies = await asyncio.gather(*(reply for _, reply in asked))
    return {
        p: [parse(row) for row in cast(list[Any], rows)] for (p, _), rows in zip(asked, replies, strict=True) if rows
    }
