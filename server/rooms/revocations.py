"""Revoked tokens, on this node: SQL has them first, the bus brings new ones at once, and a look at SQL what it lost.

Admission may not wait for a store, so every node keeps all of them.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.clock import Clock
from server.journal import revocations as journal
from server.journal.database import ask
from server.journal.revocations import EVERYWHERE, Revocation
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore

log = structlog.get_logger()
_NEWS = msgspec.json.Decoder(Revocation)


class Revocations:
    """One per node. `on_revoked` is called with the user id of each new one."""

    def __init__(self, engine: Engine, store: Store | ClusterStore, clock: Clock) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._until_ms: dict[tuple[str, str], int] = {}
        self._read_ms = 0  # what was written before then is known, but for the overlap
        self._task: asyncio.Task[None] | None = None
        self.on_revoked: Callable[[str], None] = lambda _user_id: None

    def hold(self, user_id: str, room_id: str, minted_ms: int | None) -> bool:
        """Whether a token of this person is no longer good in this room. One that says no time was made before all."""
        if not self._until_ms:
            return False
        until_ms = max(self._until_ms.get((user_id, place), -1) for place in (EVERYWHERE, room_id))
        return (minted_ms or 0) <= until_ms

    async def revoke(self, user_id: str, room_id: str | None) -> int:
        """Revoke every token that was minted before now, and return that time.

        Raises TooManyRevocations, SQLAlchemyError.
        """
        new = Revocation(user_id, room_id or EVERYWHERE, self._clock.now_ms())
        await ask(journal.record, self._engine, new)
        self._learn(new)
        try:
            await self._store.call("PUBLISH", keys.REVOKED, msgspec.json.encode(new))
        except StoreError as error:
            log.warning("revocation_told_later", user=user_id, why=str(error))  # the others look into SQL
        return new.revoked_ms

    def on_news(self, payload: bytes) -> None:
        """Take one that another node has written down."""
        self._learn(_NEWS.decode(payload))

    async def read(self) -> None:
        """Read what is new in SQL. Raises SQLAlchemyError."""
        now_ms = self._clock.now_ms()
        after_ms = max(0, self._read_ms - limits.REVOCATIONS_OVERLAP_MS)
        for each in await ask(journal.since, self._engine, after_ms):
            self._learn(each)
        self._read_ms = now_ms

    async def start(self) -> None:
        """Look from time to time."""
        self._task = background.forever("revocations", self._look)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _look(self) -> None:
        while True:
            try:
                await self.read()
            except SQLAlchemyError as error:
                log.debug("revocations_later", why=str(error))
            await asyncio.sleep(limits.REVOCATIONS_AGAIN_S)

    def _learn(self, new: Revocation) -> None:
        place = (new.user_id, new.room_id)
        if self._until_ms.get(place, -1) < new.revoked_ms:
            self._until_ms[place] = new.revoked_ms
            self.on_revoked(new.user_id)
