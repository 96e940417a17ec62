"""What a room lets people say: who may chat, links, emotes, blocked words, and the parts of a text.

Nothing here needs a store: it is checked before a message goes to one.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from protocol.chat import ChatRefusal, Fragment, ReplyTo
from protocol.emotes import Emote, EmoteShown, Who
from protocol.pins import PinsRefusal
from protocol.refusals import Refusal, Refused
from protocol.rooms import Settings
from protocol.users import UsersRefusal
from protocol.wire import User
from server import limits
from server.requirements import Capability
from server.rooms.room import Member, Room
from server.tokens import Facts
from server.words import BLOCKED, Found, blocked, form

STAFF = ("host", "moderator")
# What a text may have that is not plain: `@<user id>` and `:code:`, each with nothing in front that belongs to a word.
_PARTS = re.compile(r"(?<![\w@])@([A-Za-z0-9](?:[A-Za-z0-9_.@|+-]{0,62}[A-Za-z0-9_])?)|:([A-Za-z0-9_]{2,32}):")
_DOMAINS = (
    "com|net|org|info|io|gg|tv|me|co|app|dev|xyz|ru|cn|uk|de|fr|jp|br|ly|gl|be|link|site|online|shop|live|club|biz|eu"
)
_LINK = re.compile(rf"\w://|\bwww\.\w|\w\.(?:{_DOMAINS})(?![\w-])|\w\.[a-z]{{2}}[\w.-]*/\w")


def check_sender(room: Room, member: Member, settings: Settings) -> None:
    """Raise Refused unless the room lets this person chat."""
    if not settings.chat or settings.chat_for == "staff":
        raise Refused(Refusal.CHAT_OFF)
    facts = member.facts
    if settings.chat_for == "everyone" or facts.club_since_ms is not None:
        return
    if settings.chat_for == "club":
        raise Refused(ChatRefusal.CLUB_ONLY)
    if facts.follower_since_ms is None:
        raise Refused(Refusal.FOLLOWERS_ONLY)
    if settings.followers_min_age_s:
        wait_ms = facts.follower_since_ms + settings.followers_min_age_s * 1000 - room.services.clock.now_ms()
        if wait_ms > 0:
            raise Refused(ChatRefusal.TOO_YOUNG, retry_after_ms=wait_ms)


def check_standing(room: Room, user_id: str, capability: Capability) -> None:
    """Raise Refused if the platform has suspended somebody from this."""
    found = room.services.users.suspended(user_id, capability)
    if found is not None:
        raise Refused(UsersRefusal.SUSPENDED, capability=capability, until_ms=found.until_ms)


def has_link(text: str) -> bool:
    """Whether a text has an address of the web."""
    return ("." in text or ":" in text or not text.isascii()) and bool(_LINK.search(_compatible(text)))


def _compatible(text: str) -> str:
    shown = text if text.isascii() else unicodedata.normalize("NFKC", text).replace("\u3002", ".")
    return shown.lower()


def found_in(room: Room, text: str, *, own: bool = True) -> list[Found]:
    """The phrases of the site's and the host's lists, and of the room's `own`, that a text has."""
    of_room = room.about.settings.blocked_words if own else ()
    lists = [*room.services.catalogues.words(room.about.host.user_id), *((blocked(of_room),) if of_room else ())]
    if not any(lists):
        return []
    looked_at = form_of(text)
    return [found for words in lists if words for found in words.find_in(looked_at)]


form_of = functools.lru_cache(8)(form)  # a message is looked at up to four times, one after the other


def is_blocked(found: list[Found]) -> bool:
    """Whether one of them is refused everywhere."""
    return any(one.category == BLOCKED for one in found)


def hide_bad_name(member: Member) -> None:
    """Show who has a blocked word in their name by their user id."""
    if member.name != member.user_id and is_blocked(found_in(member.room, member.name)):
        member.name = member.user_id


# --- mentions and emotes -----------------------------------------------------------------------------------------
def fragments(room: Room, member: Member, text: str) -> tuple[Fragment, ...] | UnsetType:
    """The parts of a text. UNSET if it is plain."""
    if "@" not in text and ":" not in text:
        return UNSET
    of_room, of_site = room.services.catalogues.emotes(room.id)
    parts: list[Fragment] = []
    end = 0
    for match, emote in _special(text, member, of_room, of_site):
        if match.start() > end:
            parts.append(Fragment(type="text", text=text[end : match.start()]))
        if emote is None:
            parts.append(Fragment(type="mention", text=match[0], user_id=match[1]))
        else:
            parts.append(Fragment(type="emote", text=match[0], emote=EmoteShown(emote.id, emote.url)))
        end = match.end()
    if not parts:
        return UNSET
    if end < len(text):
        parts.append(Fragment(type="text", text=text[end:]))
    return tuple(parts)


def _special(
    text: str, member: Member, of_room: Mapping[str, Emote], of_site: Mapping[str, Emote]
) -> Iterator[tuple[re.Match[str], Emote | None]]:
    shown = at = 0
    while shown < limits.EMOTES_OF_CHAT_MAX and (match := _PARTS.search(text, at)) is not None:
        code, at = match[2], match.end()
        if code is None:
            shown += 1
            yield match, None
            continue
        emote = of_room.get(code) or of_site.get(code)
        if emote is not None and may_use(emote.who, member.role in STAFF, member.facts):
            shown += 1
            yield match, emote
        else:
            at -= 1  # its last colon may begin another one


def may_use(who: Who, staff: bool, facts: Facts) -> bool:
    """Whether somebody is among those who may use an emote."""
    if who == "everyone" or staff:
        return True
    if who == "followers":
        return facts.follower_since_ms is not None or facts.club_since_ms is not None
    return who == "club" and facts.club_since_ms is not None


def is_only_emotes(text: str, parts: tuple[Fragment, ...] | UnsetType) -> bool:
    """Whether a text has nothing but emotes and emoji."""
    rest = [text] if parts is UNSET else [part.text for part in parts if part.type != "emote"]
    return all(letter.isspace() or unicodedata.category(letter) in _OF_EMOJI for letter in "".join(rest))


_OF_EMOJI = ("So", "Sk", "Mn", "Me", "Cf")


# --- replies -----------------------------------------------------------------------------------------------------
async def replied_to(room: Room, event_id: str) -> ReplyTo:
    """The message with this id, of the room's newest events. Raises Refused when there is none, or it was deleted."""
    after = max(0, room.head - limits.REPLY_LOOK_BACK)
    events = room.outbox.after(after, room.head)
    if events is None:
        events = await room.services.history.kept(room.id, after, room.head)
    named, gone = b'"id":"%b"' % event_id.encode(), list[dict[str, Any]]()
    for event in reversed(events):
        if event.tag == "chat.deleted":
            gone.append(msgspec.json.decode(event.json))
        elif event.tag == "chat.sent" and named in event.json:
            chat = msgspec.json.decode(event.json)
            if chat["id"] != event_id:
                continue
            if any(event_id in one["ids"] or chat["user"]["user_id"] in one["user_ids"] for one in gone):
                break
            return ReplyTo(id=event_id, user=msgspec.convert(chat["user"], User), text=chat["text"])
    raise Refused(PinsRefusal.UNKNOWN_EVENT)
