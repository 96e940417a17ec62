"""Reads entries from the ledger log."""

import asyncio
from typing import Any, cast

from server.journal.books import parse
from server.journal.ledger import Logs
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore

Position = tuple[int, int]  # a log id: epoch and number


def after(position: Position) -> str:
    """The start of an XRANGE that reads what follows."""
    return f"({position[0]}-{position[1]}"


async def read_some(
    wallet: Store | ClusterStore, start: dict[int, str], count: int
) -> tuple[Logs, dict[int, StoreError]]:
    """Up to `count` entries of each partition from its `start`, and why partitions could not be read.

    Partitions without entries are left out. One that cannot be read stops no other.
    """
    asked: dict[int, asyncio.Future[Any]] = {}
    unread: dict[int, StoreError] = {}
    for partition, each in start.items():
        try:
            asked[partition] = wallet.send("XRANGE", keys.log(partition), each, "+", "COUNT", count)
        except StoreError as error:
            unread[partition] = error
    replies = await asyncio.gather(*asked.values(), return_exceptions=True)
    logs: Logs = {}
    for partition, rows in zip(asked, replies, strict=True):
        if isinstance(rows, StoreError):
            unread[partition] = rows
        elif isinstance(rows, BaseException):
            raise rows
        elif rows:
            logs[partition] = [parse(row) for row in cast(list[Any], rows)]
    return logs, unread


async def read_logs(wallet: Store | ClusterStore, start: dict[int, str], count: int) -> Logs:
    """Like `read_some`, but without the reasons. Raises StoreError when no partition can be read."""
    logs, unread = await read_some(wallet, start, count)
    if unread and len(unread) == len(start):
        raise next(iter(unread.values()))
    return logs
