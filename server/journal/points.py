"""Fan points: what somebody did for a host, by watching and chatting, in one row; and by gifts, as the ledger says it.

A minute counts once, however many sockets, nodes and retries tell of it. So nothing comes twice, and a node that dies
takes at most its last minute with it.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, Column, Connection, Engine, Integer, String, Table, func, select, text

from server import limits
from server.journal.database import reading
from server.journal.tables import entries, metadata, reversal_parts

fan_points = Table(
    "fan_points",
    metadata,
    Column("host_id", String(64), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("watch", BigInteger, nullable=False),  # points of a lifetime
    Column("chat", BigInteger, nullable=False),
    Column("day", BigInteger, nullable=False),  # since 1970, UTC: that of the next two
    Column("day_watch", Integer, nullable=False),
    Column("day_chat", Integer, nullable=False),
    Column("watch_minute", BigInteger, nullable=False),  # the newest that counted, since 1970
    Column("chat_minute", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class Caps(Struct, frozen=True, kw_only=True):
    """Points of a day (UTC) at most: each of a minute that somebody was there, or said something, and of a coin."""

    minute_ms: int
    watch: int
    chat: int
    gifts: int


class Minute(Struct, frozen=True, order=True):
    """Somebody was there in a minute, and may have chatted. Sorted, so that two nodes never wait for each other."""

    user_id: str
    chatted: bool


class Points(Struct, frozen=True, kw_only=True):
    """What somebody has with a host. `day` parts are of today. Dormant: nothing for a week."""

    watch: int = 0
    chat: int = 0
    gifts: int = 0
    day_watch: int = 0
    day_chat: int = 0
    day_gifts: int = 0
    last_ms: int | None = None

    @property
    def total(self) -> int:
        return self.watch + self.chat + self.gifts


def count(engine: Engine, caps: Caps, host_id: str, minute: int, there: Sequence[Minute]) -> None:
    """Count a minute (since 1970) of these people, each once. Raises SQLAlchemyError."""
    day = minute * caps.minute_ms // limits.DAY_MS
    same = {"host": host_id, "day": day, "watch_minute": minute, "most_watch": caps.watch, "most_chat": caps.chat}
    rows = [
        {**same, "user": one.user_id, "chat": int(one.chatted), "chat_minute": minute if one.chatted else 0}
        for one in sorted(there)
    ]
    for first in range(0, len(rows), limits.SQL_VALUES_MAX):
        with engine.begin() as connection:
            connection.execute(_COUNT, rows[first : first + limits.SQL_VALUES_MAX])


def _credit(what: str) -> str:
    """1 if this minute counts: it is newer than the one that counted last, and the day has not had enough."""
    so_far = f"CASE WHEN excluded.day > fan_points.day THEN 0 ELSE fan_points.day_{what} END"
    newer = f"excluded.{what}_minute > fan_points.{what}_minute"
    return f"CASE WHEN {newer} AND {so_far} < :most_{what} THEN 1 ELSE 0 END"


def _set(what: str) -> str:
    so_far = f"CASE WHEN excluded.day > fan_points.day THEN 0 ELSE fan_points.day_{what} END"
    newest = f"CASE WHEN excluded.{what}_minute > fan_points.{what}_minute THEN excluded.{what}_minute"
    return (
        f"{what} = fan_points.{what} + {_credit(what)}, day_{what} = {so_far} + {_credit(what)}, "
        f"{what}_minute = {newest} ELSE fan_points.{what}_minute END"
    )


_SETS = (
    f"{_set('watch')}, {_set('chat')}, "
    "day = CASE WHEN excluded.day > fan_points.day THEN excluded.day ELSE fan_points.day END"
)
_NAMES = "host_id, user_id, watch, chat, day, day_watch, day_chat, watch_minute, chat_minute"
_VALUES = ":host, :user, 1, :chat, :day, 1, :chat, :watch_minute, :chat_minute"
_COUNT = text(
    f"INSERT INTO fan_points ({_NAMES}) VALUES ({_VALUES}) ON CONFLICT (host_id, user_id) DO UPDATE SET {_SETS}"  # noqa: S608
)


def read(engine: Engine, caps: Caps, host_id: str, user_id: str, now_ms: int) -> Points:
    """What somebody has with a host. Raises SQLAlchemyError."""
    today = now_ms // limits.DAY_MS
    of = fan_points.c
    with reading(engine).connect() as connection:
        row = connection.execute(select(fan_points).where(of.host_id == host_id, of.user_id == user_id)).first()
        by_day, newest_ms = _gifts(connection, host_id, user_id)
    gifts = {day: min(caps.gifts, max(0, coins)) for day, coins in by_day.items()}
    sums: dict[str, Any] = {"gifts": sum(gifts.values()), "day_gifts": gifts.get(today, 0)}
    times = [newest_ms]
    if row is not None:
        sums |= {"watch": row.watch, "chat": row.chat}
        sums |= {"day_watch": row.day_watch, "day_chat": row.day_chat} if row.day == today else {}
        times.append(row.watch_minute * caps.minute_ms)
    return Points(**sums, last_ms=max(times) or None)


def _gifts(connection: Connection, host_id: str, user_id: str) -> tuple[dict[int, int], int]:
    """The coins of each day's gifts less what is taken back of them, and when the newest was given; 0 for none."""
    gift, part = entries.c, reversal_parts.c
    day = gift.at_ms // limits.DAY_MS
    given = select(day, func.sum(gift.coins), func.max(gift.at_ms)).where(
        gift.user_id == user_id,
        gift.creator_id == host_id,
        text("entries.kind = 'gift'"),
        gift.body.not_like('%"anonymous":true%'),
    )
    rows = connection.execute(given.group_by(day)).all()
    found = {int(number): int(coins) for number, coins, _ in rows}
    taken = select(part.gift_day, func.sum(part.coins)).where(part.user_id == user_id, part.creator == host_id)
    for number, coins in connection.execute(taken.group_by(part.gift_day)):
        found[int(number)] = found.get(int(number), 0) - int(coins)
    return found, max((int(at_ms) for _, _, at_ms in rows), default=0)
