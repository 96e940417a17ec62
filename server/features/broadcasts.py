"""Broadcasts: when one ends, its summary is made once, told to the room, and kept in SQL for good.

The step that ends it leaves a record in the room store (admin_turn.lua). The summary is made by who finds it:
the node that ended it a little later, or any node that looks through the rooms.
"""

import asyncio
from typing import Annotated, Any, cast

import msgspec
import structlog
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.broadcasts import Broadcast
from protocol.refusals import Refused
from protocol.rooms import RoomSummed
from protocol.wire import Named, encode
from server import limits
from server.http.api import HttpError, answer, next_page, query, room_id_of, route
from server.journal import broadcasts as journal
from server.journal import due
from server.journal.database import ask
from server.journal.due import Work
from server.rooms.admin import AUDIENCE, ENDED, SUM
from server.rooms.due import does
from server.rooms.history import NoSuchRoom
from server.rooms.room import Services
from server.store import keys, scripts

SWEEP_EVERY_MS = 30_000  # the node that ended a broadcast may have died before it wrote down what is due
JOURNAL_AGAIN_MS = 500  # the journal needs a moment for the last gifts
JOURNAL_LATE_MS = 600_000  # a frozen partition may stay away for long: then the summary goes without it
GIFTS_BEFORE_MS = 60_000  # the wallet store's clock may differ from the room store's
AUDIENCE_PAGE = 1_000

TELL = scripts.load("broadcasts_tell")
SCRIPTS = (TELL,)

log = structlog.get_logger()


class _Record(Struct, frozen=True):
    """What the room knew at the end; all are texts, as a hash has them."""

    host_id: str
    host_name: str
    title: str
    status: str
    started_at_ms: str
    ended_at_ms: str
    peak: str
    unique: str
    chats: str
    likes: str


@does(SUM)
async def sum_up(services: Services, work: Work) -> Work | None:
    """Make a broadcast's summary, as soon as the journal has its last gifts."""
    ended = keys.room(work.room_id, ENDED)
    written = cast(bytes | None, await services.history.store.call("HGET", ended, work.ref))
    if written is None:  # done, or deleted with its room
        return None
    record = msgspec.json.decode(written, type=_Record)
    now_ms = services.clock.now_ms()
    found = await ask(journal.find, services.engine, work.ref)
    if found is None:
        ends = await _ends(services, work)
        late = now_ms > int(record.ended_at_ms) + JOURNAL_LATE_MS
        if not late and (ends is None or not await ask(journal.is_journaled, services.engine, ends)):
            data = "" if ends is None else msgspec.json.encode(ends).decode()
            return work._replace(due_at_ms=now_ms + JOURNAL_AGAIN_MS, data=data)
        found = await _make(services, work, record)
    event = RoomSummed(id=services.clock.new_id(), broadcast=found)
    audience = keys.room(work.room_id, AUDIENCE, work.ref)
    try:
        await services.history.change(work.room_id, TELL, audience=audience, broadcast=work.ref, event=encode(event))
    except NoSuchRoom:
        log.info("summary_without_room", room=work.room_id)
    return None


async def _ends(services: Services, work: Work) -> dict[int, tuple[int, int]] | None:
    """How far the ledger's logs were when somebody first looked; None while the wallet store is away."""
    if work.data:
        return msgspec.json.decode(work.data, type=dict[int, tuple[int, int]])
    partitions = range(limits.WALLET_PARTITIONS)
    try:
        ends = await asyncio.gather(*(services.wallet.last_entry(partition) for partition in partitions))
    except Refused:
        return None
    return dict(zip(partitions, ends, strict=True))


