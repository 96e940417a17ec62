"""Gifts: paid from the wallet first, then shown in the room once, by the node or else by the journal process."""

import secrets
from collections import deque
from collections.abc import Sequence

import msgspec
import structlog
from msgspec import Struct

from protocol.gifts import (
    Combo,
    GiftComboEnded,
    GiftRef,
    GiftRefunded,
    GiftSent,
    OpenCombo,
    SendGift,
    SendGiftOk,
    TestGift,
)
from protocol.ids import uuid7_ms
from protocol.refusals import Refusal, Refused
from protocol.wire import User, encode
from server import limits
from server.entries import GiftEntry
from server.money.results import Paid, Receipt, Spend, fingerprint
from server.rooms.giving import gift_event, gift_of, giver, shown_message, streak_id, terms_of
from server.rooms.history import History, NoSuchRoom
from server.rooms.registry import every, handles, on_aside, on_joined, reacts, snapshot_part
from server.rooms.room import Member, Room
from server.rooms.staff import HOST, Deed, actor, check
from server.store import keys, scripts
from server.store.client import Arg, StoreError
from server.store.scripts import hole

log = structlog.get_logger()

SHOW = scripts.load("gifts_show")
TEST = scripts.load("gifts_test")
REFUND = scripts.load("gifts_refund")
END_COMBOS = scripts.load("gifts_end_combos")
ONCE = keys.of_room(
    "once", "String per gift: the seq under which the room showed it, or `-` while it has only counted."
)
COUNTED = b"-"
REFUNDED = keys.of_room("refunded", "String per part of a reversal: the seq under which the room took it back.")
SCRIPTS = (SHOW, REFUND, END_COMBOS, TEST)


class Refunded(Struct, frozen=True):
    """A part of a gift that a reversal has taken back: `reversal` is the gift's or the top-up's id."""

    event: GiftRefunded
    reversal: str
    viewer: str
    broadcast: str | None
    anonymous: bool = False


class PaidGift(Struct, frozen=True):
    """A paid gift: its ledger entry, its event (without the streak), and its streak's count."""

    entry: GiftEntry
    event: GiftSent
    combo_count: int
    settled_at_ms: int


@handles(SendGift)
async def send_gift(room: Room, member: Member, command: SendGift) -> SendGiftOk:
    """Write debit, credit, receipt and ledger entry to disk in one step. Then show the gift in the room."""
    received_at_ms = room.services.clock.now_ms()
    try:
        gift = gift_of(room, member, command)
    except Refused as refused:  # but it may have been paid before the room or the catalogue changed
        return await _paid_before(room, member, command, refused)
    message, left_out = await shown_message(room, member, command)
    event = gift_event(
        room,
        giver(member, command),
        gift,
        command.count,
        id=command.id,
        to=command.to,
        message=message,
        received_at_ms=received_at_ms,
    )
    spend, entry = _prepare(room, member, command, event)
    paid = await room.services.wallet.spend(spend)
    # A repeated try shows nothing: the ledger has the first try's entry, and host and broadcast may have changed since.
    # If the first try died before this point, the journal process shows its gift.
    if paid.first:
        _show_soon(room, PaidGift(entry, event, paid.combo_count, room.services.clock.now_ms()))
    return _ok(command, paid, left_out)


def _ok(command: SendGift, paid: Paid | Receipt, left_out: str | None) -> SendGiftOk:
    """The reply. The sender knows the streak by their own id of it."""
    return SendGiftOk(
        id=command.id,
        duplicate=not isinstance(paid, Paid) or paid.duplicate,
        coins=paid.balance,
        combo=Combo(command.combo, paid.combo_count) if command.combo else None,
        entry=paid.entry_id,
        message_left_out=left_out,
    )


