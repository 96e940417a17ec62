"""Chat messages."""

import hashlib

from protocol.chat import TEXT_CHARS_MAX, ChatDeleted, ChatSent, DeleteChat, SendChat, SendChatOk
from protocol.members import MembersRefusal
from protocol.refusals import Refusal, Refused
from protocol.wire import encode
from server import limits
from server.rooms.registry import every, handles, on_aside, on_closing
from server.rooms.room import Member, Room
from server.rooms.staff import Deed, act, actor, check
from server.store import keys, scripts
from server.text import NotSeen, clean, plain, plain_words

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
    """Append a message to the room's history. Hosts and moderators are exempt from the limits on chat."""
    about = room.about
    if about.status not in ("live", "paused"):
        raise Refused(Refusal.ROOM_NOT_LIVE)
    staff = member.role in ("host", "moderator")
    if not about.settings.chat and not staff:
        raise Refused(Refusal.CHAT_OFF)
    try:
        text = clean(command.text, TEXT_CHARS_MAX)
    except NotSeen:
        raise Refused(Refusal.BAD_COMMAND, field="text") from None
    folded = plain(text)
    if not staff and any(word in folded for word in plain_words(about.settings.blocked_words)):
        raise Refused(Refusal.BLOCKED_WORDS)
    event = ChatSent(id=room.services.clock.new_id(), user=member.as_user(), text=text)
    outcome = await room.services.history.change(
        room.id,
        SEND,
        talk=keys.room(room.id, TALK, member.user_id),
        slow_ms=0 if staff else about.settings.slow_mode_s * 1000,
        unique_ms=0 if staff else about.settings.unique_chat_s * 1000,
        per_s=0 if staff else about.settings.chat_per_s,
        user_id=member.user_id,
        text_hash=hashlib.blake2b(folded.encode(), digest_size=8).hexdigest(),
        body=encode(event),
    )
    match outcome[0]:
        case b"ok":
            return SendChatOk(id=event.id, seq=int(outcome[1]))
        case b"hidden":
            room.memory("chat", _Hidden).count += 1
            return SendChatOk(id=event.id, seq=int(outcome[1]), hidden=True)
        case b"shadowed":  # as if it were sent: they are not to know
            return SendChatOk(id=event.id, seq=int(outcome[1]))
        case b"muted":
            raise Refused(Refusal.MUTED, retry_after_ms=int(outcome[1]) or None)
        case b"warned":
            raise Refused(MembersRefusal.WARNED)
        case b"slow_mode":
            raise Refused(Refusal.SLOW_MODE, retry_after_ms=int(outcome[1]))
        case b"duplicate_text":
            raise Refused(Refusal.DUPLICATE_TEXT, retry_after_ms=int(outcome[1]))
        case _:
            raise AssertionError(outcome)


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
