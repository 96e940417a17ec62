"""Chat messages. Those of a room that come together go to the room store together."""

import functools
import hashlib
from collections.abc import Sequence
from typing import cast

from msgspec import UNSET, UnsetType

from protocol.chat import (
    TEXT_CHARS_MAX,
    ChatDeleted,
    ChatRefusal,
    ChatSent,
    DeleteChat,
    Fragment,
    SendChat,
    SendChatOk,
)
from protocol.members import MembersRefusal
from protocol.refusals import Refusal, Refused
from protocol.rooms import Settings
from protocol.wire import encode
from server import limits
from server.journal.people import NOTHING
from server.rooms import saying
from server.rooms.history import NoSuchRoom
from server.rooms.newest import OWN
from server.rooms.registry import SCREENS, every, handles, on_aside, on_closing
from server.rooms.room import Member, Room
from server.rooms.staff import Deed, act, actor, binding, check
from server.rooms.together import Args, Together
from server.store import keys, scripts
from server.store.client import Arg, StoreRefused
from server.text import NotSeen, clean, plain

SEND = scripts.load("chat_send")
HIDE = scripts.load("chat_hide")
TALK = keys.of_room("talk", "Hash per user that expires after seconds: when and what they last said.")
SCRIPTS = (SEND, HIDE)


class _Hidden:
    """How many messages of this node were hidden since the room last got the count."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


@handles(SendChat)
async def send_chat(room: Room, member: Member, command: SendChat) -> SendChatOk:
    """Append a message to the room's history. Hosts and moderators are exempt from the rules and limits of chat."""
    about = room.about
    if about.status not in ("live", "paused"):
        raise Refused(Refusal.ROOM_NOT_LIVE)
    saying.check_standing(room, member.user_id, "chat")
    staff = member.role in saying.STAFF
    if not staff:
        saying.check_sender(room, member, about.in_force)
    try:
        text = clean(command.text, TEXT_CHARS_MAX)
    except NotSeen:
        raise Refused(Refusal.BAD_COMMAND, field="text") from None
    parts, rules = saying.fragments(room, member, text), about.in_force
    if not staff:
        _check_text(room, rules, text, parts)
    reply_to = UNSET if command.reply_to is None else await saying.replied_to(room, command.reply_to)
    id = room.services.clock.new_id()
    event = ChatSent(id=id, user=member.as_user(), text=text, reply_to=reply_to, fragments=parts)
    for _, screen in () if staff else SCREENS:
        if (reply := await screen(room, member, command, event)) is not None:
            return cast(SendChatOk, reply)
    slow_ms, unique_ms = (0, 0) if staff else (rules.slow_mode_s * 1000, rules.unique_chat_s * 1000)
    text_hash = ""
    if slow_ms or unique_ms:
        text_hash = hashlib.blake2b(plain(text).encode(), digest_size=8).hexdigest()
    exempt = staff and binding(room, member.user_id, member.granted) == NOTHING
    per_s = 0 if exempt else rules.chat_per_s
    args: Args = (slow_ms, unique_ms, per_s, member.user_id, text_hash, encode(event))
    return _reply_of(room, event.id, await _together(room).outcome(args))


def _check_text(room: Room, settings: Settings, text: str, parts: tuple[Fragment, ...] | UnsetType) -> None:
    """Raise Refused unless the room lets viewers say this."""
    if settings.emotes_only and not saying.is_only_emotes(text, parts):
        raise Refused(ChatRefusal.EMOTES_ONLY)
    if not settings.links and saying.has_link(text):
        raise Refused(ChatRefusal.LINKS_OFF)
    if saying.is_blocked(saying.found_in(room, text, own=not settings.automod)):
        raise Refused(Refusal.BLOCKED_WORDS)


