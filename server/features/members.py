"""Members: mutes, bans, kicks, shadows, warnings and moderators, by staff in the room or by the platform over HTTP."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.closes import Close
from protocol.ids import UserId
from protocol.members import (
    WARNING_CHARS_MAX,
    AcknowledgeWarning,
    BanMember,
    Decided,
    DemoteMember,
    HideMember,
    KickMember,
    ListMembers,
    ListMembersOk,
    MemberBanned,
    MemberDemoted,
    MemberKicked,
    MemberMuted,
    MemberPromoted,
    MemberUnbanned,
    MemberUnmuted,
    MemberWarned,
    MuteMember,
    PromoteMember,
    ReasonText,
    Seconds,
    UnbanMember,
    UnhideMember,
    UnmuteMember,
    WarnMember,
)
from protocol.refusals import Refusal, Refused
from protocol.wire import Command, Event, Named
from server import limits
from server.http.api import HttpError, answer, body, next_page, query, room_id_of, route, user_id_of
from server.journal.people import FOREVER_MS, Standing
from server.rooms.people import muted_until_ms, read_people
from server.rooms.registry import handles, on_joined, on_standing, reacts
from server.rooms.room import Member, Room, Services
from server.rooms.staff import HOST, PLATFORM_ACTS, VIEWER, Deed, act, actor, binding, check
from server.text import NotSeen, clean


class Wish(Struct, frozen=True, kw_only=True):
    """What somebody wants to be done to a person, and where things stand."""

    user_id: str
    by: Named
    now_ms: int
    broadcast_id: str | None
    seconds: int | None = None
    reason: str = ""
    text: str = ""

    @property
    def until_ms(self) -> int:
        return FOREVER_MS if self.seconds is None else self.now_ms + self.seconds * 1000

    @property
    def shown_until_ms(self) -> int | None:
        return None if self.seconds is None else self.until_ms


def _mute(wish: Wish) -> Deed:
    muted_in = "" if wish.seconds is not None or wish.broadcast_id is None else wish.broadcast_id
    return Deed(
        act="members.mute",
        change=lambda now: replace(now, muted_until_ms=wish.until_ms, muted_in=muted_in),
        event=lambda id: MemberMuted(
            id=id, user_id=wish.user_id, by=wish.by, until_ms=wish.shown_until_ms, reason=wish.reason
        ),
    )


def _ban(wish: Wish) -> Deed:
    return Deed(
        act="members.ban",
        change=lambda now: replace(now, banned_until_ms=wish.until_ms, banned_for=wish.reason, moderator=False),
        also=lambda before, id: _told(MemberDemoted, wish)(id) if before.moderator else None,
        event=lambda id: MemberBanned(
            id=id, user_id=wish.user_id, by=wish.by, until_ms=wish.shown_until_ms, reason=wish.reason
        ),
    )


def _told(event: type[Event], wish: Wish) -> Callable[[str], Event]:
    """An event with nothing but the person and who did it."""
    return lambda id: event(id=id, user_id=wish.user_id, by=wish.by)  # type: ignore[call-arg]


def _unmute(wish: Wish) -> Deed:
    change = lambda now: replace(now, muted_until_ms=0, muted_in="")  # noqa: E731
    return Deed(act="members.unmute", change=change, event=_told(MemberUnmuted, wish))


def _unban(wish: Wish) -> Deed:
    change = lambda now: replace(now, banned_until_ms=0, banned_for="")  # noqa: E731
    return Deed(act="members.unban", change=change, event=_told(MemberUnbanned, wish))


def _kick(wish: Wish) -> Deed:
    event = lambda id: MemberKicked(id=id, user_id=wish.user_id, by=wish.by, reason=wish.reason)  # noqa: E731
    return Deed(act="members.kick", event=event)


def _hide(_wish: Wish) -> Deed:
    return Deed(act="members.hide", change=lambda now: replace(now, hidden=True))


def _unhide(_wish: Wish) -> Deed:
    return Deed(act="members.unhide", change=lambda now: replace(now, hidden=False))


def _warn(wish: Wish) -> Deed:
    try:
        text = clean(wish.text, WARNING_CHARS_MAX)
    except NotSeen:
        raise Refused(Refusal.BAD_COMMAND, field="text") from None
    return Deed(act="members.warn", change=lambda now: replace(now, warned=text, warned_by=wish.by))


def _promote(wish: Wish) -> Deed:
    change = lambda now: replace(now, moderator=True)  # noqa: E731
    return Deed(act="members.promote", change=change, event=_told(MemberPromoted, wish), least=HOST)


def _demote(wish: Wish) -> Deed:
    change = lambda now: replace(now, moderator=False)  # noqa: E731
    return Deed(act="members.demote", change=change, event=_told(MemberDemoted, wish), least=HOST)


Making = Callable[[Wish], Deed]
COMMANDS: dict[type[Command], Making] = {
    MuteMember: _mute,
    UnmuteMember: _unmute,
    BanMember: _ban,
    UnbanMember: _unban,
    KickMember: _kick,
    HideMember: _hide,
    UnhideMember: _unhide,
    WarnMember: _warn,
    PromoteMember: _promote,
    DemoteMember: _demote,
}
VERBS = {str(command.__struct_config__.tag).partition(".")[2]: making for command, making in COMMANDS.items()}


def _deed(making: Making, wish: Wish) -> Deed:
    data: dict[str, object] = {} if wish.seconds is None else {"seconds": wish.seconds}
    if wish.text:
        data["text"] = wish.text
    return replace(making(wish), user_id=wish.user_id, reason=wish.reason, data=data)


async def decide(room: Room, member: Member, command: Command) -> None:
    """One of staff decides about somebody. Raises Refused."""
    by = actor(member)
    wish = Wish(
        user_id=command.user_id,  # type: ignore[attr-defined]
        by=by.named,
        now_ms=room.services.clock.now_ms(),
        broadcast_id=room.about.broadcast_id,
        seconds=getattr(command, "seconds", None),
        reason=getattr(command, "reason", ""),
        text=getattr(command, "text", ""),
    )
    if by.rank <= VIEWER:  # before the text of a warning is looked at
        raise Refused(Refusal.NOT_ALLOWED)
    deed = _deed(COMMANDS[type(command)], wish)
    check(room, by, deed)
    await act(room.services, room.id, by, deed)


for _command in COMMANDS:
    handles(_command)(decide)


@handles(AcknowledgeWarning)
async def acknowledge(room: Room, member: Member, _command: AcknowledgeWarning) -> None:
    """Somebody has read the warning, and may chat again."""
    if room.people.of(member.user_id).warned:
        deed = Deed(
            act="members.acknowledge",
            user_id=member.user_id,
            change=lambda now: replace(now, warned="", warned_by=None),
        )
        await act(room.services, room.id, actor(member), deed)


@handles(ListMembers)
async def list_members(room: Room, member: Member, command: ListMembers) -> ListMembersOk:
    """Staff looks at what is decided."""
    if actor(member).rank <= VIEWER:
        raise Refused(Refusal.NOT_ALLOWED)
    people = room.people.everybody()
    found, more = _page(people, command.after, command.limit, room.about.broadcast_id, room.services.clock.now_ms())
    return ListMembersOk(members=tuple(found), next=more)


# --- what follows from a decision --------------------------------------------------------------------------------
@reacts(MemberBanned)
def banned(room: Room, event: MemberBanned) -> None:
    room.spawn(_put_out(room, event.user_id, event.seq, banned=True))


@reacts(MemberKicked)
def kicked(room: Room, event: MemberKicked) -> None:
    room.spawn(_put_out(room, event.user_id, event.seq))


async def _put_out(room: Room, user_id: str, seq: int, *, banned: bool = False) -> None:
    """Close somebody's sockets here after they got the event. Whom a ban does not bind stays, and the site's staff."""
    await room.outbox.wait_flushed(seq)
    now_ms = room.services.clock.now_ms()
    for member in [one for one in room.members if one.user_id == user_id]:
        bound = binding(room, user_id, member.granted).banned_until_ms > now_ms
        if bound or (not banned and member.granted != "moderator"):
            member.sink.close(Close.BANNED)


@on_standing
def warned(room: Room, user_id: str, before: Standing) -> None:
    """Tell somebody who is here of a new warning."""
    if room.people.of(user_id).warned and room.people.of(user_id).warned != before.warned:
        for member in room.members:
            if member.user_id == user_id:
                tell_warning(room, member)


@on_joined
def tell_warning(room: Room, member: Member) -> None:
    """Tell somebody of a warning that they have not acknowledged."""
    standing = binding(room, member.user_id, member.granted)
    if standing.warned and standing.warned_by is not None:
        member.say(MemberWarned(text=standing.warned, by=standing.warned_by))


# --- HTTP --------------------------------------------------------------------------------------------------------
class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """A decision of the platform. `seconds` is for mutes and bans, `text` for warnings."""

    seconds: Seconds | None = None
    reason: ReasonText = ""
    text: str | UnsetType = UNSET


class MembersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page."""

    after: UserId | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class MembersPage(Struct, frozen=True):
    """People about whom staff has decided something. `next` is the query of the next page."""

    members: tuple[Decided, ...]
    next: str | None


