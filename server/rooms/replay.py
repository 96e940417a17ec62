"""What somebody has missed; and behind a gap its gifts, which must not fall into it, and the newest chats."""

import asyncio
from collections.abc import Sequence

from server import limits
from server.rooms.history import Recorded
from server.rooms.newest import newest_chats
from server.rooms.room import Room

MONEY = "gifts."  # nothing else: a `room.ended` of the past would mislead


class _Missed:
    """The room's newest events up to `to`, as the history has them: one read serves everybody who comes back."""

    __slots__ = ("events", "lock", "to")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.events: list[Recorded] = []
        self.to = 0


async def missed_events(room: Room, seq: int, to: int) -> list[Recorded] | None:
    """All events after `seq` up to `to`, or None if they are too many, or gone. Raises StoreError."""
    if seq > to or to - seq > limits.REPLAY_EVENTS_MAX:
        return None
    if (events := room.outbox.after(seq, to)) is not None:
        return events
    missed: _Missed = room.memory("missed", _Missed)
    async with missed.lock:
        if missed.to < to:
            missed.events = await room.services.history.kept(room.id, max(0, to - limits.REPLAY_EVENTS_MAX), to)
            missed.to = to
        events = [event for event in missed.events if seq < event.seq <= to]
    return events if len(events) == to - seq else None


class _Kept:
    """The money in the room's history up to `to`: one read serves everybody who comes back."""

    __slots__ = ("lock", "money", "to")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.money: list[Recorded] = []
        self.to = 0


async def again(room: Room, epoch: str, seq: int, to: int, chats: int) -> list[Recorded]:
    """The gifts up to `to`, and up to `chats` of the newest chats, that this position misses, in order.

    Of another epoch they may come twice: clients know both by their ids. Raises StoreError.
    """
    said = await newest_chats(room, chats, to)
    if epoch == room.epoch and seq <= to:
        said = [event for event in said if event.seq > seq]
    elif epoch == room.prev and room.base is not None:
        said = [event for event in said if event.seq > min(seq, room.base)]
    return sorted((*await money_again(room, epoch, seq, to), *said), key=lambda event: event.seq)


async def money_again(room: Room, epoch: str, seq: int, to: int) -> list[Recorded]:
    """The gifts up to `to` that somebody who was at `seq` of this or another epoch may have missed. Raises StoreError.

    With a new epoch the store may have lost what they saw last, and have shown it again under other seqs: clients know
    a gift by its id.
    """
    if epoch == room.epoch:
        after = seq
    elif room.base is None:
        return []
    else:
        after = min(seq, room.base) if epoch == room.prev else room.base
    events = room.outbox.after(after, to)
    money = await _from_history(room, after, to) if events is None else _money(events)
    return money[-limits.REPLAY_EVENTS_MAX :]


async def _from_history(room: Room, after: int, to: int) -> list[Recorded]:
    kept: _Kept = room.memory("replay", _Kept)
    async with kept.lock:
        since = room.outbox.after(kept.to, to)
        if since is None:
            read = await room.services.history.kept(room.id, 0, to)
            kept.money, kept.to, since = _money(read)[-limits.REPLAY_EVENTS_MAX :], to, []
    return [event for event in (*kept.money, *_money(since)) if after < event.seq <= to]


def _money(events: Sequence[Recorded]) -> list[Recorded]:
    return [event for event in events if event.tag.startswith(MONEY)]
