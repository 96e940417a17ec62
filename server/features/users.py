"""People on the whole site: facts and suspensions over HTTP. A suspended host's broadcast ends on every node."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import limits
from server.entries import NUMBER_MAX
from server.http.api import HttpError, answer, body, route, user_id_of
from server.journal import due
from server.journal import users as journal
from server.journal.database import ask
from server.journal.due import Work
from server.journal.users import Changes, NoSuchSuspension, Suspension, Taken, TooMany
from server.requirements import Capability, Known
from server.rooms.admin import RoomsAdmin, WrongStatus
from server.rooms.due import does
from server.rooms.history import NoSuchRoom
from server.rooms.registry import every
from server.rooms.room import Room, Services

END = "users.end"  # the work of ending the broadcasts of a suspended host; its `ref` is their user id
LIVE = ("live", "paused")

STATEMENT_CHARS_MAX = 4_000  # two pages
REASON_CHARS_MAX = 200  # as of moderation

Text = Annotated[str, Meta(max_length=STATEMENT_CHARS_MAX, pattern=r"^[^\x00]*$")]
Reason = Annotated[str, Meta(min_length=1, max_length=REASON_CHARS_MAX, pattern=r"^[^\x00]*$")]
SuspensionId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$(?!\n)", max_length=64)]
Moment = Annotated[int, Meta(ge=0, le=NUMBER_MAX - 1)]


class NewSuspension(Struct, frozen=True, forbid_unknown_fields=True):
    """From what somebody is suspended, why, and until when: null is without end. The `statement` is for them."""

    id: SuspensionId
    capability: Capability
    reason: Reason
    statement: Text = ""
    until_ms: Moment | None = None


class SuspensionChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of a suspension. An appeal that is granted lifts it, as `lift` does."""

    appeal: Literal["open", "granted", "denied"] | UnsetType = UNSET
    appeal_text: Text | UnsetType = UNSET
    until_ms: Moment | UnsetType | None = UNSET
    lift: bool = False


class UserShown(Struct, frozen=True):
    """Somebody's facts, all their suspensions, and from what they are suspended now."""

    user_id: str
    known: Known
    suspensions: tuple[Suspension, ...]
    suspended_from: tuple[str, ...]


class _People:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._engine, self._clock = services.engine, services.clock

    async def _shown(self, user_id: str) -> UserShown:
        found, now_ms = await ask(journal.read, self._engine, user_id), self._clock.now_ms()
        barred = sorted({each.capability for each in found.suspensions if each.holds(now_ms)})
        return UserShown(user_id, found.known, found.suspensions, tuple(barred))

    async def get(self, request: Request) -> Response:
        return answer(await self._shown(user_id_of(request)))

    async def put(self, request: Request) -> Response:
        user_id, known = user_id_of(request), await body(request, Known)
        await ask(journal.write_known, self._engine, user_id, known, self._clock.now_ms())
        await self._services.users.tell(user_id)
        return answer(await self._shown(user_id))

    async def suspend(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), await body(request, NewSuspension)
        new = Suspension(user_id=user_id, from_ms=self._clock.now_ms(), **msgspec.structs.asdict(asked))
        try:
            first = await ask(journal.suspend, self._engine, new)
        except Taken:
            raise HttpError(409, "conflict", "This id was used for another suspension of this person.") from None
        except TooMany:
            raise HttpError(409, "too_many_suspensions", "No more suspensions can be kept.") from None
        await self._services.users.tell(user_id)
        if new.capability == "go_live":
            await _end_broadcasts_now(self._services, user_id)
        return answer(await self._shown(user_id), 201 if first else 200)

    async def amend(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), await body(request, SuspensionChange)
        change, id = _changes(asked, self._clock.now_ms()), request.path_params["suspension"]
        try:
            await ask(journal.amend, self._engine, user_id, id, self._clock.now_ms(), change)
        except NoSuchSuspension:
            raise HttpError(404, "no_such_suspension", "This person has no such suspension.") from None
        await self._services.users.tell(user_id)
        return answer(await self._shown(user_id))


def routes(services: Services) -> list[Route]:
    """Read and write somebody's facts, and suspend them."""
    people, one = _People(services), "/v1/users/{user}"
    of_one, changes = one + "/suspensions", "Change or lift a suspension, or decide its appeal"
    return [
        route(one, people.get, summary="What is known of somebody, and their suspensions", gives=UserShown),
        route(one, people.put, method="PUT", summary="Replace what is known of somebody", body=Known, gives=UserShown),
        route(
            of_one,
            people.suspend,
            method="POST",
            summary="Suspend somebody from one thing",
            body=NewSuspension,
            gives=UserShown,
            statuses=(200, 201),
        ),
        route(
            of_one + "/{suspension}",
            people.amend,
            method="PATCH",
            summary=changes,
            body=SuspensionChange,
            gives=UserShown,
        ),
    ]


def _changes(asked: SuspensionChange, now_ms: int) -> Callable[[Suspension], Changes]:
    def change(before: Suspension) -> Changes:
        lifted = (asked.lift or asked.appeal == "granted") and before.ended_ms is None
        ended_ms = now_ms if lifted else UNSET
        return Changes(appeal=asked.appeal, appeal_text=asked.appeal_text, until_ms=asked.until_ms, ended_ms=ended_ms)

    return change


# --- the broadcasts of suspended hosts -------------------------------------------------------------------------------
async def _end_broadcasts_now(services: Services, user_id: str) -> None:
    """End them, and look again a moment later: one may have begun meanwhile. Raises StoreError, SQLAlchemyError."""
    again_ms = services.clock.now_ms() + limits.USERS_END_AGAIN_MS
    await ask(due.add, services.engine, [Work(END, "", user_id, again_ms)])
    await _end_broadcasts(services, user_id)


@does(END)
async def end_due(services: Services, work: Work) -> None:
    """End the broadcasts of somebody who is still suspended."""
    if any(each.name == "suspension" for each in await services.users.may_go_live(work.ref)):
        await _end_broadcasts(services, work.ref)


async def _end_broadcasts(services: Services, user_id: str) -> None:
    ids = await services.history.room_ids()
    for start in range(0, len(ids), limits.LISTING_CHUNK):
        some = ids[start : start + limits.LISTING_CHUNK]
        for room_id, meta in zip(some, await services.history.metas(some, ("host_id", "status")), strict=True):
            if meta.get("host_id") == user_id and meta.get("status") in LIVE:
                await _suspend_room(services, room_id)


async def _suspend_room(services: Services, room_id: str) -> None:
    admin = RoomsAdmin(services.history, services.clock, services.eligibility, services.engine)
    try:
        await admin.turn(room_id, "suspend")
    except (NoSuchRoom, WrongStatus):  # somebody was quicker
        return


@every(1.0)
async def end_if_suspended(room: Room) -> None:
    """Each node watches over its own rooms, too: the one that was asked may have died."""
    services, about = room.services, room.about
    if about.status in LIVE and services.users.suspended(about.host.user_id, "go_live") is not None:
        await _suspend_room(services, room.id)
