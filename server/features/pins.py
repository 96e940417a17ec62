"""Pins: staff keeps a message or a gift in sight. Big gifts pin themselves, for as long as the catalogue says."""

from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.chat import ChatDeleted, ChatPinned, ChatUnpinned, PinChat, UnpinChat
from protocol.gifts import GiftSent
from protocol.pins import Pin, PinsRefusal
from protocol.refusals import Refused
from protocol.wire import encode
from server.rooms.lookup import find_event
from server.rooms.registry import every, handles, reacts, snapshot_part
from server.rooms.room import Member, Room
from server.rooms.staff import Deed, actor, check, note
from server.store import scripts
from server.store.client import StoreError
from server.store.scripts import hole

PINS_MAX = 20  # per room: what people can look at, some kilobytes of each snapshot
SET = scripts.load("pins_set")
SWEEP = scripts.load("pins_sweep")
SCRIPTS = (SET, SWEEP)
_PINNABLE = ("chat.sent", "gifts.sent")


class _Pins:
    """Whether some of the room's pins may have a time."""

    __slots__ = ("timed",)

    def __init__(self) -> None:
        self.timed = True  # a node that died may have left some


@handles(PinChat)
async def pin_chat(room: Room, member: Member, command: PinChat) -> None:
    """Pin it for everybody. Raises Refused."""
    by = actor(member)
    deed = Deed(act="chat.pin", data={"id": command.id, "seconds": command.seconds})
    check(room, by, deed)
    found = await find_event(room, command.id, _PINNABLE)
    if found is None:
        raise Refused(PinsRefusal.UNKNOWN_EVENT)
    until_ms = None if command.seconds is None else room.services.clock.now_ms() + command.seconds * 1000
    event = msgspec.json.decode(found.json, type=dict[str, Any])
    outcome = await _pin(room, Pin(id=command.id, event=event, by=by.named, until_ms=until_ms))
    if outcome == b"full":
        raise Refused(PinsRefusal.TOO_MANY_PINS)
    await note(room.services, room.id, by, deed)


@handles(UnpinChat)
async def unpin_chat(room: Room, member: Member, command: UnpinChat) -> None:
    """Take a pin off. Raises Refused."""
    by, deed = actor(member), Deed(act="chat.unpin", data={"id": command.id})
    check(room, by, deed)
    if not await _sweep(room, ids=[command.id]):
        raise Refused(PinsRefusal.UNKNOWN_EVENT)
    await note(room.services, room.id, by, deed)


@reacts(GiftSent)
def gift_pins_itself(room: Room, event: GiftSent) -> None:
    gift = room.services.catalogue.get(event.gift.id)
    if gift is not None and gift.pin_s and not event.test:
        room.spawn(_pin_gift(room, event, gift.pin_s))


async def _pin_gift(room: Room, event: GiftSent, pin_s: int) -> None:
    """Every node of the room tries; the first pins it."""
    until_ms = event.at_ms + pin_s * 1000
    if until_ms > room.services.clock.now_ms():
        try:
            await _pin(room, Pin(id=event.id, event=msgspec.to_builtins(event), by=None, until_ms=until_ms))
        except StoreError:  # nothing is lost but a pin
            return


@reacts(ChatPinned)
def pin_may_end(room: Room, _event: ChatPinned) -> None:
    pins: _Pins = room.memory("pins", _Pins)
    pins.timed = True


@reacts(ChatDeleted)
def deleted_is_not_pinned(room: Room, event: ChatDeleted) -> None:
    room.spawn(_unpin_deleted(room, event))


async def _unpin_deleted(room: Room, event: ChatDeleted) -> None:
    await _sweep(room, ids=event.ids, user_ids=event.user_ids)


@every(1.0)
async def end_pins(room: Room) -> None:
    """Take off the pins whose time is over. Every node of the room does this."""
    pins: _Pins = room.memory("pins", _Pins)
    if pins.timed:
        pins.timed = False
        try:
            await _sweep(room)
        except BaseException:
            pins.timed = True
            raise


async def _pin(room: Room, pin: Pin) -> bytes:
    event = ChatPinned(id=room.services.clock.new_id(), pin=pin)
    outcome = await room.services.history.change(
        room.id, SET, pin_id=pin.id, pin=encode(pin), most=PINS_MAX, event=encode(event)
    )
    return bytes(outcome[0])


async def _sweep(room: Room, *, ids: Iterable[str] = (), user_ids: Iterable[str] = ()) -> int:
    """Take off what is over, and these. Returns how many went."""
    pins: _Pins = room.memory("pins", _Pins)
    removed, timed = await room.services.history.change(
        room.id,
        SWEEP,
        ids=msgspec.json.encode(dict.fromkeys(ids, True)),
        user_ids=msgspec.json.encode(dict.fromkeys(user_ids, True)),
        ended_id=room.services.clock.new_id(),
        event=encode(ChatUnpinned(id=hole("id"), pin=hole("pin"))),
    )
    pins.timed = pins.timed or int(timed) > 0
    return int(removed)


@snapshot_part("pins")
def pins_of(state: dict[str, str]) -> tuple[Pin, ...]:
    found = [msgspec.json.decode(value, type=Pin) for field, value in state.items() if field.startswith("pin:")]
    return tuple(sorted(found, key=lambda pin: pin.event.get("seq", 0)))
