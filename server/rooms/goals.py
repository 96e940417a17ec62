"""A room's goals in its store: the copy of SQL's list that moves. One that is lost is made again, and counted again.

The field `` of the copy says for which epoch it is whole, and which version of the list it has: 0 while somebody
changes SQL, so that another node makes it again if that one dies in between.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from protocol.goals import Goal, GoalKind, GoalReached, GoalsChanged
from protocol.wire import Named, encode
from server.journal import goals as journal
from server.journal.database import ask
from server.journal.goals import Defined, Listed
from server.rooms.given import Gift, given_before
from server.rooms.room import Services
from server.store import keys, scripts
from server.store.client import Arg
from server.store.scripts import hole

BEGIN = scripts.load("goals_begin")
PUT = scripts.load("goals_put")
SCRIPTS = (BEGIN, PUT)
FILL_TRIES = 5
NEVER = 10**15  # the target of a goal that is not counted yet
GOALS = keys.of_room("goals", "Hash per goal: its numbers and definition; `` has the epoch for which they are whole.")
keys.of_room("goal_moved", "Set of the goals that moved since the room was told.")
keys.of_room("goal_givers", "Sorted set per goal: what each giver brought to it.")
keys.of_room("goal_names", "Hash: display names of those who gave to a goal.")
REACHED = encode(GoalReached(id=hole("id"), contributors=hole("contributors")))
CONTRIBUTOR = encode(Named(hole("user_id"), hole("name")))


async def show(services: Services, room_id: str, listed: Listed) -> None:
    """Give the room this list. Raises NoSuchRoom, StoreError, SQLAlchemyError."""
    epoch, _ = await services.history.position(room_id)
    if await _put(services, room_id, epoch, listed) == b"not_whole":
        await fill(services, room_id, epoch)


async def fill(services: Services, room_id: str, epoch: str) -> None:
    """Make the room's copy of SQL's list, and count again, unless it is there.

    Raises NoSuchRoom, StoreError, SQLAlchemyError.
    """
    for _ in range(FILL_TRIES):  # another node may begin in between: the last one counts
        mark = await _mark(services, room_id)
        if mark.startswith(f"{epoch} ") and mark != f"{epoch} 0":
            return
        listed = await ask(journal.read, services.engine, room_id)
        if mark == f"{epoch} 0" and await _put(services, room_id, epoch, listed) in (b"ok", b"known"):
            return
        if await _count_again(services, room_id, epoch, listed):
            return


async def _count_again(services: Services, room_id: str, epoch: str, listed: Listed) -> bool:
    """Fill the copy with this list. Returns whether nothing came in between."""
    token = secrets.token_hex(8)
    each: list[dict[str, Arg]] = [{"id": goal.id, "value": f"{NEVER} 0 0 {_rest(goal)}"} for goal in listed.goals]
    begun = await services.history.change(room_id, BEGIN, epoch=epoch, token=token, each=each)
    if begun[0] != b"ok":
        return bool(begun[0] == b"other_epoch")
    counted = [goal for goal in listed.goals if goal.kind in ("coins", "gift")]
    gifts: list[Gift] = []
    if counted:
        gifts = await given_before(services, room_id, int(begun[1]), min(goal.created_ms for goal in counted))
    sums = {goal.id: sum(_brings(goal, gift) for gift in gifts) for goal in counted}
    return await _put(services, room_id, epoch, listed, _Filling(token, sums)) == b"ok"


async def _mark(services: Services, room_id: str) -> str:
    """For which epoch the room's copy is whole, and the version of its list."""
    found: Any = await services.history.store.call("HGET", keys.room(room_id, GOALS), "")
    return "" if found is None else str(found.decode())


async def begin_change(services: Services, room_id: str) -> None:
    """Mark the copy as old before SQL changes: if this node dies in between, another makes it again."""
    epoch, _ = await services.history.position(room_id)
    store, key = services.history.store, keys.room(room_id, GOALS)
    if (await _mark(services, room_id)).startswith(f"{epoch} "):
        await store.call("HSET", key, "", f"{epoch} 0")
    else:  # who fills it has the list from before
        await store.call("HDEL", key, "")


def _brings(goal: Defined, gift: Gift) -> int:
    """What a gift brings to a goal."""
    if gift.at_ms < goal.created_ms or (goal.kind == "gift" and gift.gift != goal.gift):
        return 0
    return gift.coins if goal.kind == "coins" else gift.count


class _Filling(Struct, frozen=True):
    """Who fills a copy, and what was given to each goal before."""

    token: str = ""
    sums: Mapping[str, int] = {}


_NOT = _Filling()


async def _put(services: Services, room_id: str, epoch: str, listed: Listed, filling: _Filling = _NOT) -> bytes:
    outcome = await services.history.change(
        room_id,
        PUT,
        epoch=epoch,
        token=filling.token,
        version=listed.version,
        event=REACHED,
        row=CONTRIBUTOR,
        changed=encode(GoalsChanged(id=services.clock.new_id(), goals=hole("goals"))),
        each=[_put_args(goal, filling.sums.get(goal.id, 0)) for goal in listed.goals],
    )
    return bytes(outcome[0])


def _put_args(goal: Defined, add: int) -> dict[str, Arg]:
    return {
        "id": goal.id,
        "target": goal.target,
        "reached": int(goal.reached),
        "rest": _rest(goal),
        "add": add,
        "least": goal.current if goal.kind in ("likes", "viewers") else 0,
        "exact": goal.current if goal.kind == "followers" else "",
    }


def _rest(goal: Defined) -> str:
    """What of a goal's value follows its numbers (see goals_move.lua)."""
    shown = _goal(goal.id, goal.kind, goal.gift, goal.title)
    head = msgspec.json.encode(shown).partition(b',"target":')[0].decode()
    return f"{goal.kind} {goal.gift or '-'} {goal.created_ms} {head}"


def _goal(goal_id: str, kind: GoalKind, gift: str | None, title: str) -> Goal:
    named = {} if gift is None else {"gift": gift}
    return Goal(id=goal_id, kind=kind, title=title, target=1, current=0, reached=False, **named)


def goals_in(values: Iterable[str]) -> tuple[Goal, ...]:
    found: list[tuple[int, Goal]] = []
    for value in values:
        target, current, reached, _kind, _gift, created_ms, head = value.split(" ", 6)
        numbers = f'"target":{target},"current":{current},"reached":{"true" if reached == "1" else "false"}'
        found.append((int(created_ms), msgspec.json.decode(f"{head},{numbers}}}", type=Goal)))
    return tuple(goal for _, goal in sorted(found, key=lambda each: (each[0], each[1].id)))


async def shown_goals(services: Services, room_id: str) -> tuple[Goal, ...]:
    """The room's goals as the store counts them. Raises StoreError."""
    found: Any = await services.history.store.call("HGETALL", keys.room(room_id, GOALS))
    return goals_in(value.decode() for field, value in found.items() if field)
