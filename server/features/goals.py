"""Goals: what a room wants to reach together. SQL has the list; the room store counts, in the step of each gift."""

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.gifts import GiftRefunded, GiftSent
from protocol.goals import (
    TITLE_CHARS_MAX,
    Goal,
    GoalKind,
    GoalProgressed,
    GoalReached,
    GoalsChanged,
    GoalsRefusal,
    GoalTitle,
    Progress,
    RemoveGoal,
    SetGoal,
    SetGoalOk,
    Target,
)
from protocol.ids import CatalogueId
from protocol.likes import LikesCounted
from protocol.refusals import Reason, Refusal, Refused
from protocol.viewers import ViewersCounted
from protocol.wire import Event, encode
from server import limits
from server.http.api import HttpError, answer, body, goal_id_of, room_id_of, route, shown
from server.journal import goals as journal
from server.journal.database import ask
from server.journal.goals import Defined
from server.rooms.goals import CONTRIBUTOR, REACHED, begin_change, fill, goals_in, show, shown_goals
from server.rooms.goals import SCRIPTS as COPY_SCRIPTS
from server.rooms.history import NoSuchRoom
from server.rooms.registry import every, handles, reacts, snapshot_part
from server.rooms.room import Member, Room, Services
from server.rooms.staff import HOST, PLATFORM_ACTS, Deed, actor, check, note
from server.store import hooks, scripts
from server.store.client import StoreError
from server.store.scripts import hole
from server.text import NotSeen, clean

log = structlog.get_logger()

GOALS_MAX = 10  # per room: what people can look at, and what every gift looks through
EVERY_MS = 1_000  # between two goals.progressed of a room
LOOK_EVERY_S = 5.0
SAVED_EVERY_S = 30.0  # how far likes and viewers are, in case the room store is lost
PUBLISH = scripts.load("goals_publish")
SCRIPTS = (PUBLISH, *COPY_SCRIPTS)
GIVERS_S = 90 * 24 * 3600  # how long a goal remembers its givers after the last gift
hooks.supply("goals_on_gift_shown", event=REACHED, row=CONTRIBUTOR, givers_s=GIVERS_S)
for _moment in ("likes_counted", "viewers_counted"):
    hooks.supply(f"goals_on_{_moment}", event=REACHED, row=CONTRIBUTOR)


class _Goals:
    """What this node knows of a room's goals."""

    __slots__ = ("moved", "saved", "some")

    def __init__(self) -> None:
        self.moved = True  # a node that died may have left something unpublished
        self.some = True  # whether there are goals
        self.saved = True


# --- the host's commands -------------------------------------------------------------------------------------------
@handles(SetGoal)
async def set_goal(room: Room, member: Member, command: SetGoal) -> SetGoalOk:
    """Make a goal, or change one. Raises Refused."""
    by = actor(member)
    goal_id = command.id or room.services.clock.new_id()
    wish = Wish(kind=command.kind, gift=command.gift, title=command.title, target=command.target)
    deed = Deed(act="goals.set", data={"id": goal_id, **msgspec.to_builtins(wish)}, least=HOST)
    check(room, by, deed)
    try:
        await _set(room.services, room.id, goal_id, wish)
    except SQLAlchemyError as error:
        raise _away(room.id, error) from None
    await note(room.services, room.id, by, deed)
    return SetGoalOk(id=goal_id)


@handles(RemoveGoal)
async def remove_goal(room: Room, member: Member, command: RemoveGoal) -> None:
    """Remove a goal. Raises Refused."""
    by, deed = actor(member), Deed(act="goals.remove", data={"id": command.id}, least=HOST)
    check(room, by, deed)
    try:
        await _remove(room.services, room.id, command.id)
    except SQLAlchemyError as error:
        raise _away(room.id, error) from None
    await note(room.services, room.id, by, deed)


def _away(room_id: str, error: SQLAlchemyError) -> Refused:
    log.warning("goals_refused", room=room_id, why=str(error)[: limits.LOGGED_CHARS_MAX])
    return Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS)