async def _make(services: Services, work: Work, record: _Record) -> Broadcast:
    """Put the summary together and write it down, unless somebody else has. Raises StoreError, SQLAlchemyError."""
    started_ms, ended_ms = int(record.started_at_ms), int(record.ended_at_ms)
    await _meet_audience(services, work, started_ms)
    engine, until_ms = services.engine, services.clock.now_ms() + GIFTS_BEFORE_MS
    met = await ask(journal.met, engine, work.room_id, work.ref)
    args = (work.room_id, work.ref, started_ms - GIFTS_BEFORE_MS, until_ms)
    given = await ask(journal.sums, engine, *args, within_s=limits.DUE_LEASE_MS / 1000)
    made = Broadcast(
        broadcast_id=work.ref,
        room_id=work.room_id,
        host=Named(record.host_id, record.host_name),
        title=record.title,
        status="suspended" if record.status == "suspended" else "ended",
        started_at_ms=started_ms,
        ended_at_ms=ended_ms,
        duration_ms=max(0, ended_ms - started_ms),
        peak=int(record.peak),
        unique=int(record.unique),
        new_members=met,
        chats=int(record.chats),
        likes=int(record.likes),
        **msgspec.structs.asdict(given),
    )
    return await ask(journal.keep, engine, made)


async def _meet_audience(services: Services, work: Work, at_ms: int) -> None:
    audience, cursor = keys.room(work.room_id, AUDIENCE, work.ref), b"0"
    while True:
        scan = services.history.store.call("SSCAN", audience, cursor, "COUNT", AUDIENCE_PAGE)
        cursor, found = cast(tuple[bytes, Any], await scan)
        people = sorted({user_id.decode() for user_id in found})
        await ask(journal.meet, services.engine, work.room_id, work.ref, at_ms, people)
        if cursor == b"0":
            return


@does("broadcasts.sweep", always=True)
async def sweep(services: Services, work: Work) -> Work | None:
    """Find broadcasts that have ended and whose summary nobody makes."""
    history = services.history
    ids = await history.room_ids()
    for first in range(0, len(ids), limits.LISTING_CHUNK):
        chunk = ids[first : first + limits.LISTING_CHUNK]
        for room_id, meta in zip(chunk, await history.metas(chunk, ("unsummed",)), strict=True):
            if "unsummed" in meta:
                found = cast(list[bytes], list(await history.store.call("HKEYS", keys.room(room_id, ENDED))))
                due_ms = services.clock.now_ms() + limits.SUM_AFTER_MS
                works = [Work(SUM, room_id, broadcast_id.decode(), due_ms) for broadcast_id in found]
                await ask(due.add, services.engine, works)
    return work._replace(due_at_ms=services.clock.now_ms() + SWEEP_EVERY_MS)


# --- HTTP --------------------------------------------------------------------------------------------------------
class BroadcastsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page. `before` is the `started_at_ms:broadcast_id` of the last broadcast of the page before."""

    before: Annotated[str, Meta(pattern=r"^[0-9]{1,15}:[0-9a-f-]{1,64}$(?!\n)")] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class BroadcastsPage(Struct, frozen=True):
    """Broadcasts that have ended, the newest first. `next` is the query of the next page."""

    broadcasts: tuple[Broadcast, ...]
    next: str | None


def routes(services: Services) -> list[Route]:
    """A room's broadcasts. They stay when the room is deleted."""

    async def many(request: Request) -> Response:
        room_id, asked = room_id_of(request), query(request, BroadcastsQuery)
        at_ms, _, last_id = (asked.before or "").partition(":")
        before = (int(at_ms), last_id) if asked.before else None
        found = tuple(await ask(journal.page, services.engine, room_id, before, asked.limit))
        last = f"{found[-1].started_at_ms}:{found[-1].broadcast_id}" if len(found) == asked.limit else None
        return answer(BroadcastsPage(found, next_page(asked, last, "before")))

    async def one(request: Request) -> Response:
        room_id = room_id_of(request)
        found = await ask(journal.find, services.engine, request.path_params["broadcast"])
        if found is None or found.room_id != room_id:
            raise HttpError(404, "not_found", "There is no such broadcast, or it has not ended.")
        return answer(found)

    path = "/v1/rooms/{room}/broadcasts"
    return [
        route(path, many, summary="A room's broadcasts, the newest first", query=BroadcastsQuery, gives=BroadcastsPage),
        route(f"{path}/{{broadcast}}", one, summary="One broadcast that has ended", gives=Broadcast),
    ]