def routes(services: Services) -> list[Route]:
    """What the platform decides about people in rooms."""

    async def decide_over_http(request: Request) -> Response:
        room_id, user_id, verb = room_id_of(request), user_id_of(request), request.path_params["verb"]
        if verb not in VERBS:
            raise HttpError(404, "not_found", f"There is no such decision. There are {', '.join(VERBS)}.")
        asked = await body(request, Decision)
        if (asked.text is not UNSET) != (verb == "warn") or (asked.seconds is not None and verb not in TIMED):
            raise HttpError(
                400, "bad_request", "`text` is for warnings alone, and they need it; `seconds` for mutes and bans."
            )
        meta = await services.history.meta(room_id)
        wish = Wish(
            user_id=user_id,
            by=PLATFORM_ACTS.named,
            now_ms=services.clock.now_ms(),
            broadcast_id=meta.get("broadcast"),
            seconds=asked.seconds,
            reason=asked.reason,
            text="" if asked.text is UNSET else asked.text,
        )
        await act(services, room_id, PLATFORM_ACTS, _deed(VERBS[verb], wish))
        return answer({})

    async def members(request: Request) -> Response:
        room_id, asked = room_id_of(request), query(request, MembersQuery)
        meta = await services.history.meta(room_id)
        people = await read_people(services.history, services.engine, room_id, meta["epoch"])
        everybody, now_ms = people.everybody(), services.clock.now_ms()
        found, more = _page(everybody, asked.after, asked.limit, meta.get("broadcast"), now_ms)
        return answer(MembersPage(tuple(found), next_page(asked, more)))

    path, verbs = "/v1/rooms/{room}/members", " | ".join(VERBS)
    about = "People about whom staff has decided something"
    return [
        route(path, members, summary=about, query=MembersQuery, gives=MembersPage),
        route(
            f"{path}/{{user}}/{{verb}}",
            decide_over_http,
            method="POST",
            summary=verbs,
            body=Decision,
            gives=Nothing,
        ),
    ]