async def _paid_before(room: Room, member: Member, command: SendGift, refused: Refused) -> SendGiftOk:
    """Return the outcome of the try that paid this id. Raises `refused` when none did."""
    age_ms = room.services.clock.now_ms() - uuid7_ms(command.id)
    if age_ms > limits.GIFT_ID_LIFE_MS + limits.DAY_MS:  # a day for clocks that differ: nobody has kept its receipt
        raise refused
    found = await room.services.wallet.find(member.user_id, command.id)
    if found is None:
        raise refused
    if found.fingerprint != _fingerprint(room, command):
        raise Refused(Refusal.CONFLICT)
    return _ok(command, found, (await shown_message(room, member, command)).left_out)


def _fingerprint(room: Room, command: SendGift) -> str:
    """Covers only what the sender sent, because prices and hosts may change between two tries.

    What is newer than the first programs counts only when it is set: nodes of different age agree on the rest.
    """
    newer = ("anonymous",) if command.anonymous else ()
    return fingerprint(room.id, command.gift, command.count, command.to, command.combo, command.message, *newer)


def _prepare(room: Room, member: Member, command: SendGift, event: GiftSent) -> tuple[Spend, GiftEntry]:
    creator, combo = event.to.user_id, streak_id(room, member, command)
    terms = terms_of(room, creator)
    command_fingerprint = _fingerprint(room, command)
    entry = GiftEntry(
        id=command.id,
        viewer=member.user_id,
        creator=creator,
        room=room.id,
        broadcast=room.about.broadcast_id,
        gift=event.gift.id,
        count=command.count,
        coins=event.coins,
        diamonds=event.diamonds,
        combo=combo,
        anonymous=command.anonymous,
        rate=terms.id,
        maturity_days=terms.rates.maturity_days,
        salt=secrets.token_hex(16),
        fp=command_fingerprint,
        viewer_name=member.name,
        show=msgspec.Raw(encode(event)),
    )
    spend = Spend(
        gift_id=command.id,
        viewer=member.user_id,
        creator=creator,
        coins=event.coins,
        diamonds=event.diamonds,
        count=command.count,
        combo=combo,
        fingerprint=command_fingerprint,
        entry=encode(entry),
    )
    return spend, entry


@handles(TestGift)
async def test_gift(room: Room, member: Member, command: TestGift) -> None:
    """Show a gift to staff and overlays only. Raises Refused."""
    check(room, actor(member), Deed(act="gifts.test", least=HOST))
    gift = room.services.catalogue.get(command.gift)
    if gift is None:
        raise Refused(Refusal.UNKNOWN_GIFT)
    event = gift_event(room, member.as_user(), gift, command.count, id=room.services.clock.new_id(), test=True)
    await room.services.history.change(room.id, TEST, body=encode(event))


@on_aside("test")
def tell_test(room: Room, body: bytes) -> None:
    """Pass a test gift to those who care how gifts look."""
    for member in room.members:
        if member.role in ("host", "moderator", "overlay"):
            member.pass_on(body)


