"""Reads entries from the ledger log."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from server.journal.books import parse
from server.journal.ledger import Logs
from server.store import keys
from server.store.client import Store
from server.store.cluster import ClusterStore

Position = tuple[int, int]  # a log id: epoch and number


def after(position: Position) -> str:
    """The start of an XRANGE that reads what follows."""
    return f"({position[0]}-{position[1]}"


async def read_opened(wallet: Store | ClusterStore, partitions: Iterable[int]) -> dict[int, str]:
    """On which store each partition was last opened, as it recorded itself. Raises StoreError."""
    asked = [(p, wallet.send("HGET", keys.wallet_meta(p), "opened")) for p in partitions]
    replies = await asyncio.gather(*(reply for _, reply in asked))
    return {p: (reply or b"").decode() for (p, _), reply in zip(asked, replies, strict=True)}


async def read_logs(wallet: Store | ClusterStore, start: dict[int, str], count: int) -> Logs:
    """Up to `count` entries of each partition from its `start`. Partitions without entries are left out.

    Raises StoreError.
    """
    asked = [(p, wallet.send("XRANGE", keys.log(p), each, "+", "COUNT", count)) for p, each in start.items()]
    replies = await asyncio.gather(*(reply for _, reply in asked))
    return {
        p: [parse(row) for row in cast(list[Any], rows)] for (p, _), rows in zip(asked, replies, strict=True) if rows
    }
