"""Reads the receipts of gifts: what the wallet store keeps so that a gift is paid once.

A gift's receipt is a field of a hash. A program of before money time wrote a string for each gift.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from protocol.ids import uuid7_ms
from server.store import keys
from server.store.client import Arg, Link, Store
from server.store.cluster import ClusterStore

Command: TypeAlias = Sequence[Arg]


class Place(NamedTuple):
    """Where a gift's receipt is."""

    key: str
    field: str


def in_hash(viewer_id: str, gift_id: str) -> Place | None:
    """The place of a gift's receipt, or None if that is not a gift's id."""
    try:
        id_ms = uuid7_ms(gift_id)
    except ValueError:
        return None
    return Place(keys.receipts(keys.partition_of(viewer_id), id_ms), keys.receipts_field(viewer_id, gift_id))


def as_string(user_id: str, operation: str) -> Command:
    """The command that reads the receipt of an order, or of a gift that an older program paid."""
    return ("GET", keys.receipt(user_id, operation))


def asking(viewer_id: str, gift_id: str) -> tuple[Command, Command]:
    """The commands that read a gift's receipt: it has at most one of them. `of` takes their replies."""
    place, string = in_hash(viewer_id, gift_id), as_string(viewer_id, gift_id)
    return string if place is None else ("HGET", *place), string


def of(replies: Sequence[bytes | None]) -> bytes | None:
    """A gift's receipt from the replies to `asking`, or None when the store has none."""
    return next((reply for reply in replies if reply is not None), None)


async def read(store: Store | ClusterStore | Link, viewer_id: str, gift_id: str) -> bytes | None:
    """A gift's receipt `<fingerprint> <balance> <combo count> <log id>`, or None. Raises StoreError."""
    return of([await store.call(*command) for command in asking(viewer_id, gift_id)])
