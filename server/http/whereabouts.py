"""Where a gift is: sent, paid, journaled, shown, ripe, paid out; and what it waits for."""

from typing import Any

from msgspec import Struct
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import UserId, uuid7_ms
from server import limits
from server.clock import Clock
from server.http.api import HttpError, answer, query, route
from server.journal import received
from server.journal.database import ask, reading
from server.journal.received import Received
from server.money.results import Money
from server.rooms.given import ONCE
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore


class WhereQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Who sent it: needed while the journal has not got it, and when two viewers used one id."""

    user_id: UserId | None = None


class Stage(Struct, frozen=True):
    """A stage that the gift has reached, and when; null where nobody noted it."""

    stage: str
    at_ms: int | None


class Where(Struct, frozen=True):
    """The stages that a gift has reached, and what it waits for: `journal`, `room`, `maturity`, `payout` or nothing.

    `gift` is null until it is journaled.
    """

    id: str
    stages: list[Stage]
    waits_for: str | None
    gift: Received | None


class _Whereabouts:
    def __init__(self, engine: Engine, clock: Clock, wallet: Money, rooms: Store | ClusterStore) -> None:
        self._engine = engine
        self._clock = clock
        self._wallet = wallet
        self._rooms = rooms

    async def show(self, request: Request) -> Response:
        gift_id, user_id = request.path_params["gift"], query(request, WhereQuery).user_id
        found = await ask(self._look, gift_id, user_id)
        if len(found) > 1:
            raise HttpError(409, "conflict", "Two viewers used this id: say which one with user_id.")
        return answer(await self._journaled(found[0]) if found else await self._paid(gift_id, user_id))

    def _look(self, gift_id: str, user_id: str | None) -> list[Received]:
        with reading(self._engine).connect() as connection:
            return received.one(connection, self._clock.now_ms(), gift_id, user_id)

    async def _paid(self, gift_id: str, user_id: str | None) -> Where:
        """A gift that the journal has not got: the wallet store has its receipt. Raises HttpError, Refused."""
        receipt = None if user_id is None else await self._wallet.find(user_id, gift_id)
        if receipt is None:
            why = (
                "Nobody paid this gift."
                if user_id
                else "The journal has no such gift; with user_id the wallet says more."
            )
            raise HttpError(404, "not_found", why)
        return Where(gift_id, [Stage("sent", _sent_ms(gift_id)), Stage("paid", None)], "journal", None)

    async def _journaled(self, gift: Received) -> Where:
        stages = [Stage("sent", _sent_ms(gift.id)), Stage("paid", gift.at_ms), Stage("journaled", None)]
        shown = await self._is_shown(gift)
        if shown:
            stages.append(Stage("shown", None))
        if gift.stage != "pending":
            stages.append(Stage("ripe", gift.ripe_at_ms))
        if gift.stage == "paid_out":
            stages.append(Stage("paid_out", None))
        waits = {"pending": "maturity", "ripe": "payout"}.get(gift.stage)
        if gift.taken_back == gift.diamonds:
            waits = None  # nothing is left of it
        return Where(gift.id, stages, "room" if shown is False else waits, gift)

    async def _is_shown(self, gift: Received) -> bool | None:
        """Whether the room has shown it; None when nobody knows any more, or the room store is away."""
        partition, _, log_id = gift.entry.partition(":")
        try:
            once = await self._rooms.call("GET", keys.room(gift.room_id, ONCE, gift.id))
            through: Any = await self._rooms.call("GET", keys.shown_watermark(int(partition)))
        except StoreError:
            return None
        if once is not None or (through and _position(through.decode()) >= _position(log_id)):
            return True
        return False if self._clock.now_ms() - gift.at_ms < limits.RETELL_UNTIL_MS else None


def _position(log_id: str) -> tuple[int, int]:
    epoch, _, n = log_id.partition("-")
    return int(epoch), int(n)


def _sent_ms(gift_id: str) -> int | None:
    try:
        return uuid7_ms(gift_id)
    except ValueError:
        return None


def routes(engine: Engine, clock: Clock, wallet: Money, rooms: Store | ClusterStore) -> list[Route]:
    where = _Whereabouts(engine, clock, wallet, rooms)
    about = "Where a gift is, and what it waits for"
    return [route("/v1/gifts/{gift}", where.show, summary=about, query=WhereQuery, gives=Where)]
