"""What staff does: who may do it to whom, the record in SQL, and the message to the room in one step.

SQL comes first, so that no ban is lost with a store. A room that could not be told gets it later (`tell_late`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from protocol.members import MembersRefusal
from protocol.moderation import ModerationActed
from protocol.refusals import Refusal, Refused
from protocol.wire import Event, Named, encode
from server import background, limits
from server.journal import people as journal
from server.journal.database import ask
from server.journal.people import NOTHING, Act, Decision, MayNot, Standing, TooMany, Version
from server.rooms.history import NoSuchRoom
from server.rooms.room import Member, Room, Services
from server.store import keys, scripts
from server.store.client import StoreError

ACT = scripts.load("staff_act")
DONE = keys.of_room("done", "String per act of staff, which expires: the room has heard of it.")
SCRIPTS = (ACT,)
STAFF = ("host", "moderator")  # the roles that see what only staff sees
VIEWER, MODERATOR, HOST, SITE, PLATFORM = range(5)  # who may act: nobody acts on an equal or a higher one

log = structlog.get_logger()
Change = Callable[[Standing], Standing]


class Actor(Struct, frozen=True):
    """Who acts: a member of the room, or the platform over HTTP."""

    named: Named
    rank: int


class Deed(Struct, frozen=True, kw_only=True):
    """What is to be done. `event` is made with the id of the act; `change` gives the person's new standing."""

    act: str
    user_id: str | None = None
    reason: str = ""
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    event: Callable[[str], Event] | None = None
    also: Callable[[Standing, str], Event | None] | None = None  # goes before it, by how things stood with the person
    change: Change | None = None
    least: int = MODERATOR  # the lowest rank that may do it


PLATFORM_ACTS = Actor(Named("platform", ""), PLATFORM)


def actor(member: Member) -> Actor:
    """The member as one who acts."""
    return Actor(Named(member.user_id, member.name), rank_of(member.room, member.user_id, member.granted))


def rank_of(room: Room, user_id: str, granted: str) -> int:
    """Somebody's rank in the room. `granted` is the role of the token."""
    if granted == "moderator":
        return SITE
    role = room.role_of(user_id, "host" if granted == "host" else "viewer")
    return {"host": HOST, "moderator": MODERATOR}.get(role, VIEWER)


def rank_of_absent(room: Room, user_id: str) -> int:
    """The rank of somebody by id: of their sockets here, else what the room knows."""
    here = [rank_of(room, user_id, member.granted) for member in room.members if member.user_id == user_id]
    return max([rank_of(room, user_id, "viewer"), *here])


def binding(room: Room, user_id: str, granted: str) -> Standing:
    """What is decided about somebody, as far as it binds them: nobody is bound by who is not above them.

    Who decides may sit on another node, which does not know what their sockets here were granted.
    """
    standing = room.people.of(user_id)
    return standing if standing is NOTHING or rank_of(room, user_id, granted) < standing.rank else NOTHING


def _ranked(change: Change, rank: int) -> Change:
    """The same change, which also keeps the rank of who decided."""

    def ranked(now: Standing) -> Standing:
        new = change(now)
        if rank > VIEWER:  # not if somebody acknowledges a warning
            new = replace(new, rank=max(rank, now.rank if _without_rank(now) != NOTHING else VIEWER))
        return NOTHING if _without_rank(new) == NOTHING else new

    return ranked


def _without_rank(standing: Standing) -> Standing:
    return replace(standing, rank=NOTHING.rank)


def check(room: Room, by: Actor, deed: Deed) -> None:
    """Raise Refused unless this actor may do it. Who is banned may nothing, even the host."""
    standing, now_ms = room.people.of(by.named.user_id), room.services.clock.now_ms()
    if by.rank < deed.least or (standing.banned_until_ms > now_ms and by.rank < standing.rank):
        raise Refused(Refusal.NOT_ALLOWED)
    if deed.user_id is not None and by.rank <= rank_of_absent(room, deed.user_id):
        raise Refused(Refusal.NOT_ALLOWED)


