"""Does work that is due at a time (journal/due.py): every node looks, and a lease decides who does it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.journal import due
from server.journal.database import ask
from server.journal.due import Work
from server.rooms.room import Services
from server.store.client import StoreError

log = structlog.get_logger()

Doer = Callable[[Services, Work], Awaitable[Work | None]]  # returns the work that is due again, or None
DOERS: dict[str, Doer] = {}
ALWAYS: list[str] = []


def does(kind: str, *, always: bool = False) -> Callable[[Doer], Doer]:
    """Call a function when work of this kind is due. What it does may be done twice. `always`: each site has such work.

    If it raises StoreError or SQLAlchemyError, it is called again once its lease is over.
    """

    def register(doer: Doer) -> Doer:
        assert kind not in DOERS, f"{kind} has a doer already"
        DOERS[kind] = doer
        if always:
            ALWAYS.append(kind)
        return doer

    return register


async def do_due(services: Services) -> int:
    """Do what is due now. Returns how much. Raises SQLAlchemyError."""
    works = await ask(due.claim, services.engine, services.clock.now_ms())
    for work in works:
        doer = DOERS.get(work.kind)
        if doer is None:  # of a newer program
            continue
        try:
            again = await doer(services, work)
        except (StoreError, SQLAlchemyError) as error:
            log.info("due_later", kind=work.kind, room=work.room_id, why=str(error)[: limits.LOGGED_CHARS_MAX])
            continue
        except Exception as error:  # one that cannot be done must not hold up the others
            background.failed("due", error, kind=work.kind, room=work.room_id)
            continue
        await ask(due.end, services.engine, work, again)
    return len(works)


class DueWork:
    """Looks from time to time for work that is due."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._begun = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = background.forever("due", self._look)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _look(self) -> None:
        while True:
            try:
                if not self._begun:
                    always = [Work(kind, "", "", self._services.clock.now_ms()) for kind in ALWAYS]
                    await ask(due.add, self._services.engine, always)
                    self._begun = True
                await do_due(self._services)
            except SQLAlchemyError as error:
                log.debug("due_later", why=str(error)[: limits.LOGGED_CHARS_MAX])
            await asyncio.sleep(limits.DUE_EVERY_S)
