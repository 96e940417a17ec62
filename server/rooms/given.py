"""What was given in a room until one of its events: counted again from the journal when the room store has lost it.

The journal has gifts that the room has not shown yet, and the room has shown gifts that are not journaled yet. So a
gift of the last day counts if its once-key has an earlier seq; one that is not journaled yet is in the room's history.
"""

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import Struct

from protocol.gifts import GiftSent
from server import limits
from server.journal import given as journal
from server.journal.database import ask
from server.journal.given import Given, TakenBack
from server.rooms.room import Services
from server.store import keys

ONCE, REFUNDED = "once", "refunded"  # the keys of features.gifts


class Gift(Struct, frozen=True):
    """A gift without what was taken back of it. `user_id` is empty for an anonymous one."""

    id: str
    user_id: str
    name: str
    gift: str
    count: int
    coins: int
    at_ms: int


async def given_before(services: Services, room_id: str, seq: int, since_ms: int) -> list[Gift]:
    """The gifts since a time that the room has counted when it was at `seq`. Raises StoreError, SQLAlchemyError."""
    found, parts = await ask(_read, services, room_id, since_ms, within_s=limits.GIVEN_S)
    recent_ms = services.clock.now_ms() - limits.ONCE_S * 1000
    recent = [gift for gift in found if gift.at_ms >= recent_ms]
    once = await _seqs(services, [keys.room(room_id, ONCE, gift.id) for gift in recent])
    later = {gift.id for gift, shown in zip(recent, once, strict=True) if not _counted(shown, seq)}
    not_yet = await not_taken_back_yet(services, room_id, parts, seq)
    counted = [_without(gift, parts, not_yet) for gift in found if gift.id not in later]
    return counted + await _only_shown(services, room_id, seq, since_ms, {gift.id for gift in found})


async def not_taken_back_yet(services: Services, room_id: str, parts: Sequence[TakenBack], seq: int) -> set[TakenBack]:
    """Those of these parts that the room had not taken back at `seq`. Raises StoreError."""
    recent_ms = services.clock.now_ms() - limits.ONCE_S * 1000
    new = [part for part in parts if part.at_ms >= recent_ms]
    names = [keys.room(room_id, REFUNDED, part.kind, part.reversal, part.user_id, part.gift_id) for part in new]
    back = await _seqs(services, names)
    return {part for part, shown in zip(new, back, strict=True) if not _counted(shown, seq)}


def _read(services: Services, room_id: str, since_ms: int) -> tuple[list[Given], list[TakenBack]]:
    return list(journal.gifts(services.engine, room_id, since_ms)), journal.taken_back(services.engine, room_id)


async def _seqs(services: Services, names: Sequence[str]) -> list[bytes | None]:
    found: list[bytes | None] = []
    for first in range(0, len(names), limits.RETELL_ASKED):
        some = names[first : first + limits.RETELL_ASKED]
        found += cast(list[bytes | None], await services.history.store.call("MGET", *some))
    return found


def _counted(shown: bytes | None, seq: int) -> bool:
    """Whether a once-key says that the room had counted it."""
    return shown is not None and (not shown.isdigit() or int(shown) <= seq)


def _without(gift: Given, parts: Sequence[TakenBack], not_yet: set[TakenBack]) -> Gift:
    gone = [
        part.coins for part in parts if part.gift_id == gift.id and part.user_id == gift.user_id and part not in not_yet
    ]
    count = gift.count - sum(coins * gift.count // gift.coins for coins in gone)
    user_id = "" if gift.anonymous else gift.user_id
    return Gift(gift.id, user_id, gift.name, gift.gift, count, gift.coins - sum(gone), gift.at_ms)


async def _only_shown(services: Services, room_id: str, seq: int, since_ms: int, known: set[str]) -> list[Gift]:
    """Gifts of the room's history that are not journaled yet."""
    found = []
    for event in await services.history.kept(room_id, max(0, seq - limits.HISTORY_EVENTS_MAX), seq):
        if event.tag == "gifts.sent":
            sent = msgspec.json.decode(event.json, type=GiftSent)
            if sent.id not in known and sent.at_ms >= since_ms:
                user_id = "" if "anonymous" in sent.from_.badges else sent.from_.user_id
                gift = Gift(sent.id, user_id, sent.from_.name, sent.gift.id, sent.count, sent.coins, sent.at_ms)
                found.append(gift)
    return found
