"""What staff decided about the people of a room, on this node: who is banned, muted, hidden, or a moderator.

SQL has it first (`journal.people`). The room store has a copy, which scripts look at. The node has a copy of that one,
for what may not wait: admission, roles, welcomes. A copy that is lost is made again from SQL.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal import people as journal
from server.journal.database import ask
from server.journal.people import NOTHING, Standing, Version
from server.rooms.history import History
from server.store import keys, scripts
from server.store.client import Arg

FILL = scripts.load("people_fill")
PEOPLE = keys.of_room("people", "Hash per user: `<version> <standing>`; `` has the epoch for which it is whole.")
SCRIPTS = (FILL,)

log = structlog.get_logger()


class People:
    """Everybody of one room about whom something is decided."""

    __slots__ = ("_versions", "whole")

    def __init__(self, versions: Mapping[str, Version], *, whole: bool) -> None:
        self._versions = dict(versions)
        self.whole = whole  # False while SQL is away and the store has lost its copy

    def of(self, user_id: str) -> Standing:
        found = self._versions.get(user_id)
        return NOTHING if found is None else found.standing

    def banned_until_ms(self, user_id: str, now_ms: int) -> int | None:
        """Until when somebody is banned; None if they are not."""
        until = self.of(user_id).banned_until_ms
        return until if until > now_ms else None

    def everybody(self) -> Iterable[tuple[str, Standing]]:
        """All of them by user id."""
        return ((user_id, version.standing) for user_id, version in sorted(self._versions.items()))

    def versions(self) -> Iterable[tuple[str, Version]]:
        return self._versions.items()

    def learn(self, user_id: str, version: Version) -> None:
        """Take a newer standing."""
        held = self._versions.get(user_id)
        if held is None or held.number < version.number:
            self._versions[user_id] = version

    def muted_until_ms(self, user_id: str, broadcast_id: str | None, now_ms: int) -> int | None:
        """Until when somebody may not chat; None if they may."""
        return muted_until_ms(self.of(user_id), broadcast_id, now_ms)


def muted_until_ms(standing: Standing, broadcast_id: str | None, now_ms: int) -> int | None:
    """Until when a person may not chat: FOREVER_MS until the broadcast ends, None if they may."""
    if standing.muted_in and standing.muted_in != broadcast_id:
        return None
    return standing.muted_until_ms if standing.muted_until_ms > now_ms else None


async def read_people(history: History, engine: Engine, room_id: str, epoch: str) -> People:
    """Read the store's copy, and make it again if it is not whole. Raises NoSuchRoom, StoreError."""
    fields = cast(dict[bytes, bytes], await history.store.call("HGETALL", keys.room(room_id, PEOPLE)))
    whole = fields.pop(b"", b"").decode() == epoch
    found = {user_id.decode(): version_of(value) for user_id, value in fields.items()}
    people = People(found, whole=whole)
    if not whole:
        await _fill(history, engine, room_id, epoch, people)
    return people


async def _fill(history: History, engine: Engine, room_id: str, epoch: str, people: People) -> None:
    try:
        rows = await ask(journal.standings, engine, room_id)
    except SQLAlchemyError as error:
        log.warning("people_later", room=room_id, why=str(error))
        return
    told = list(rows.items())
    for first in range(0, len(told), limits.PEOPLE_BATCH):
        each: list[dict[str, Arg]] = [
            {"user_id": user_id, "version": number, "standing": msgspec.json.encode(standing)}
            for user_id, (number, standing) in told[first : first + limits.PEOPLE_BATCH]
        ]
        await history.change(room_id, FILL, epoch=epoch, each=each)
    await history.change(room_id, FILL, epoch=epoch)
    for user_id, version in told:
        people.learn(user_id, version)
    people.whole = True


def version_of(value: bytes) -> Version:
    """A value of the store's copy."""
    number, _, standing = value.partition(b" ")
    return Version(int(number), msgspec.json.decode(standing, type=Standing))
