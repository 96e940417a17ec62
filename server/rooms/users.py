"""What a node knows of people: suspensions and regions. SQL has them first, and the bus says who has changed.

A gift may not wait for SQL, so every node keeps all suspensions that are in force. Who begins a broadcast is looked up.
"""

import asyncio
import contextlib

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.clock import Clock
from server.journal import users as journal
from server.journal.database import ask
from server.journal.users import Suspension
from server.requirements import Capability, Missing, Requirements
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore

log = structlog.get_logger()


class Users:
    """One per node."""

    def __init__(self, engine: Engine, store: Store | ClusterStore, clock: Clock, requirements: Requirements) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._requirements = requirements
        self._suspended: dict[str, dict[str, Suspension]] = {}
        self._regions: dict[str, str | None] = {}
        self._seen = -1  # the newest version that was looked at; -1 before SQL has answered
        self._changed: dict[str, None] = {}  # who is to be read again
        self._reading = asyncio.Lock()  # one after the other: what was read last is the newest
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --- what rooms ask, for each gift and message ---------------------------------------------------------------
    def suspended(self, user_id: str, capability: Capability) -> Suspension | None:
        """The suspension that keeps somebody from this now, or None."""
        if user_id not in self._suspended:
            return None
        found = self._suspended[user_id].get(capability)
        return found if found is not None and found.holds(self._clock.now_ms()) else None

    def region(self, user_id: str) -> str | None:
        """Where somebody lives, as far as it is known here."""
        return self._regions.get(user_id)

    async def load(self, user_id: str) -> None:
        """Know somebody's region from now on, if SQL answers soon. Otherwise it comes later."""
        if user_id in self._regions:
            return
        if len(self._regions) >= limits.USERS_KEPT:
            del self._regions[next(iter(self._regions))]
        self._regions[user_id] = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.USERS_LOAD_S):  # a room that opens waits for it
                await self.look(user_id)

    # --- what is looked up ---------------------------------------------------------------------------------------
    async def missing(self, user_id: str, capability: Capability) -> tuple[Missing, ...]:
        """What somebody lacks for this, as SQL has it now. Raises SQLAlchemyError."""
        found = await ask(journal.read, self._engine, user_id)
        now_ms = self._clock.now_ms()
        holding = [each for each in found.suspensions if each.capability == capability and each.holds(now_ms)]
        barred = tuple(Missing("suspension", _shown(each), None) for each in holding)
        return barred + self._requirements.missing(capability, found.known)

    async def may_go_live(self, user_id: str) -> tuple[Missing, ...]:
        """What somebody lacks to begin a broadcast. Raises SQLAlchemyError."""
        return await self.missing(user_id, "go_live")

    # --- changes -------------------------------------------------------------------------------------------------
    async def tell(self, user_id: str) -> None:
        """Somebody was changed in SQL: read it here, and let every node do so."""
        await self.look(user_id)
        try:
            await self._store.call("PUBLISH", keys.USERS_CHANGED, user_id)
        except StoreError as error:
            log.warning("user_told_later", user=user_id, why=str(error))  # the others look into SQL

    def on_news(self, payload: bytes) -> None:
        """Another node, or this one, has changed somebody."""
        self._changed[payload.decode()] = None
        self._news.set()

    async def look(self, user_id: str) -> None:
        """Read somebody. If SQL is away, it is tried again."""
        self._changed[user_id] = None
        await self._look_at_changed()

    async def start(self) -> None:
        self._tasks = [background.forever("users", self._look), background.forever("users-news", self._take_news)]

    async def stop(self) -> None:
        for task in self._tasks:
            await background.end(task)

    async def _take_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._look_at_changed()

    async def _look(self) -> None:
        while True:
            try:
                await self._look_at_all()
            except SQLAlchemyError as error:
                log.debug("users_later", why=str(error)[: limits.LOGGED_CHARS_MAX])
            await self._look_at_changed()
            await asyncio.sleep(limits.USERS_AGAIN_S)

    async def _look_at_all(self) -> None:
        if self._seen < 0:
            async with self._reading:
                seen, found = await ask(journal.in_force, self._engine, self._clock.now_ms())
                for each in found:
                    self._suspended.setdefault(each.user_id, {})[each.capability] = each
                self._seen = seen
        while changed := await ask(journal.newer, self._engine, self._seen):
            for user_id, version in changed:
                self._changed[user_id] = None
                self._seen = version

    async def _look_at_changed(self) -> None:
        async with self._reading:
            while self._changed:
                user_id = next(iter(self._changed))
                del self._changed[user_id]  # first: who changes while we read is read again
                try:
                    self._learn(user_id, await ask(journal.read, self._engine, user_id))
                except BaseException as error:
                    self._changed[user_id] = None
                    if not isinstance(error, SQLAlchemyError):
                        raise
                    log.debug("users_later", why=str(error)[: limits.LOGGED_CHARS_MAX])
                    return

    def _learn(self, user_id: str, found: journal.User) -> None:
        if user_id in self._regions:
            self._regions[user_id] = found.known.region
        now_ms = self._clock.now_ms()
        holding = {each.capability: each for each in _ending_last(found) if each.holds(now_ms)}
        if holding:
            self._suspended[user_id] = holding
        else:
            self._suspended.pop(user_id, None)


def _ending_last(found: journal.User) -> list[Suspension]:
    """Of two suspensions from the same thing, the one that lasts longer comes last."""
    return sorted(found.suspensions, key=lambda each: (each.until_ms is None, each.until_ms or 0))


def _shown(suspension: Suspension) -> dict[str, object]:
    return {"id": suspension.id, "reason": suspension.reason, "until_ms": suspension.until_ms}
