"""Emotes over HTTP: the site's catalogue and those of rooms. What people write becomes a picture in chat.py."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.emotes import Emote
from server import limits
from server.http.api import HttpError, answer, body, room_id_of, route
from server.journal import catalogues as journal
from server.journal.catalogues import SITE, Key
from server.journal.database import ask
from server.rooms.catalogues import EMOTES, emotes_of
from server.rooms.room import Services


class EmoteList(Struct, frozen=True, forbid_unknown_fields=True):
    """The emotes of a catalogue, in the order in which people should see them."""

    emotes: Annotated[tuple[Emote, ...], Meta(max_length=limits.EMOTES_MAX)]


class EmotesShown(Struct, frozen=True):
    """The emotes that a room has: its own, and those of the site whose code it does not use itself."""

    emotes: tuple[Emote, ...]


def routes(services: Services) -> list[Route]:
    """Read what a room has, and read and replace the catalogues."""

    async def shown(request: Request) -> Response:
        room_id = room_id_of(request)
        await services.history.position(room_id)  # the room must exist
        own = emotes_of((await ask(journal.read, services.engine, Key(EMOTES, room_id))).body)
        site = emotes_of((await ask(journal.read, services.engine, Key(EMOTES, SITE))).body)
        codes = {emote.code for emote in own}
        return answer(EmotesShown((*own, *(emote for emote in site if emote.code not in codes))))

    async def of_site(_request: Request) -> Response:
        found = await ask(journal.read, services.engine, Key(EMOTES, SITE))
        return answer(EmoteList(emotes_of(found.body)))

    async def replace(request: Request) -> Response:
        owner = SITE
        if "room" in request.path_params:
            owner = room_id_of(request)
            await services.history.position(owner)
        asked = await body(request, EmoteList)
        for name in ("id", "code"):
            if len({getattr(emote, name) for emote in asked.emotes}) < len(asked.emotes):
                raise HttpError(400, "bad_request", f"Two emotes have the same {name}.")
        written = msgspec.json.encode(asked.emotes)
        now_ms = services.clock.now_ms()
        await ask(journal.change, services.engine, Key(EMOTES, owner), now_ms, lambda _before: written)
        await services.catalogues.look_again()
        return answer(asked)

    site, room = "/v1/emotes", "/v1/rooms/{room}/emotes"
    return [
        route(site, of_site, summary="The site's emotes", gives=EmoteList),
        route(site, replace, method="PUT", summary="Replace the site's emotes", body=EmoteList, gives=EmoteList),
        route(room, shown, summary="The emotes that a room has", gives=EmotesShown, open=True),
        route(room, replace, method="PUT", summary="Replace a room's own emotes", body=EmoteList, gives=EmoteList),
    ]
