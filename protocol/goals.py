"""Goals: what a room wants to reach together. They go on over broadcasts until the host removes them."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.ids import CatalogueId, GoalId
from protocol.refusals import Reason
from protocol.wire import Command, Delivery, Event, Named, Ok, SnapshotPart

TITLE_CHARS_MAX = 80
GoalKind = Literal["coins", "likes", "followers", "viewers", "gift"]
GoalTitle = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS_MAX)]
Target = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
Progress = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]


class GoalsRefusal(Reason):
    """The reasons of goals."""

    UNKNOWN_GOAL = "unknown_goal", "The room has no such goal."
    TOO_MANY_GOALS = "too_many_goals", "The room has too many goals; remove one first."
    OTHER_KIND = "other_kind", "What a goal counts cannot change; make another goal."


class Goal(Struct, frozen=True, kw_only=True):
    """A goal: `current` of `target`. Once `reached` it stays so. `gift` is for goals of that kind."""

    id: str
    kind: GoalKind
    title: str
    target: int
    current: int
    reached: bool
    gift: str | UnsetType = UNSET


class SetGoal(Command, frozen=True, tag="goals.set"):
    """The host: make a goal, or change title and target of one. Without an id it is a new one."""

    kind: GoalKind
    title: GoalTitle
    target: Target
    id: GoalId | None = None
    gift: CatalogueId | None = None


class SetGoalOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The goal is on disk."""

    id: str


class RemoveGoal(Command, frozen=True, tag="goals.remove"):
    """The host: remove a goal."""

    id: GoalId


class GoalsChanged(Event, frozen=True, tag="goals.changed"):
    """The room's goals are now these, the oldest first."""

    goals: tuple[Goal, ...]


class GoalProgressed(Event, frozen=True, tag="goals.progressed"):
    """A goal has moved, at most once a second. `others` are the room's other goals, as they stand."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    goal: Goal
    others: tuple[Goal, ...] = ()


class GoalReached(Event, frozen=True, tag="goals.reached"):
    """A goal is reached, once. `id` is the goal's; `contributors` gave most to it, the greatest first."""

    contributors: tuple[Named, ...]


class GoalsPart(SnapshotPart, frozen=True, kw_only=True):
    """The room's goals, the oldest first."""

    goals: tuple[Goal, ...] = ()
