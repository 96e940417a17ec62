"""A room's history over HTTP, page by page, for the host platform. What is no longer kept is named as a gap."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import protocol
from server import limits
from server.http.api import HttpError, answer, next_page, query, room_id_of, route
from server.rooms.history import History, Recorded
from server.rooms.unsaid import Unsaid

_TYPE = "|".join(re.escape(tag) for tag in sorted(protocol.EVENTS))
_TYPES = rf"^({_TYPE})(,({_TYPE})){{0,{limits.EVENT_TYPES_MAX - 1}}}$(?!\n)"


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page. `after` is `<epoch>:<seq>`; without it the page begins with the oldest event that is kept."""

    after: Annotated[str, Meta(pattern=r"^[0-9a-z]{1,64}:[0-9]{1,15}$(?!\n)")] | None = None
    types: Annotated[str, Meta(pattern=_TYPES)] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class Gap(Struct, frozen=True):
    """Events that cannot be had any more, or may never have been. Without `to` nobody knows how many they are."""

    epoch: str
    from_: int = msgspec.field(name="from")
    to: int | None


class EventsPage(Struct, frozen=True):
    """Events as sockets get them, in order, and the gaps before them. `after` of what follows is `position`."""

    epoch: str
    events: tuple[dict[str, Any], ...]
    gaps: tuple[Gap, ...]
    position: str
    next: str | None


class _Start(Struct, frozen=True):
    """The seq after which a page begins, and what was lost with another epoch."""

    seq: int
    lost: tuple[Gap, ...] = ()


def start_of(after: str | None, meta: dict[str, str]) -> _Start:
    """Where to begin. Raises HttpError for a place that the room has not reached."""
    if after is None:
        return _Start(0)
    epoch, _, said = after.rpartition(":")
    seq = int(said)
    if epoch == meta["epoch"]:
        if seq > int(meta["seq"]):
            raise HttpError(400, "bad_request", "The room has not come so far.")
        return _Start(seq)
    if epoch == meta.get("prev") and "base" in meta:  # up to `base` both epochs have the same events
        base = int(meta["base"])
        return _Start(min(seq, base), (Gap(epoch, max(seq, base) + 1, None),))
    return _Start(0, (Gap(epoch, seq + 1, None),))


class _Events:
    def __init__(self, history: History) -> None:
        self._history = history
        self._unsaid = Unsaid(history)

    async def page(self, request: Request) -> Response:
        room_id, asked = room_id_of(request), query(request, EventsQuery)
        meta = await self._history.meta(room_id)
        epoch, head, start = meta["epoch"], int(meta["seq"]), start_of(asked.after, meta)
        most = asked.limit if asked.types is None else limits.EVENTS_LOOK
        kept = await self._history.kept(room_id, start.seq, head, most)
        if (await self._history.position(room_id))[0] != epoch:
            raise HttpError(503, "busy", "The room has a new epoch just now; try again.")
        first = kept[0].seq if kept else head + 1
        gone = (Gap(epoch, start.seq + 1, first - 1),) if first > start.seq + 1 else ()
        found, to = _chosen(kept, asked)
        to = head if to is None else to
        position = f"{epoch}:{to}"
        more = next_page(asked, position) if to < head else None
        found = await self._unsaid.without(room_id, epoch, head, found)
        events = tuple(msgspec.Raw(event.json) for event in found)
        shown = {"epoch": epoch, "events": events, "gaps": (*start.lost, *gone), "position": position, "next": more}
        return answer(shown)


def _chosen(kept: list[Recorded], asked: EventsQuery) -> tuple[list[Recorded], int | None]:
    """Those of the wanted types, up to the limit, and the seq up to which all were looked at; None without any."""
    if asked.types is None:
        return kept, kept[-1].seq if kept else None
    types = set(asked.types.split(","))
    found = [event for event in kept if event.tag in types]
    if len(found) > asked.limit:
        found = found[: asked.limit]
        return found, found[-1].seq
    return found, kept[-1].seq if kept else None


def routes(history: History) -> list[Route]:
    path, about = "/v1/rooms/{room}/events", "A room's history, the oldest first"
    return [route(path, _Events(history).page, summary=about, query=EventsQuery, gives=EventsPage)]