def _reply_of(room: Room, chat_id: str, outcome: list[bytes]) -> SendChatOk:
    """What the sender hears. Raises Refused, StoreRefused."""
    match outcome[0]:
        case b"ok":
            return SendChatOk(id=chat_id, seq=int(outcome[1]))
        case b"hidden":
            room.memory("chat", _Hidden).count += 1
            return SendChatOk(id=chat_id, seq=int(outcome[1]), hidden=True)
        case b"shadowed":  # as if it were sent: they are not to know
            return SendChatOk(id=chat_id, seq=int(outcome[1]))
        case b"muted":
            raise Refused(Refusal.MUTED, retry_after_ms=int(outcome[1]) or None)
        case b"warned":
            raise Refused(MembersRefusal.WARNED)
        case b"banned":  # their socket is about to be closed
            raise Refused(Refusal.NOT_ALLOWED)
        case b"room_not_live":
            raise Refused(Refusal.ROOM_NOT_LIVE)
        case b"slow_mode":
            raise Refused(Refusal.SLOW_MODE, retry_after_ms=int(outcome[1]))
        case b"duplicate_text":
            raise Refused(Refusal.DUPLICATE_TEXT, retry_after_ms=int(outcome[1]))
        case b"failed":
            raise StoreRefused(outcome[1].decode())
        case _:
            raise AssertionError(outcome)


def _together(room: Room) -> Together:
    made: Together = room.memory("chat_together", lambda: Together(functools.partial(_append, room), room.spawn))
    return made


async def _append(room: Room, some: Sequence[Args]) -> list[list[bytes]]:
    """The outcome of each, from one call of `chat_send`. Raises NoSuchRoom, StoreError."""
    names = [keys.room(room.id, name) for name in SEND.keys]
    args: list[Arg] = [limits.HISTORY_EVENTS_MAX, limits.OWN_HIDDEN_MAX, limits.OWN_HIDDEN_S]
    for each in some:  # by position: a room may have thousands in a second
        names += (keys.room(room.id, TALK, str(each[3])), keys.room(room.id, OWN, str(each[3])))
        args += each
    outcomes = cast(list[list[bytes]], await room.services.history.store.run(SEND, names, args))
    if outcomes[0][0] == b"no_room":
        raise NoSuchRoom(room.id)
    return outcomes


@handles(DeleteChat)
async def delete_chat(room: Room, member: Member, command: DeleteChat) -> None:
    """Staff takes messages away: some, or all of one person."""
    if not command.ids and command.user_id is None:
        raise Refused(Refusal.BAD_COMMAND, field="ids")
    by = actor(member)
    user_ids = () if command.user_id is None else (command.user_id,)
    deed = Deed(
        act="chat.delete",
        user_id=command.user_id,
        reason=command.reason,
        data={"ids": command.ids} if command.ids else {},
        event=lambda id: ChatDeleted(id=id, ids=command.ids, user_ids=user_ids, by=by.named),
    )
    check(room, by, deed)
    await act(room.services, room.id, by, deed)
    if command.user_id is not None:
        await room.services.history.store.call("DEL", keys.room(room.id, OWN, command.user_id))


@on_aside("hidden")
def some_are_hidden(room: Room, body: bytes) -> None:
    """Tell the room's sockets that this many messages were over its budget."""
    room.outbox.hide(int(body))


@on_aside("shadow")
def tell_shadow(room: Room, body: bytes) -> None:
    """Show a hidden person's message to themselves as any other, and to staff as hidden."""
    user_id, _, message = body.partition(b" ")
    for_staff = message[:-1] + b',"hidden":true}'
    for member in room.members:
        if member.user_id == user_id.decode():
            member.pass_on(message)
        elif member.role in ("host", "moderator"):
            member.pass_on(for_staff)


@every(limits.HIDDEN_EVERY_MS / 1000)
@on_closing
async def publish_hidden(room: Room) -> None:
    """Tell everybody on every node how many messages were hidden."""
    hidden: _Hidden = room.memory("chat", _Hidden)
    count, hidden.count = hidden.count, 0
    if count:
        try:
            await room.services.history.change(room.id, HIDE, count=count)
        except BaseException:
            hidden.count += count
            raise
