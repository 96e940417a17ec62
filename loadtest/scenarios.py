"""The scenarios. Each is a plan of what a crowd does, made from a few numbers. Rates are per second, of all viewers."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from loadtest.limits import MANY, Limits

Means = Literal["node", "store"]


class Phase(Struct, frozen=True):
    """A part of the run: its share of the time, how lively it is, and what happens at its start."""

    name: str
    share: float
    chats: float = 1.0  # a factor on the plan's rate
    gifts: float = 1.0
    wave: float = 0.0  # this part of the viewers lose their connection and come back at once
    kill: Means | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that defines a run. The same plan and seed make the same load."""

    scenario: str
    viewers: int
    seconds: float
    rooms: int = 1
    ramp_s: float = 5.0  # over which everybody joins
    drift: bool = False  # the ramp is part of the run, not before it
    chats_per_s: float = 0.0
    gifts_per_s: float = 0.0
    likes_per_s: float = 0.0
    givers: float = 0.2  # part of the viewers
    combos: bool = True
    tiers: bool = True  # gifts of every price, otherwise only the cheapest
    churn_per_s: float = 0.0  # viewers who leave and return as newcomers
    talkers: int = 0  # viewers who chat and think in between, besides chats_per_s
    think_s: float = 0.0
    slow: float = 0.0  # part of the viewers: they never read after their welcome
    trolls: int = 0  # people beside the viewers who disturb the first room
    moderators: int = 0  # who decide about them
    hostile: int = 0  # additional connections that break every rule
    phases: tuple[Phase, ...] = (Phase("steady", 1.0),)
    seed: int = 1
    processes: int = 1
    limits: Limits | None = None  # None: only what is wrong makes the run fail


Made = Callable[[int, float], Plan]
# Who comes back has not heard meanwhile, and cannot chat; what is killed is away for some seconds.
WAVES = Limits(max_p99_ms=5_000.0, max_refused=10.0)
KILLS = Limits(max_p99_ms=20_000.0, max_refused=50.0, max_closed=MANY, max_pause_s=20.0)


def chat_storm(viewers: int, seconds: float) -> Plan:
    """Everybody in one room chats at once, and a few send gifts."""
    return Plan(scenario="chat_storm", viewers=viewers, seconds=seconds, chats_per_s=200, gifts_per_s=2, likes_per_s=20)


def gift_rain(viewers: int, seconds: float) -> Plan:
    """Many send gifts at once: streaks, every tier."""
    return Plan(scenario="gift_rain", viewers=viewers, seconds=seconds, chats_per_s=5, gifts_per_s=200, givers=0.5)


def whale(viewers: int, seconds: float) -> Plan:
    """One viewer sends gifts as fast as the rules allow."""
    one = 1 / max(1, viewers)
    return Plan(scenario="whale", viewers=viewers, seconds=seconds, chats_per_s=5, gifts_per_s=40, givers=one)


def reconnect_wave(viewers: int, seconds: float) -> Plan:
    """Half of the viewers, then all of them, lose their connection and come back at once."""
    phases = (
        Phase("before", 0.25),
        Phase("half of them come back", 0.25, wave=0.5),
        Phase("all of them come back", 0.5, wave=1.0),
    )
    return Plan(
        scenario="reconnect_wave",
        viewers=viewers,
        seconds=seconds,
        chats_per_s=50,
        gifts_per_s=10,
        phases=phases,
        limits=WAVES,
    )


def slow_readers(viewers: int, seconds: float) -> Plan:
    """A tenth of the viewers never reads: nobody else may notice."""
    return Plan(scenario="slow_readers", viewers=viewers, seconds=seconds, chats_per_s=100, gifts_per_s=5, slow=0.1)


def hostile(viewers: int, seconds: float) -> Plan:
    """Beside the viewers, twenty connections that break every rule."""
    return Plan(scenario="hostile", viewers=viewers, seconds=seconds, chats_per_s=20, gifts_per_s=5, hostile=20)


def big_room(viewers: int, seconds: float) -> Plan:
    """Everybody in one lively room; people come and go."""
    return Plan(
        scenario="big_room",
        viewers=viewers,
        seconds=seconds,
        ramp_s=max(5.0, viewers / 1000),
        chats_per_s=50,
        gifts_per_s=5,
        likes_per_s=50,
        churn_per_s=viewers / 200,
    )


def many_rooms(viewers: int, seconds: float) -> Plan:
    """Ten viewers in each room."""
    return Plan(
        scenario="many_rooms",
        viewers=viewers,
        seconds=seconds,
        rooms=max(1, viewers // 10),
        ramp_s=max(5.0, viewers / 1000),
        chats_per_s=viewers / 10,
        gifts_per_s=viewers / 50,
    )


def mixed_evening(viewers: int, seconds: float) -> Plan:
    """An evening's show, compressed: people drift in, phones go through a tunnel, it gets loud, gifts rain."""
    phases = (
        Phase("people drift in", 0.2, chats=0.3, gifts=0.1),
        Phase("the show", 0.25),
        Phase("a tunnel", 0.1, wave=0.3),
        Phase("it gets loud", 0.15, chats=4, gifts=2),
        Phase("gifts rain", 0.15, chats=2, gifts=10),
        Phase("good night", 0.15, chats=0.5, gifts=0.5),
    )
    return Plan(
        scenario="mixed_evening",
        viewers=viewers,
        seconds=seconds,
        rooms=3,
        ramp_s=seconds * 0.2,
        drift=True,
        gifts_per_s=10,
        likes_per_s=20,
        churn_per_s=viewers / 100,
        talkers=max(1, viewers // 10),
        think_s=4.0,
        slow=0.02,
        hostile=2,
        phases=phases,
        limits=WAVES,
    )


def moderated_evening(viewers: int, seconds: float) -> Plan:
    """Trolls disturb a room, moderators ban, mute and hide them: nobody may see them after that."""
    return Plan(
        scenario="moderated_evening",
        viewers=viewers,
        seconds=seconds,
        chats_per_s=20,
        gifts_per_s=5,
        trolls=20,
        moderators=3,
    )


def _killing(scenario: str, what: Means, viewers: int, seconds: float) -> Plan:
    phases = (Phase("before", 0.3), Phase(f"without the {what}, and after", 0.7, kill=what))
    return Plan(
        scenario=scenario,
        viewers=viewers,
        seconds=seconds,
        chats_per_s=50,
        gifts_per_s=50,
        phases=phases,
        limits=KILLS,
    )


def node_kill(viewers: int, seconds: float) -> Plan:
    """The node is killed while gifts are under way; everybody comes back to the next node."""
    return _killing("node_kill", "node", viewers, seconds)


def store_kill(viewers: int, seconds: float) -> Plan:
    """The wallet store is killed while gifts are under way, and restarts."""
    return _killing("store_kill", "store", viewers, seconds)


ALL: dict[str, Made] = {
    made.__name__: made
    for made in (
        chat_storm,
        gift_rain,
        whale,
        reconnect_wave,
        slow_readers,
        hostile,
        big_room,
        many_rooms,
        mixed_evening,
        moderated_evening,
        node_kill,
        store_kill,
    )
}
