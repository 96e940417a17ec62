"""Gifts: paid in the wallet first, then shown in the room once, whoever of node and journal comes to it."""

from collections import deque
from collections.abc import Sequence

import msgspec
import structlog
from msgspec import Struct

from protocol.gifts import Combo, Gift, GiftComboEnded, GiftRef, GiftSent, OpenCombo, SendGift, SendGiftOk, ShownGift
from protocol.refusals import Refusal, Refused
from protocol.wire import User, encode
from server import limits
from server.entries import GiftEntry
from server.money.results import Spend, fingerprint
from server.rooms.history import History, NoSuchRoom
from server.rooms.registry import every, handles, on_joined, reacts, snapshot_part
from server.rooms.room import Member, Room
from server.store import keys, scripts
from server.store.client import Arg, StoreError
from server.store.scripts import hole

log = structlog.get_logger()

SHOW = scripts.load("gifts_show")
END_COMBOS = scripts.load("gifts_end_combos")
ONCE = keys.of_room("once", "String per gift: the seq under which the room showed it.")
SCRIPTS = (SHOW, END_COMBOS)


class Showable(Struct, frozen=True):
    """A paid gift, as the ledger has it and as the room is told, all but its streak."""

    entry: GiftEntry
    shown: GiftSent
    combo_count: int


@handles(SendGift)
async def send_gift(room: Room, member: Member, command: SendGift) -> SendGiftOk:
    """Debit, credit, receipt and ledger entry in one step on disk; then the room is told."""
    try:
        gift = _checked(room, member, command)
    except Refused as refused:  # now; but this id may have been paid before the room, or the catalogue, changed
        return await _paid_before(room, member, command, refused)
    spend, entry, shown = _spend(room, member, command, gift)
    paid = await room.services.wallet.spend(spend)
    combo = Combo(command.combo, paid.combo_count) if command.combo else None
    # The entry of a try that did not pay is not the one in the ledger: host and broadcast may have changed since. If
    # the one that paid died here, the journal shows it.
    if paid.first:
        _show_soon(room, Showable(entry, shown, paid.combo_count))
    return SendGiftOk(id=command.id, duplicate=paid.duplicate, coins=paid.balance, combo=combo, entry=paid.entry_id)


async def _paid_before(room: Room, member: Member, command: SendGift, refused: Refused) -> SendGiftOk:
    """The first outcome of an id that was paid. Raises `refused` when it was not."""
    found = await room.services.wallet.find(member.user_id, command.id)
    if found is None:
        raise refused
    if found.fingerprint != _fingerprint(room, command):
        raise Refused(Refusal.CONFLICT)
    combo = Combo(command.combo, found.combo_count) if command.combo else None
    return SendGiftOk(id=command.id, duplicate=True, coins=found.balance, combo=combo, entry=found.entry_id)


def _fingerprint(room: Room, command: SendGift) -> str:
    """Of what the sender sent: prices and hosts may change between two tries."""
    return fingerprint(room.id, command.gift, command.count, command.to, command.combo, command.message)


def _checked(room: Room, member: Member, command: SendGift) -> Gift:
    """What can be refused before any coin is looked at. Raises Refused."""
    about, to = room.about, command.to or room.about.host.user_id
    if about.status != "live":
        raise Refused(Refusal.ROOM_NOT_LIVE)
    if not about.settings.gifts:
        raise Refused(Refusal.GIFTS_OFF)
    gift = room.services.catalogue.get(command.gift)
    if gift is None:
        raise Refused(Refusal.UNKNOWN_GIFT)
    if to == member.user_id:
        raise Refused(Refusal.SELF_GIFT)
    if to != about.host.user_id:
        raise Refused(Refusal.RECEIVER_NOT_ELIGIBLE)
    return gift


def _spend(room: Room, member: Member, command: SendGift, gift: Gift) -> tuple[Spend, GiftEntry, GiftSent]:
    host = room.about.host
    coins, diamonds = gift.coins * command.count, gift.diamonds * command.count
    shown = GiftSent(
        id=command.id,
        from_=member.shown(),
        to=User(user_id=host.user_id, name=host.name, role="host", badges=()),
        gift=ShownGift(gift.id, gift.name, gift.coins, gift.tier, gift.animation),
        count=command.count,
        coins=coins,
        diamonds=diamonds,
        message=command.message,
        test=False,
        combo=None,
    )
    print_ = _fingerprint(room, command)
    entry = GiftEntry(
        id=command.id,
        viewer=member.user_id,
        viewer_name=member.name,
        creator=host.user_id,
        room=room.id,
        broadcast=room.about.broadcast_id,
        gift=gift.id,
        count=command.count,
        coins=coins,
        diamonds=diamonds,
        combo=command.combo,
        fp=print_,
        show=msgspec.Raw(encode(shown)),
    )
    spend = Spend(
        gift_id=command.id,
        viewer=member.user_id,
        creator=host.user_id,
        coins=coins,
        diamonds=diamonds,
        count=command.count,
        combo=command.combo,
        fingerprint=print_,
        entry=encode(entry),
    )
    return spend, entry, shown