async def act(services: Services, room_id: str, by: Actor, deed: Deed, *, done: bool = False) -> None:
    """Write it into SQL and tell the room; the caller has checked, and what is `done` is only written down.

    SQL looks again whether who acts may: they may lose the right on another node, or while the act is under way.
    Raises Refused, NoSuchRoom, StoreError.
    """
    written = Act(
        id=services.clock.new_id(),
        room_id=room_id,
        at_ms=services.clock.now_ms(),
        act=deed.act,
        by=by.named,
        user_id=deed.user_id,
        reason=deed.reason,
        data=deed.data,
    )
    decision = Decision(
        act=written,
        change=None if deed.change is None else _ranked(deed.change, by.rank),
        event=_events_of(deed, written.id, services.clock.new_id()),
        may=None if done else _still(by, written.at_ms),
    )
    try:
        now, event = await ask(journal.record, services.engine, decision)
    except TooMany:
        raise Refused(MembersRefusal.TOO_MANY_MEMBERS) from None
    except MayNot:
        raise Refused(Refusal.NOT_ALLOWED) from None
    except SQLAlchemyError as error:
        log.warning("staff_refused", room=room_id, act=deed.act, why=str(error))
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS) from None
    await _tell(services, written, event, now)


def _events_of(deed: Deed, act_id: str, other_id: str) -> Callable[[Standing], bytes]:
    """The deed's event, and before it what follows from how things stood: a line each."""

    def events(before: Standing) -> bytes:
        also = None if deed.also is None else deed.also(before, other_id)
        event = None if deed.event is None else deed.event(act_id)
        return b"\n".join(encode(each) for each in (also, event) if each is not None)

    return events


def _still(by: Actor, now_ms: int) -> Callable[[Standing], bool]:
    """Whether somebody still may act, by what is decided about them: only moderators of the room are made by that."""
    return lambda now: (
        (by.rank != MODERATOR or now.moderator) and (now.banned_until_ms <= now_ms or by.rank >= now.rank)
    )


async def note(services: Services, room_id: str, by: Actor, deed: Deed) -> None:
    """Write down what is done already. A show goes on without SQL, so then only the log has it."""
    try:
        await act(services, room_id, by, deed, done=True)
    except Refused:
        log.warning("staff_not_noted", room=room_id, act=deed.act, by=by.named.user_id)


async def _tell(services: Services, written: Act, event: bytes, now: Version | None) -> None:
    """Tell the room, once, and note in SQL that it knows."""
    number, standing = now or Version(0, NOTHING)
    said = ModerationActed(
        id=written.id,
        at_ms=written.at_ms,
        act=written.act,
        by=written.by,
        user_id=written.user_id,
        reason=written.reason,
        data=written.data,
    )
    await services.history.change(
        written.room_id,
        ACT,
        done=keys.room(written.room_id, DONE, written.id),
        done_s=limits.ACT_REMEMBERED_S,
        user_id=written.user_id or "",
        version=number,
        standing=msgspec.json.encode(standing),
        event=event,
        acted=encode(said),
    )
    try:
        await ask(journal.note_told, services.engine, written.id)
    except SQLAlchemyError:
        log.info("staff_noted_later", room=written.room_id, act=written.act)  # the script lets nobody hear it twice


async def tell_late(services: Services) -> int:
    """Tell rooms what they have not heard of, because a store or a node failed in between. Returns how many acts.

    Raises StoreError, SQLAlchemyError.
    """
    before_ms = services.clock.now_ms() - limits.UNTOLD_AFTER_MS
    found = await ask(journal.untold, services.engine, before_ms)
    for late in found:
        try:
            await _tell(services, late.act, late.event, late.now)
        except NoSuchRoom:
            await ask(journal.note_told, services.engine, late.act.id)
    return len(found)


class Untold:
    """Looks from time to time for acts that rooms have not heard of."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = background.forever("untold", self._look)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _look(self) -> None:
        while True:
            try:
                await tell_late(self._services)
            except (StoreError, SQLAlchemyError) as error:
                log.debug("untold_later", why=str(error))
            await asyncio.sleep(limits.UNTOLD_EVERY_S)
