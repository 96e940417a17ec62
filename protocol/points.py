"""Fan points: what somebody has done for a host."""

from msgspec import Struct


class Today(Struct, frozen=True):
    """A day's points (UTC), each up to its cap."""

    watch: int
    chat: int
    gifts: int


class PointsShown(Struct, frozen=True, kw_only=True):
    """Somebody's points with a host, and of which kind. Dormant: none for a week; they stay, and wake with the next."""

    user_id: str
    host_id: str
    points: int
    watch: int
    chat: int
    gifts: int
    today: Today
    last_at_ms: int | None
    dormant: bool