class _ShowQueue:
    """Paid gifts that this node has yet to show in a room. Gifts that come during a call share the next call."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[PaidGift] = deque()
        self.running = False


def _show_soon(room: Room, gift: PaidGift) -> None:
    queue: _ShowQueue = room.memory("show_queue", _ShowQueue)
    if len(queue.waiting) >= limits.SHOW_QUEUE_MAX:  # the journal process will show it from the ledger
        log.info("gifts_shown_later", room=room.id, gifts=1, error="too many gifts wait")
        return
    queue.waiting.append(gift)
    if not queue.running:
        queue.running = True
        room.spawn(_show_waiting(room, queue))


async def _show_waiting(room: Room, queue: _ShowQueue) -> None:
    try:
        while waiting := queue.waiting:
            some = [waiting.popleft() for _ in range(min(len(waiting), limits.SHOW_BATCH_MAX))]
            try:
                await _show_all(room.services.history, room.id, some)
            except (StoreError, NoSuchRoom) as error:
                log.info("gifts_shown_later", room=room.id, gifts=len(some), error=str(error))
    finally:
        queue.running = False


async def show_gift(history: History, entry: GiftEntry, combo_count: int, settled_at_ms: int) -> bool:
    """Show a paid gift in its room. False if that was done before. Raises StoreError, NoSuchRoom."""
    event = msgspec.json.decode(entry.show, type=GiftSent)
    [new] = await _show_all(history, entry.room, [PaidGift(entry, event, combo_count, settled_at_ms)])
    return new


async def _show_all(history: History, room_id: str, gifts: Sequence[PaidGift]) -> list[bool]:
    """Show gifts: one script updates board, totals, streaks and events. Return which gifts were new.

    A gift of an earlier broadcast than the current one is neither shown nor counted. Raises StoreError, NoSuchRoom.
    """
    outcomes = await history.change(
        room_id,
        SHOW,
        once_s=limits.ONCE_S,
        gap_ms=limits.COMBO_GAP_MS,
        combos_max=limits.OPEN_COMBOS_MAX,
        each=[_script_args(room_id, gift) for gift in gifts],
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


def _script_args(room_id: str, gift: PaidGift) -> dict[str, Arg]:
    entry, event = gift.entry, gift.event
    args: dict[str, Arg] = {
        "once": keys.room(room_id, ONCE, entry.id),
        "broadcast": entry.broadcast or "",
        "user_id": "" if entry.anonymous else entry.viewer,
        "user_name": "" if entry.anonymous else entry.viewer_name,
        "coins": entry.coins,
        "combo_field": "",
        "combo_head": "",
        "combo_count": 0,
        "body": _settled(bytes(entry.show), gift),
    }
    if entry.combo:
        args["combo_field"] = f"combo:{event.from_.user_id}:{entry.gift}:{entry.combo}"
        args["combo_head"] = msgspec.json.encode({"from": event.from_, "to": event.to, "gift": GiftRef(entry.gift)})[1:]
        args["combo_count"] = gift.combo_count
        streak = msgspec.structs.replace(event, combo=Combo(entry.combo, gift.combo_count))
        args["body"] = _settled(encode(streak), gift)
    return args


def _settled(body: bytes, gift: PaidGift) -> bytes:
    """The event with when its money was on disk, which is not known when the entry is written."""
    return b'%b,"settled_at_ms":%d}' % (body[:-1], gift.settled_at_ms)


async def show_refunds(history: History, room_id: str, refunded: Sequence[Refunded]) -> list[bool]:
    """Take parts of gifts back in a room. Return which were new and of its broadcast. Raises StoreError, NoSuchRoom."""
    outcomes = await history.change(
        room_id, REFUND, once_s=limits.ONCE_S, each=[_refund_args(room_id, part) for part in refunded]
    )
    if any(outcome[0] == b"no_room" for outcome in outcomes):
        raise NoSuchRoom(room_id)
    return [outcome[0] == b"ok" for outcome in outcomes]


def _refund_args(room_id: str, part: Refunded) -> dict[str, Arg]:
    event = part.event
    return {
        "once": keys.room(room_id, REFUNDED, event.reason, part.reversal, part.viewer, event.gift_id),
        "broadcast": part.broadcast or "",
        "user_id": "" if part.anonymous else part.viewer,
        "coins": event.coins,
        "body": encode(event),
    }


# --- streaks ---------------------------------------------------------------------------------------------------------
class _Combos:
    """Whether streaks may run in this room."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = True  # a node that died may have left some


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
    """The event of a streak's end. Its `from`, `to` and `gift` are one hole: the state has them encoded together."""
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
    """End the streaks whose time is over, even if their viewer is gone. Every node of the room does this."""
    combos: _Combos = room.memory("combos", _Combos)
    if not combos.running:
        return
    combos.running = False
    try:
        outcome = await room.services.history.change(
            room.id,
            END_COMBOS,
            gap_ms=limits.COMBO_GAP_MS,
            ended_id=room.services.clock.new_id(),
            event=_ENDED,
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
