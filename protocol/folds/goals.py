"""Goals, as the room's events change them. They outlive a broadcast."""

from msgspec.structs import replace

from protocol.folding import Changed, folds
from protocol.goals import Goal, GoalProgressed, GoalReached, GoalsChanged
from protocol.rooms import Snapshot


@folds(GoalsChanged)
def goals_changed(_room: Snapshot, event: GoalsChanged) -> Changed:
    return {"goals": event.goals}


@folds(GoalProgressed)
def goal_progressed(room: Snapshot, event: GoalProgressed) -> Changed:
    now: dict[str, Goal] = {goal.id: goal for goal in (event.goal, *event.others)}
    return {"goals": tuple(now.get(goal.id, goal) for goal in room.goals)}


@folds(GoalReached)
def goal_reached(room: Snapshot, event: GoalReached) -> Changed:
    return {"goals": tuple(replace(goal, reached=True) if goal.id == event.id else goal for goal in room.goals)}