TIMED = ("mute", "ban")


class Nothing(Struct, frozen=True):
    """It is done."""


def _page(
    everybody: Iterable[tuple[str, Standing]], after: str | None, limit: int, broadcast_id: str | None, now_ms: int
) -> tuple[list[Decided], str | None]:
    """The people after `after`, at most `limit`, and the `after` of the next page."""
    found: list[Decided] = []
    for user_id, standing in everybody:
        if after is not None and user_id <= after:
            continue
        shown = _decided(user_id, standing, broadcast_id, now_ms)
        if shown is None:
            continue
        if len(found) == limit:
            return found, found[-1].user_id
        found.append(shown)
    return found, None


def _decided(user_id: str, standing: Standing, broadcast_id: str | None, now_ms: int) -> Decided | None:
    muted, banned_until = muted_until_ms(standing, broadcast_id, now_ms), standing.banned_until_ms
    shown = Decided(
        user_id=user_id,
        moderator=standing.moderator,
        muted=muted is not None,
        muted_until_ms=_time(muted),
        banned=banned_until > now_ms,
        banned_until_ms=_time(banned_until if banned_until > now_ms else None),
        hidden=standing.hidden,
        warned=bool(standing.warned),
    )
    return shown if shown != Decided(user_id=user_id, **_FREE) else None


def _time(until_ms: int | None) -> int | None:
    return None if until_ms == FOREVER_MS else until_ms


_FREE: dict[str, Any] = {
    "moderator": False,
    "muted": False,
    "muted_until_ms": None,
    "banned": False,
    "banned_until_ms": None,
    "hidden": False,
    "warned": False,
}
