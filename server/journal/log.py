"""Reads entries from the ledger log."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

from server.journal.books import parse
from server.journal.ledger import Logs
from server.store import keys
from server.store.client import Arg, Store, StoreError
from server.store.cluster import ClusterStore

Position = tuple[int, int]  # a log id: epoch and number


def after(position: Position) -> str:
    """The start of an XRANGE that reads what follows."""
    return f"({position[0]}-{position[1]}"


async def read_opened(wallet: Store | ClusterStore, partitions: Iterable[int]) -> dict[int, str]:
    """On which store each partition was last opened, as it recorded itself. Those that cannot be read are left out."""
    found, _ = await _ask_each(wallet, {p: ("HGET", keys.wallet_meta(p), "opened") for p in partitions})
    return {partition: (reply or b"").decode() for partition, reply in found.items()}


async def read_some(
    wallet: Store | ClusterStore, start: dict[int, str], count: int
) -> tuple[Logs, dict[int, StoreError]]:
    """Up to `count` entries of each partition from its `start`, and why partitions could not be read.

    Partitions without entries are left out. One that cannot be read stops no other.
    """
    commands: dict[int, tuple[Arg, ...]] = {
        partition: ("XRANGE", keys.log(partition), each, "+", "COUNT", count) for partition, each in start.items()
    }
    found, unread = await _ask_each(wallet, commands)
    logs: Logs = {p: [parse(row) for row in cast(list[Any], rows)] for p, rows in found.items() if rows}
    return logs, unread


async def read_logs(wallet: Store | ClusterStore, start: dict[int, str], count: int) -> Logs:
    """Like `read_some`, but without the reasons. Raises StoreError when no partition can be read."""
    logs, unread = await read_some(wallet, start, count)
    if unread and len(unread) == len(start):
        raise next(iter(unread.values()))
    return logs


async def _ask_each(
    wallet: Store | ClusterStore, commands: Mapping[int, tuple[Arg, ...]]
) -> tuple[dict[int, Any], dict[int, StoreError]]:
    """Send one command for each partition. Return the replies, and the errors."""
    asked: dict[int, asyncio.Future[Any]] = {}
    errors: dict[int, StoreError] = {}
    for partition, command in commands.items():
        try:
            asked[partition] = wallet.send(*command)
        except StoreError as error:
            errors[partition] = error
    found: dict[int, Any] = {}
    for partition, reply in zip(asked, await asyncio.gather(*asked.values(), return_exceptions=True), strict=True):
        if isinstance(reply, StoreError):
            errors[partition] = reply
        elif isinstance(reply, BaseException):
            raise reply
        else:
            found[partition] = reply
    return found, errors
