"""Levels of gifters: told once in the room of the gift, shown beside the name, and a banner for who comes in with one.

SQL knows what somebody has given (`journal.givers`). It is asked beside the rooms' work: a node has the levels of those
who are here, and the room store a list of those whose level is to be looked at, written in the step of each gift.
"""

from collections.abc import Sequence
from itertools import islice

import structlog
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol import badges
from protocol.levels import LevelReached
from protocol.members import MemberEntered
from protocol.wire import Named, encode
from server import limits
from server.http.api import answer, route, user_id_of
from server.journal import givers
from server.journal.database import ask
from server.journal.due import Work
from server.journal.givers import Given
from server.rooms.due import does
from server.rooms.history import NoSuchRoom
from server.rooms.registry import badge, every, on_aside, on_joined, on_left
from server.rooms.room import Member, Room, Services
from server.store import keys, scripts
from server.store.client import Arg, StoreError

TAKE = scripts.load("levels_take")
TELL = scripts.load("levels_tell")
ENTER = scripts.load("levels_enter")
SCRIPTS = (TAKE, TELL, ENTER)
keys.of_room("level_due", "Sorted set: whose level is to be looked at, by the time in ms.")
keys.of_room("level_gifts", "Hash: their newest gift, and their name.")
TOLD = keys.of_room("level_told", "String per user and level, which expires: the room has heard of it.")
keys.of_room("entered", "Sorted set: who was shown coming in, by the time in ms.")

LOOK_EVERY_S = 1.0
LOOK_BATCH = 200  # people in one question to SQL
LOOK_LEASE_MS = 10_000  # a node that died holds them up so long
AGAIN_MS = 500  # the journal needs a moment for the newest gift
TOLD_S = 86_400  # the sweep has long told it by then
SWEEP_EVERY_MS = 10_000  # of SQL: one short query
UNTOLD_AFTER_MS = 5_000  # nobody is telling it any more
ASK_EVERY_S = 0.5
ENTER_AGAIN_MS = 600_000  # somebody whose socket comes back has not come in
ENTER_BURST = 5
ENTER_EVERY_MS = 1_000  # in a storm of joins: what people can read

log = structlog.get_logger()


class _Here:
    """The levels of those who are here, and whose this node does not know yet."""

    __slots__ = ("asked", "asking", "levels", "sockets")

    def __init__(self) -> None:
        self.levels: dict[str, int] = {}
        self.sockets: dict[str, int] = {}
        self.asked: dict[str, Member] = {}
        self.asking = False


def _here(room: Room) -> _Here:
    here: _Here = room.memory("levels", _Here)
    return here


@badge(3)
def level_badge(room: Room, member: Member) -> str | None:
    """The level of somebody who has one."""
    level = _here(room).levels.get(member.user_id, 0)
    return badges.level(level) if level else None


# --- who comes -------------------------------------------------------------------------------------------------------
@on_joined
def somebody_comes(room: Room, member: Member) -> None:
    if member.role == "overlay":
        return
    here = _here(room)
    here.sockets[member.user_id] = here.sockets.get(member.user_id, 0) + 1
    if here.sockets[member.user_id] == 1:
        here.asked[member.user_id] = member


@on_left
def somebody_leaves(room: Room, member: Member) -> None:
    here = _here(room)
    if member.user_id in here.sockets:
        here.sockets[member.user_id] -= 1
        if not here.sockets[member.user_id]:
            for known in (here.sockets, here.levels, here.asked):
                known.pop(member.user_id, None)


@every(ASK_EVERY_S)
async def ask_for_levels(room: Room) -> None:
    """Learn the levels of those who came, many at a time. What takes long holds up nothing else."""
    here = _here(room)
    if here.asked and not here.asking:
        here.asking = True
        room.spawn(_ask(room, here))


async def _ask(room: Room, here: _Here) -> None:
    try:
        while some := dict(islice(here.asked.items(), LOOK_BATCH)):
            found = await ask(givers.given, room.services.engine, list(some))
            newcomers = []
            for user_id, member in some.items():
                if here.asked.pop(user_id, None) is not None:  # else they have left
                    here.levels[user_id] = level = room.services.levels.level_of(found[user_id].coins)
                    newcomers.append((level, member))
            await _welcome(room, newcomers)
    except (SQLAlchemyError, StoreError, NoSuchRoom) as error:  # who is not known yet is asked for again
        log.debug("levels_later", room=room.id, why=str(error)[: limits.LOGGED_CHARS_MAX])
    finally:
        here.asking = False


async def _welcome(room: Room, newcomers: Sequence[tuple[int, Member]]) -> None:
    """Show the room who has come in above its level; of too many the highest. Raises StoreError, NoSuchRoom."""
    settings, levels = room.about.settings, room.services.levels
    seen = [
        (level, member)
        for level, member in newcomers
        if level > settings.spotlight_level and member.role in ("viewer", "moderator")
    ]
    if not settings.joins or not seen or room.about.status not in ("live", "paused"):
        return
    seen.sort(key=lambda each: -each[0])
    each: list[dict[str, Arg]] = [
        {
            "user_id": member.user_id,
            "event": encode(
                MemberEntered(
                    id=room.services.clock.new_id(),
                    user=Named(member.user_id, member.name),
                    level=level,
                    banner=levels.banner_of(level),
                )
            ),
        }
        for level, member in seen[:LOOK_BATCH]
    ]
    await room.services.history.change(
        room.id, ENTER, again_ms=ENTER_AGAIN_MS, burst=ENTER_BURST, every_ms=ENTER_EVERY_MS, each=each
    )