class _Showing:
    """Paid gifts that this node has yet to show in a room: those that come while a call is under way share the next."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Showable] = deque()
        self.running = False


def _show_soon(room: Room, gift: Showable) -> None:
    showing: _Showing = room.memory("showing", _Showing)
    if len(showing.waiting) >= limits.SHOW_QUEUE_MAX:
        log.info("gifts_shown_later", room=room.id, gifts=1, error="too many wait")  # by the journal, from the ledger
        return
    showing.waiting.append(gift)
    if not showing.running:
        showing.running = True
        room.spawn(_keep_showing(room, showing))


async def _keep_showing(room: Room, showing: _Showing) -> None:
    try:
        while waiting := showing.waiting:
            some = [waiting.popleft() for _ in range(min(len(waiting), limits.SHOW_BATCH_MAX))]
            try:
                await _show(room.services.history, room.id, some)
            except (StoreError, NoSuchRoom) as error:
                log.info("gifts_shown_later", room=room.id, gifts=len(some), error=str(error))
    finally:
        showing.running = False


async def show_gift(history: History, entry: GiftEntry, combo_count: int) -> bool:
    """Show a paid gift in its room unless that was done before; whether it was new. Raises StoreError, NoSuchRoom."""
    shown = msgspec.json.decode(entry.show, type=GiftSent)
    [new] = await _show(history, entry.room, [Showable(entry, shown, combo_count)])
    return new


async def _show(history: History, room_id: str, gifts: Sequence[Showable]) -> list[bool]:
    """Board, totals, streaks and events move in one script; which gifts were new. Raises StoreError, NoSuchRoom.

    A gift of a broadcast after which another has begun is neither shown nor counted.
    """
    outcomes = await history.change(
        room_id,
        SHOW,
        once_s=limits.ONCE_S,
        gap_ms=limits.COMBO_GAP_MS,
        combos_max=limits.OPEN_COMBOS_MAX,
        each=[_shown_args(room_id, gift) for gift in gifts],
    )
    if any(outcome[0] == b"no_room" for outcome in outcomes):
        raise NoSuchRoom(room_id)
    for gift, outcome in zip(gifts, outcomes, strict=True):
        if outcome[0] == b"other_broadcast":
            history.other_broadcast += 1
            log.warning(
                "gift_of_another_broadcast",
                gift_id=gift.entry.id,
                room=room_id,
                broadcast=gift.entry.broadcast,
                current=outcome[1].decode(),
            )
    return [outcome[0] == b"ok" for outcome in outcomes]


def _shown_args(room_id: str, gift: Showable) -> dict[str, Arg]:
    entry, shown = gift.entry, gift.shown
    args: dict[str, Arg] = {
        "once": keys.room(room_id, ONCE, entry.id),
        "broadcast": entry.broadcast or "",
        "user_id": entry.viewer,
        "user_name": entry.viewer_name,
        "coins": entry.coins,
        "combo_field": "",
        "combo_head": "",
        "combo_count": 0,
        "body": bytes(entry.show),
    }
    if entry.combo:
        args["combo_field"] = f"combo:{entry.viewer}:{entry.gift}:{entry.combo}"
        args["combo_head"] = msgspec.json.encode({"from": shown.from_, "to": shown.to, "gift": GiftRef(entry.gift)})[1:]
        args["combo_count"] = gift.combo_count
        args["body"] = encode(msgspec.structs.replace(shown, combo=Combo(entry.combo, gift.combo_count)))
    return args


# --- streaks ---------------------------------------------------------------------------------------------------------
class _Combos:
    """Whether streaks may run in this room."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = True  # a node that comes new may have to end what a dead one saw begin


@reacts(GiftSent)
def gift_runs_combo(room: Room, event: GiftSent) -> None:
    if event.combo is not None:
        combos: _Combos = room.memory("combos", _Combos)
        combos.running = True


@on_joined
def member_sees_combos(room: Room, _member: Member) -> None:
    combos: _Combos = room.memory("combos", _Combos)
    combos.running = True


def _ended() -> bytes:
    """The event of a streak's end. Who gave what to whom stands in the state, encoded together."""
    event = GiftComboEnded(
        id=hole("id"),
        combo=Combo(hole("combo"), hole("count")),
        from_=hole("from"),
        to=hole("to"),
        gift=hole("gift"),
        coins=hole("coins"),
    )
    together = b'"from":\x01from\x01,"to":\x01to\x01,"gift":\x01gift\x01'
    assert encode(event).count(together) == 1
    return encode(event).replace(together, b"\x01head\x01")


_ENDED = _ended()


@every(1.0)
async def end_combos(room: Room) -> None:
    """Any node of the room ends the streaks whose time is over; a vanished viewer leaves none open."""
    combos: _Combos = room.memory("combos", _Combos)
    if not combos.running:
        return
    combos.running = False
    try:
        outcome = await room.services.history.change(
            room.id, END_COMBOS, ended_id=room.services.clock.new_id(), event=_ENDED
        )
        combos.running = int(outcome[0]) > 0 or combos.running
    except StoreError:
        combos.running = True
        raise


@snapshot_part("open_combos")
def open_combos(state: dict[str, str]) -> tuple[OpenCombo, ...]:
    """The streaks of a snapshot, from the state's `combo:` fields (see gifts_show.lua)."""
    found = []
    for field, value in state.items():
        if field.startswith("combo:"):
            _, coins, count, head = value.split(" ", 3)
            rest = msgspec.json.decode("{" + head, type=_ComboHead)
            found.append(
                OpenCombo(
                    id=field.rsplit(":", 1)[1],
                    count=int(count),
                    from_=rest.from_,
                    to=rest.to,
                    gift=rest.gift,
                    coins=int(coins),
                )
            )
    return tuple(found)


class _ComboHead(Struct, frozen=True):
    from_: User = msgspec.field(name="from")
    to: User
    gift: GiftRef
