"""Reads the receipts of gifts: what the wallet store keeps so that a gift is paid once.

A gift's receipt is a field of a hash. A program of before money time wrote a string for each gift.
"""

from collections.abc import Sequence
from typing import TypeAlias

from protocol.ids import uuid7_ms
from server.store import keys
from server.store.client import Arg, Link, Store
from server.store.cluster import ClusterStore

Commands: TypeAlias = tuple[Sequence[Arg], Sequence[Arg]]


def asking(viewer_id: str, gift_id: str) -> Commands:
    """The commands that read a gift's receipt: it has at most one of them. `of` takes their replies."""
    partition = keys.partition_of(viewer_id)
    return (
        ("HGET", keys.receipts(partition, uuid7_ms(gift_id)), keys.receipts_field(viewer_id, gift_id)),
        ("GET", keys.receipt(viewer_id, gift_id)),
    )


def of(replies: Sequence[bytes | None]) -> bytes | None:
    """A gift's receipt from the replies to `asking`, or None when the store has none."""
    return next((reply for reply in replies if reply is not None), None)


async def read(store: Store | ClusterStore | Link, viewer_id: str, gift_id: str) -> bytes | None:
    """A gift's receipt `<fingerprint> <balance> <combo count> <log id>`, or None. Raises StoreError."""
    return of([await store.call(*command) for command in asking(viewer_id, gift_id)])
