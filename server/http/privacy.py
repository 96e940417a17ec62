"""A person's data over HTTP: everything in one JSON, and erasing names and texts."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.http.api import HttpError, answer, body, route, user_id_of
from server.journal import privacy as journal
from server.journal.database import ask
from server.money.results import WalletView
from server.rooms import privacy as rooms
from server.rooms.admin import Busy, RoomsAdmin
from server.rooms.room import Services


class Erase(Struct, frozen=True, forbid_unknown_fields=True):
    """The person once more, so that nobody is erased by a slip."""

    user_id: str


class OfRoom(Struct, frozen=True):
    """What a room still keeps of somebody; `host` is whether it is theirs."""

    room_id: str
    host: bool
    events: list[dict[str, Any]]


class Export(Struct, frozen=True):
    """Everything about somebody. It is whole if `complete` stands at its end."""

    user_id: str
    at_ms: int
    wallet: WalletView
    tables: dict[str, list[dict[str, Any]]]
    rooms: list[OfRoom]
    complete: bool


class Erased(Struct, frozen=True):
    """In how many rows of which table, and in how many rooms, something was erased. A second time nothing is left."""

    user_id: str
    rows: dict[str, int]
    rooms: int


def routes(services: Services, admin: RoomsAdmin) -> list[Route]:
    async def export(request: Request) -> Response:
        user_id = user_id_of(request)
        parts = _export(services, user_id)
        first = await anext(parts)  # what is away is said with a status
        return StreamingResponse(_after(first, parts), media_type="application/json")

    async def erase(request: Request) -> Response:
        user_id, asked = user_id_of(request), await body(request, Erase)
        if asked.user_id != user_id:
            raise HttpError(409, "another_person", "The body names another person than the address.")
        rows = await ask(journal.erase, services.engine, user_id, within_s=ERASE_S)
        try:
            changed = await rooms.erase(services.history, admin, user_id)
        except Busy:
            raise HttpError(503, "unavailable", "Others change a room all the time; try again.") from None
        await services.users.tell(user_id)
        return answer(Erased(user_id, rows, changed))

    one, everything = "/v1/users/{user}", "Everything that is kept of somebody, as one JSON"
    return [
        route(one + "/export", export, summary=everything, gives=Export),
        route(
            one + "/erase",
            erase,
            method="POST",
            summary="Erase somebody's names and texts",
            body=Erase,
            gives=Erased,
        ),
    ]


ERASE_S = 60.0  # then the answer is 503, and the same request goes on where it was


async def _after(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in parts:
        yield part


async def _export(services: Services, user_id: str) -> AsyncIterator[bytes]:
    """The JSON, piece by piece: a creator may have a million gifts. It ends with `complete`, unless it was cut off."""
    pages = journal.pages(services.engine, user_id)
    wallet = await services.wallet.view(user_id)
    head = {"user_id": user_id, "at_ms": services.clock.now_ms(), "wallet": wallet}
    page = await ask(next, pages, None)
    yield msgspec.json.encode(head)[:-1] + b',"tables":{'
    table, between = "", b""
    while page is not None:
        name, rows = page
        encoded = msgspec.json.encode(rows)[1:-1]
        if name == table:
            yield b"," + encoded
        else:
            yield between + msgspec.json.encode(name) + b":[" + encoded
            table, between = name, b"],"
        page = await ask(next, pages, None)
    yield (b"]" if table else b"") + b'},"rooms":['
    between = b""
    async for room in rooms.of_rooms(services.history, user_id):
        yield between + msgspec.json.encode(room)
        between = b","
    yield b'],"complete":true}'