# --- what both the host and the platform do ------------------------------------------------------------------------
class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A goal as somebody wants it. `gift` is for goals of that kind; the platform sets `current` of followers."""

    kind: GoalKind
    gift: CatalogueId | None = None
    title: GoalTitle
    target: Target
    current: Progress | None = None


async def _set(services: Services, room_id: str, goal_id: str, wish: Wish) -> None:
    """Write it into SQL, then into the room. Raises Refused, NoSuchRoom, StoreError, SQLAlchemyError."""
    if (wish.kind == "gift") != (wish.gift is not None) or (wish.current is not None and wish.kind != "followers"):
        raise Refused(Refusal.BAD_COMMAND, field="gift" if wish.current is None else "current")
    if wish.gift is not None and services.catalogue.get(wish.gift) is None:
        raise Refused(Refusal.UNKNOWN_GIFT)
    try:
        title = clean(wish.title, TITLE_CHARS_MAX)
    except NotSeen:
        raise Refused(Refusal.BAD_COMMAND, field="title") from None
    await begin_change(services, room_id)
    now_ms = services.clock.now_ms()

    def changed(before: tuple[Defined, ...]) -> tuple[Defined, ...]:
        old = next((goal for goal in before if goal.id == goal_id), None)
        if old is None:
            if len(before) >= GOALS_MAX:
                raise Refused(GoalsRefusal.TOO_MANY_GOALS)
            old = Defined(id=goal_id, kind=wish.kind, gift=wish.gift, title="", target=1, created_ms=now_ms)
            before = (*before, old)
        if (old.kind, old.gift) != (wish.kind, wish.gift):
            raise Refused(GoalsRefusal.OTHER_KIND)
        current = old.current if wish.current is None else wish.current
        new = replace(old, title=title, target=wish.target, current=current)
        return tuple(new if goal is old else goal for goal in before)

    await show(services, room_id, await ask(journal.change, services.engine, room_id, changed, now_ms))


async def _remove(services: Services, room_id: str, goal_id: str) -> None:
    """The same for a removal."""
    await begin_change(services, room_id)

    def changed(before: tuple[Defined, ...]) -> tuple[Defined, ...]:
        after = tuple(goal for goal in before if goal.id != goal_id)
        if len(after) == len(before):
            raise Refused(GoalsRefusal.UNKNOWN_GOAL)
        return after

    now_ms = services.clock.now_ms()
    await show(services, room_id, await ask(journal.change, services.engine, room_id, changed, now_ms))


@snapshot_part("goals")
def goals_of(state: dict[str, str]) -> tuple[Goal, ...]:
    return goals_in(value for field, value in state.items() if field.startswith("goal:"))


# --- in the room ---------------------------------------------------------------------------------------------------
def goals_may_move(room: Room, _event: Event) -> None:
    goals: _Goals = room.memory("goals", _Goals)
    goals.moved, goals.saved = goals.some, goals.saved and not goals.some


for _event in (GiftSent, GiftRefunded, LikesCounted, ViewersCounted):
    reacts(_event)(goals_may_move)


@reacts(GoalsChanged)
def goals_changed(room: Room, event: GoalsChanged) -> None:
    goals: _Goals = room.memory("goals", _Goals)
    goals.moved = goals.some = bool(event.goals)


@reacts(GoalReached)
def goal_reached(room: Room, event: GoalReached) -> None:
    room.spawn(_save(room))


@every(EVERY_MS / 1000)
async def publish_goals(room: Room) -> None:
    """Publish what moved. Every node of the room tries; the script lets one through per second."""
    goals: _Goals = room.memory("goals", _Goals)
    if not goals.moved:
        return
    goals.moved = False
    try:
        event = GoalProgressed(id=room.services.clock.new_id(), goal=hole("goal"), others=hole("others"))
        outcome = await room.services.history.change(room.id, PUBLISH, every_ms=EVERY_MS, event=encode(event))
    except BaseException:
        goals.moved = True
        raise
    goals.some = int(outcome[1]) > 0 or (goals.some and goals.moved)
    goals.moved = goals.moved or outcome[0] == b"later"


@every(limits.PEOPLE_AGAIN_S)
async def keep_goals(room: Room) -> None:
    """Make the copy again if it is lost. SQL may have been away when the room opened."""
    room.spawn(_fill(room))  # counting may take long, and the room's other work goes on


async def _fill(room: Room) -> None:
    try:
        await fill(room.services, room.id, room.epoch)
    except (SQLAlchemyError, StoreError, NoSuchRoom) as error:
        log.info("goals_later", room=room.id, why=str(error)[: limits.LOGGED_CHARS_MAX])


@every(LOOK_EVERY_S)
async def look_at_goals(room: Room) -> None:
    """Look for what moved without an event: gifts and refunds of an earlier broadcast."""
    goals: _Goals = room.memory("goals", _Goals)
    goals.moved = goals.moved or goals.some


@every(SAVED_EVERY_S)
async def save_goals(room: Room) -> None:
    """Keep in SQL how far the goals are that nobody can count again."""
    goals: _Goals = room.memory("goals", _Goals)
    if not goals.saved:
        goals.saved = True
        room.spawn(_save(room))


async def _save(room: Room) -> None:
    try:
        now = {goal.id: goal for goal in await shown_goals(room.services, room.id)}
        saved = lambda before: tuple(_saved(goal, now.get(goal.id)) for goal in before)  # noqa: E731
        await ask(journal.change, room.services.engine, room.id, saved, room.services.clock.now_ms())
    except (SQLAlchemyError, StoreError, NoSuchRoom) as error:
        log.info("goals_saved_later", room=room.id, why=str(error)[: limits.LOGGED_CHARS_MAX])
        room.memory("goals", _Goals).saved = False


def _saved(goal: Defined, now: Goal | None) -> Defined:
    if now is None:
        return goal
    current = max(goal.current, now.current) if goal.kind in ("likes", "viewers") else goal.current
    return replace(goal, current=current, reached=goal.reached or now.reached)


# --- HTTP ----------------------------------------------------------------------------------------------------------
class GoalsShown(Struct, frozen=True):
    """A room's goals, the oldest first."""

    goals: tuple[Goal, ...]