# --- who gives -------------------------------------------------------------------------------------------------------
class _Due(Struct, frozen=True):
    """Somebody whose level is to be looked at: after this gift, or none."""

    user_id: str
    note: bytes

    @property
    def gift_id(self) -> str:
        return self.note.partition(b" ")[0].decode().removeprefix("-")

    @property
    def name(self) -> str:
        return self.note.partition(b" ")[2].decode()


@every(LOOK_EVERY_S)
async def look_at_levels(room: Room) -> None:
    """Look at the levels of those who gave, once the journal has their gifts. Every node tries; each gets others."""
    taken = (await room.services.history.change(room.id, TAKE, lease_ms=LOOK_LEASE_MS, most=LOOK_BATCH))[1:]
    due = [_Due(user.decode(), note) for user, note in zip(taken[::2], taken[1::2], strict=True)]
    if due:
        room.spawn(_look(room, due))


async def _look(room: Room, due: Sequence[_Due]) -> None:
    services, levels = room.services, room.services.levels
    try:
        gifts = {(one.user_id, one.gift_id) for one in due if one.gift_id}
        there = await ask(givers.journaled, services.engine, gifts)
        ready = [one for one in due if not one.gift_id or (one.user_id, one.gift_id) in there]
        user_ids = [one.user_id for one in ready]
        args = (room.id, user_ids, levels.level_of, services.clock.now_ms())
        found = await ask(givers.claim, services.engine, *args)
        told = [_told(services, room.id, one, found.get(one.user_id)) for one in due]
        await services.history.change(room.id, TELL, once_s=TOLD_S, again_ms=AGAIN_MS, each=told)
        new = [(user_id, one.level) for user_id, one in found.items() if one.room_id == room.id]
        if new:
            await ask(givers.note_told, services.engine, new)
    except (SQLAlchemyError, StoreError, NoSuchRoom) as error:  # another look comes when the lease is over
        log.info("levels_later", room=room.id, why=str(error)[: limits.LOGGED_CHARS_MAX])


def _told(services: Services, room_id: str, one: _Due, found: Given | None) -> dict[str, Arg]:
    """What the room's script does for somebody; None: their gift is not journaled yet."""
    event, reached = b"", 0
    if found is not None and found.room_id == room_id:
        reached = found.level
        event = _event(services, Named(one.user_id, one.name or one.user_id), reached)
    return {
        "once": keys.room(room_id, TOLD, one.user_id, str(reached)),
        "user_id": one.user_id,
        "note": one.note,
        "level": "" if found is None else services.levels.level_of(found.coins),
        "event": event,
    }


def _event(services: Services, user: Named, level: int) -> bytes:
    return encode(LevelReached(id=services.clock.new_id(), user=user, level=level))


@on_aside("level")
def level_changed(room: Room, body: bytes) -> None:
    """Somebody's level, for those who have them here."""
    user_id, _, level = body.decode().partition(" ")
    here = _here(room)
    if user_id in here.sockets:
        here.levels[user_id] = int(level)


@does("levels.sweep", always=True)
async def sweep(services: Services, work: Work) -> Work | None:
    """Tell what nobody has told: the node died in between, or the room store has lost its list."""
    now_ms = services.clock.now_ms()
    for one in await ask(givers.untold, services.engine, now_ms - UNTOLD_AFTER_MS):
        due = _Due(one.user_id, f"- {one.name}".encode())
        found = Given(level=one.level, room_id=one.room_id)
        each = {**_told(services, one.room_id, due, found), "level": one.level}
        try:
            await services.history.change(one.room_id, TELL, once_s=TOLD_S, again_ms=AGAIN_MS, each=[each])
        except NoSuchRoom:
            log.info("level_without_room", room=one.room_id)
        await ask(givers.note_told, services.engine, [(one.user_id, one.level)])
    return work._replace(due_at_ms=now_ms + SWEEP_EVERY_MS)


# --- HTTP ------------------------------------------------------------------------------------------------------------
class LevelShown(Struct, frozen=True):
    """What somebody has given in a lifetime. `next_coins` is what the next level takes; null behind the last."""

    user_id: str
    coins: int
    level: int
    banner: str
    next_coins: int | None


def routes(services: Services) -> list[Route]:
    """Somebody's level, for the platform."""

    async def level(request: Request) -> Response:
        user_id, levels = user_id_of(request), services.levels
        found = (await ask(givers.given, services.engine, [user_id]))[user_id]
        now = levels.level_of(found.coins)
        return answer(LevelShown(user_id, found.coins, now, levels.banner_of(now), levels.next_of(now)))

    return [route("/v1/users/{user}/level", level, summary="Somebody's level as a gifter", gives=LevelShown)]
