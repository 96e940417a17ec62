"""The acts of one process: what its viewers do, and when. They are drawn from the seed before the run.

Arrivals are open-loop: an act is due at its time, even if the server has not answered the last one. Its latency counts
from then, so a slow server does not get less load (no coordinated omission).
"""

import itertools
from collections.abc import Iterator
from random import Random

from msgspec import Struct

from loadtest.scenarios import Plan

ACTS_MAX = 2_000_000
STREAK = 8  # at most so many gifts in one streak
THINK_LEAST = 0.2  # the shortest thinking time, as a part of the mean


class Act(Struct, frozen=True):
    """One act. `who` picks a viewer among those who can do it; the same seed gives the same number."""

    at_s: float
    kind: str  # chat, gift, like, churn, wave
    who: int
    what: int = 0  # which gift; of a wave, how many viewers in a million
    count: int = 1
    streak: int = 0  # gifts of the same streak have the same number


def make(plan: Plan, process: int, gift_share: float) -> list[Act]:
    """This process's acts, in order of time. `gift_share` is its part of the gifts. Raises ValueError if too many."""
    chance = Random(f"{plan.seed} {process}")
    acts = [*_waves(plan)]
    acts += _at_rate(plan, "gift", plan.gifts_per_s * gift_share, chance)
    for kind, per_s in (("chat", plan.chats_per_s), ("like", plan.likes_per_s), ("churn", plan.churn_per_s)):
        acts += _at_rate(plan, kind, per_s / plan.processes, chance)
    acts += _thinking(plan, process, chance)
    if len(acts) > ACTS_MAX:
        raise ValueError(
            f"{len(acts)} acts are more than {ACTS_MAX}: shorten the run, lower the rates or add processes"
        )
    return sorted(acts, key=lambda act: act.at_s)


def _spans(plan: Plan) -> Iterator[tuple[float, float, int]]:
    """Start, end and number of each phase."""
    whole, at = sum(phase.share for phase in plan.phases), 0.0
    for number, phase in enumerate(plan.phases):
        until = at + plan.seconds * phase.share / whole
        yield at, until, number
        at = until


def phase_at(plan: Plan, at_s: float) -> int:
    return next((number for began, until, number in _spans(plan) if began <= at_s < until), len(plan.phases) - 1)


def starts(plan: Plan) -> list[float]:
    return [began for began, *_ in _spans(plan)]


def _at_rate(plan: Plan, kind: str, per_s: float, chance: Random) -> Iterator[Act]:
    """A Poisson process at the rate of each phase."""
    streaks = itertools.count(1)
    streak, left, giver = 0, 0, 0
    for began, until, number in _spans(plan):
        phase = plan.phases[number]
        rate = per_s * {"chat": phase.chats, "gift": phase.gifts}.get(kind, 1.0)
        at = began
        while rate > 0 and (at := at + chance.expovariate(rate)) < until:
            if kind != "gift":
                yield Act(at, kind, chance.randrange(1 << 30), count=chance.randint(1, 10))
                continue
            if not left:
                streak, left, giver = next(streaks), chance.randint(1, STREAK), chance.randrange(1 << 30)
            left -= 1
            what = int(chance.paretovariate(1.2)) - 1 if plan.tiers else 0  # most gifts are small
            yield Act(at, kind, giver, what, chance.choice((1, 1, 1, 2, 5)), streak if plan.combos else 0)


def _thinking(plan: Plan, process: int, chance: Random) -> Iterator[Act]:
    """People who say something, think, and say something again."""
    for talker in range(process, plan.talkers, plan.processes):
        at = chance.uniform(0, plan.think_s)
        while at < plan.seconds:
            yield Act(at, "chat", talker)
            lively = max(0.01, plan.phases[phase_at(plan, at)].chats)
            at += plan.think_s / lively * (THINK_LEAST + chance.expovariate(1 / (1 - THINK_LEAST)))


def _waves(plan: Plan) -> Iterator[Act]:
    for (began, *_), phase in zip(_spans(plan), plan.phases, strict=True):
        if phase.wave:
            yield Act(began, "wave", 0, int(phase.wave * 1_000_000))
