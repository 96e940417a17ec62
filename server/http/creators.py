"""Creators over HTTP: what they have earned, of which gifts, and from whom. Lists come in pages, or whole as CSV."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, structs
from sqlalchemy import Connection, Engine
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server import limits
from server.clock import Clock
from server.http.api import HttpError, answer, next_page, query, user_id_of
from server.http.own import CREATORS, Own
from server.journal import moments, received
from server.journal.database import ask, reading
from server.journal.earnings import Figures, read
from server.journal.received import Place, Received, Sums, Supporter

T = TypeVar("T")
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)"
Day = Annotated[str, Meta(pattern=DAY)]
FOREVER = 2**62
CSV, LINES = "text/csv", "application/x-ndjson"
ROWS = 1_000  # of a stream, read at a time: some 10 ms of a thread


class EarningsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """As of the end of a day (`2026-11-05`, UTC) or right after an entry (`<partition>:<epoch>-<n>`); else now."""

    as_of: Annotated[str, Meta(pattern=moments.PATTERN)] | None = None


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """Days in UTC, both included; without them all."""

    since: Day | None = None
    until: Day | None = None

    def ms(self) -> tuple[int, int]:
        """The window's times. Raises HttpError."""
        try:
            since = 0 if self.since is None else moments.end_of_day(self.since).day * limits.DAY_MS
            until = FOREVER if self.until is None else moments.end_of_day(self.until).at_ms + 1
        except ValueError as no:
            raise HttpError(404, "not_found", f"There is no such day: {no}.") from None
        return since, until


class GiftsQuery(Window, frozen=True, forbid_unknown_fields=True):
    """Which gifts, the newest first. `format=csv` gives all of them at once, `json` one per line; `before` a page."""

    before: Annotated[str, Meta(pattern=r"^[0-9]{1,15}:[0-9]{1,2}:[0-9]{1,15}-[0-9]{1,15}$(?!\n)")] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE
    format: Literal["page", "csv", "json"] = "page"


class StatementsQuery(Window, frozen=True, forbid_unknown_fields=True):
    """By what to sum up."""

    by: Literal["day", "month", "broadcast"] = "day"


class SupportersQuery(Window, frozen=True, forbid_unknown_fields=True):
    """How many of those who gave most."""

    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class GiftsPage(Struct, frozen=True):
    """Some of a creator's gifts, the newest first, and the query of older ones."""

    gifts: list[Received]
    next: str | None


class Statements(Struct, frozen=True):
    """Sums of a creator's gifts."""

    statements: list[Sums]


class Supporters(Struct, frozen=True):
    """Who gave most."""

    supporters: list[Supporter]


class _Creators:
    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def earnings(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), query(request, EarningsQuery)
        return answer(await ask(self._read, lambda connection: self._figures(connection, user_id, asked.as_of)))

    def _figures(self, connection: Connection, user_id: str, as_of: str | None) -> Figures:
        try:
            moment = None if as_of is None else moments.moment(connection, as_of)
        except ValueError as no:
            raise HttpError(404, "not_found", f"There is no such day: {no}.") from None
        if as_of is not None and moment is None:
            raise HttpError(404, "not_found", "The journal has no such entry.")
        return read(connection, user_id, self._clock.now_ms(), moment)

    async def gifts(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), query(request, GiftsQuery)
        window, before = asked.ms(), None if asked.before is None else _place(asked.before)
        if asked.format != "page":
            csv_ = asked.format == "csv"
            lines = self._stream(user_id, window, _csv if csv_ else _json_lines, head=_HEAD if csv_ else b"")
            return StreamingResponse(lines, media_type=CSV if csv_ else LINES)
        found = await self._page(user_id, received.Asked(window, before, asked.limit))
        more = _name(found[-1][0]) if len(found) == asked.limit else None
        return answer(GiftsPage([gift for _, gift in found], next_page(asked, more, "before")))

    async def _page(self, user_id: str, asked: received.Asked) -> list[tuple[Place, Received]]:
        now_ms = self._clock.now_ms()
        return await ask(self._read, lambda connection: received.page(connection, user_id, now_ms, asked))

    async def _stream(
        self, user_id: str, window: tuple[int, int], encode: Callable[[list[Received]], bytes], head: bytes
    ) -> AsyncIterator[bytes]:
        """All gifts of a window, some at a time: memory does not grow with their number."""
        yield head
        before: Place | None = None
        while found := await self._page(user_id, received.Asked(window, before, ROWS)):
            before = found[-1][0]
            yield await asyncio.to_thread(encode, [gift for _, gift in found])

    async def statements(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), query(request, StatementsQuery)
        window = asked.ms()

        def look(connection: Connection) -> list[Sums]:
            if asked.by == "broadcast":
                return received.by_broadcast(connection, user_id, window)
            return received.by_day(connection, user_id, window, months=asked.by == "month")

        return answer(Statements(await ask(self._read, look, within_s=limits.SQL_FOLD_S)))

    async def supporters(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), query(request, SupportersQuery)
        window = asked.ms()

        def look(connection: Connection) -> list[Supporter]:
            return received.supporters(connection, user_id, window, asked.limit)

        return answer(Supporters(await ask(self._read, look, within_s=limits.SQL_FOLD_S)))

    def _read(self, look: Callable[[Connection], T]) -> T:
        with reading(self._engine, limits.SQL_FOLD_S).connect() as connection:
            return look(connection)


def _name(place: Place) -> str:
    at_ms, partition, epoch, n = place
    return f"{at_ms}:{partition}:{epoch}-{n}"


def _place(text: str) -> Place:
    at_ms, partition, at = text.split(":")
    epoch, n = at.split("-")
    return int(at_ms), int(partition), int(epoch), int(n)


def _csv(gifts: list[Received]) -> bytes:
    lines = io.StringIO()
    csv.writer(lines).writerows(structs.astuple(gift) for gift in gifts)
    return lines.getvalue().encode()


_LINES = msgspec.json.Encoder()
_HEAD = (",".join(Received.__struct_fields__) + "\r\n").encode()


def _json_lines(gifts: list[Received]) -> bytes:
    return _LINES.encode_lines(gifts)


def routes(engine: Engine, clock: Clock, own: Own) -> list[Route]:
    creators, one = _Creators(engine, clock), "/v1/creators/{user}"

    def mine(path: str, endpoint: Any, summary: str, asked: Any, gives: Any, *media: str) -> Route:
        return own.route(one + path, endpoint, CREATORS, summary=summary, query=asked, gives=gives, media=media)

    return [
        mine("/earnings", creators.earnings, "A creator's diamonds, now or as of a moment", EarningsQuery, Figures),
        mine("/gifts", creators.gifts, "The gifts that a creator received", GiftsQuery, GiftsPage, CSV, LINES),
        mine("/statements", creators.statements, "Sums by day, month or broadcast", StatementsQuery, Statements),
        mine("/supporters", creators.supporters, "Who gave a creator most", SupportersQuery, Supporters),
    ]
