"""Gifts: paid in the wallet first, then shown in the room once, whoever of node and journal comes to it."""

import msgspec
import structlog
from msgspec import Struct

from protocol.gifts import Combo, Gift, GiftRef, GiftSent, SendGift, SendGiftOk, ShownGift
from protocol.refusals import Refusal, Refused
from protocol.rooms import OpenCombo
from protocol.wire import User, encode
from server import limits
from server.history import History, NoSuchRoom, event_keys
from server.money import Spend, fingerprint
from server.registry import every, handles, on_joined, reacts, snapshot_part
from server.room import Member, Room
from server.store import keys, scripts
from server.store.client import StoreError

log = structlog.get_logger()

SHOW = scripts.load("gifts_show")
END_COMBOS = scripts.load("gifts_end_combos")
SCRIPTS = (SHOW, END_COMBOS)


class GiftEntry(Struct, frozen=True, kw_only=True, tag_field="kind", tag="gift"):
    """A gift in the ledger log: what the journal books, and `show`, what the room is told."""

    id: str
    viewer: str
    viewer_name: str
    creator: str
    room: str
    broadcast: str | None
    gift: str
    count: int
    coins: int
    diamonds: int
    combo: str | None
    fp: str  # the payload's fingerprint, for the receipt should it have to be put back
    show: msgspec.Raw


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
    # Shown again for a duplicate too: the once-key lets nothing through twice, and the first try may have died here.
    room.spawn(_show_soon(room, entry, shown, paid.combo_count))
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


async def _show_soon(room: Room, entry: GiftEntry, shown: GiftSent, combo_count: int) -> None:
    try:
        await _show(room.services.history, entry, shown, combo_count)
    except (StoreError, NoSuchRoom) as error:
        log.info("gift_shown_later", gift_id=entry.id, error=str(error))  # by the journal, from the ledger


async def show_gift(history: History, entry: GiftEntry, combo_count: int) -> bool:
    """Show a paid gift in its room unless that was done before; whether it was new. Raises StoreError, NoSuchRoom."""
    return await _show(history, entry, msgspec.json.decode(entry.show, type=GiftSent), combo_count)


async def _show(history: History, entry: GiftEntry, shown: GiftSent, combo_count: int) -> bool:
    """Board, total, streak and event move in one script."""
    combo = Combo(entry.combo, combo_count) if entry.combo else None
    head = ""
    if entry.combo:
        rest = {"from": shown.from_, "to": shown.to, "gift": GiftRef(entry.gift)}
        head = msgspec.json.encode(rest).decode()[1:]
    outcome = await history.run(
        SHOW,
        [
            *event_keys(entry.room),
            keys.room_once(entry.room, entry.id),
            keys.room_board(entry.room),
            keys.room_names(entry.room),
            keys.room_state(entry.room),
        ],
        [
            limits.HISTORY_EVENTS_MAX,
            limits.ONCE_S,
            entry.viewer,
            entry.viewer_name,
            entry.coins,
            f"combo:{entry.viewer}:{entry.gift}:{entry.combo}" if entry.combo else "",
            head,
            combo_count,
            limits.COMBO_GAP_MS,
            limits.OPEN_COMBOS_MAX,
            encode(msgspec.structs.replace(shown, combo=combo)) if combo else bytes(entry.show),
        ],
    )
    if outcome[0] == b"no_room":
        raise NoSuchRoom(entry.room)
    return bool(outcome[0] == b"ok")


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


@every(1.0)
async def end_combos(room: Room) -> None:
    """Any node of the room ends the streaks whose time is over; a vanished viewer leaves none open."""
    combos: _Combos = room.memory("combos", _Combos)
    if not combos.running:
        return
    combos.running = False
    try:
        outcome = await room.services.history.run(
            END_COMBOS,
            [*event_keys(room.id), keys.room_state(room.id)],
            [limits.HISTORY_EVENTS_MAX, room.services.clock.new_id()],
        )
        combos.running = int(outcome[1]) > 0 or combos.running
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