class Done(Struct, frozen=True):
    """It is done."""


def routes(services: Services) -> list[Route]:
    """What the platform does with goals."""

    async def listed(request: Request) -> Response:
        room_id = room_id_of(request)
        epoch, _ = await services.history.position(room_id)
        await fill(services, room_id, epoch)
        return answer(GoalsShown(await shown_goals(services, room_id)))

    async def put(request: Request) -> Response:
        room_id, goal_id = room_id_of(request), goal_id_of(request)
        wish = await body(request, Wish)
        shown("title", wish.title, TITLE_CHARS_MAX)
        try:
            await _set(services, room_id, goal_id, wish)
        except Refused as refused:
            raise _as_http(refused) from None
        deed = Deed(act="goals.set", data={"id": goal_id, **msgspec.to_builtins(wish)})
        await note(services, room_id, PLATFORM_ACTS, deed)
        return answer({})

    async def delete(request: Request) -> Response:
        room_id, goal_id = room_id_of(request), goal_id_of(request)
        try:
            await _remove(services, room_id, goal_id)
        except Refused as refused:
            raise _as_http(refused) from None
        await note(services, room_id, PLATFORM_ACTS, Deed(act="goals.remove", data={"id": goal_id}))
        return answer({})

    path = "/v1/rooms/{room}/goals"
    one = f"{path}/{{goal}}"
    return [
        route(path, listed, summary="A room's goals", gives=GoalsShown),
        route(one, put, method="PUT", summary="Make or change a goal", body=Wish, gives=Done),
        route(one, delete, method="DELETE", summary="Remove a goal", gives=Done),
    ]


_STATUSES: dict[Reason, int] = {GoalsRefusal.UNKNOWN_GOAL: 404, Refusal.UNKNOWN_GIFT: 404}


def _as_http(refused: Refused) -> HttpError:
    """What the types of the body cannot say is a conflict, as `gift` for a goal of coins."""
    if refused.reason is Refusal.BAD_COMMAND:
        return HttpError(409, "bad_request", "These fields do not belong together.")
    return HttpError(_STATUSES.get(refused.reason, 409), refused.reason.value, refused.reason.sentence, **refused.data)
