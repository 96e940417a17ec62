"""The overlay: its settings, the links that open it, and who gets what has changed."""

import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.overlay import OverlayRefusal, OverlaySettings, SetOverlay
from protocol.refusals import Refusal, Refused
from protocol.wire import Named
from server.http.api import HttpError, answer, bearer, body, has_key, overlay_id_of, room_id_of, route
from server.journal.database import ask
from server.journal.people import standing
from server.rooms.about import about_of, granted, role_in
from server.rooms.overlays import CHANGED, SCRIPTS, Link, Overlays, change, look, read, shown, write
from server.rooms.registry import every, handles, on_aside, on_joined
from server.rooms.room import Member, Room, Services
from server.rooms.staff import HOST, PLATFORM_ACTS, STAFF, Actor, Deed, actor, check, note
from server.tokens import BadToken

__all__ = ["SCRIPTS"]

LINKS_MAX = 20  # of a room: a source for each program and machine that a streamer uses
TOKEN_S = 600  # what a key gets: short, because nodes' clocks may differ when a link ends
KEY_CHARS_MAX = 128  # a key has 68: nobody gets a longer one digested
CATCH_UP_S = 2.0  # after a change of which no message came


# --- settings --------------------------------------------------------------------------------------------------------
@handles(SetOverlay)
async def set_overlay(room: Room, member: Member, command: SetOverlay) -> None:
    """Set what the overlays show. Raises Refused."""
    by, deed = actor(member), Deed(act="overlay.set", least=HOST)
    check(room, by, deed)
    check_media(room.services, command.settings)
    await change(room.services, room.id, lambda now: replace(now, settings=command.settings))
    await note(room.services, room.id, by, deed)


def check_media(services: Services, settings: OverlaySettings) -> None:
    """Raise Refused unless all media come from where they may."""
    named = [settings.sound, *(each for one in settings.variants for each in (one.media, one.sound))]
    for address in named:
        if address is None or not address.startswith("https:"):
            continue
        parts = urlsplit(address)
        if f"https://{parts.netloc}" not in services.media_origins:
            raise Refused(OverlayRefusal.MEDIA_NOT_ALLOWED, address=address)


class _Told:
    """The version of which this room's overlays and staff know here."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


@on_joined
def tell_overlay(room: Room, member: Member) -> None:
    """Tell an overlay, and staff, how the overlays are set."""
    if _cares(member):
        room.spawn(_tell(room, member))


async def _tell(room: Room, member: Member) -> None:
    await look(room)
    member.say(shown(room))


@on_aside(CHANGED)
def changed_elsewhere(room: Room, _body: bytes) -> None:
    if any(map(_cares, room.members)):
        room.spawn(_look_again(room))


async def _look_again(room: Room) -> None:
    await room.services.catalogues.look_again()
    _tell_all(room)


@every(CATCH_UP_S)
async def catch_up(room: Room) -> None:
    """Tell of a change whose message was lost: nodes look into SQL every few seconds."""
    if any(map(_cares, room.members)):
        _tell_all(room)


def _tell_all(room: Room) -> None:
    told: _Told = room.memory("overlay", _Told)
    now = shown(room)
    if now.version > told.version:
        told.version = now.version
        for member in room.members:
            if _cares(member):
                member.say(now)


def _cares(member: Member) -> bool:
    return member.role == "overlay" or member.role in STAFF


# --- links -----------------------------------------------------------------------------------------------------------
class Made(Struct, frozen=True):
    """A new link: `url` opens the overlay. Its `key` stands behind `#`, and is not shown again."""

    id: str
    url: str
    key: str


class LinkShown(Struct, frozen=True):
    """A link, without its key."""

    id: str
    made_ms: int


class LinksShown(Struct, frozen=True):
    """The links of a room, the oldest first."""

    overlays: tuple[LinkShown, ...]
    next: None = None


class Entered(Struct, frozen=True):
    """A token for the overlay, good for some minutes."""

    token: str


class Nothing(Struct, frozen=True):
    """It is done, or nothing needs to be said."""


class _Links:
    """The endpoints of a room's links: for the platform, and for the room's host with their token."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def make(self, request: Request) -> Response:
        room_id, by = room_id_of(request), await _who(self._services, request)
        await body(request, Nothing)
        link, key = await self._new(room_id)

        def added(now: Overlays) -> Overlays:
            if len(now.links) >= LINKS_MAX:
                raise Refused(OverlayRefusal.TOO_MANY_OVERLAYS)
            return replace(now, links=(*now.links, link))

        await write(self._services, room_id, added)
        await note(self._services, room_id, by, Deed(act="overlay.link", data={"id": link.id}))
        return answer(_made(request, room_id, link.id, key), 201)

    async def rotate(self, request: Request) -> Response:
        """The same link with another key: the old one ends at once."""
        room_id, by, link_id = room_id_of(request), await _who(self._services, request), overlay_id_of(request)
        await body(request, Nothing)
        new, key = await self._new(room_id)
        same = lambda old: replace(new, id=old.id, made_ms=old.made_ms)  # noqa: E731
        await self._change(room_id, link_id, same)
        await self._end(room_id, by, link_id, "overlay.rotate")
        return answer(_made(request, room_id, link_id, key))

    async def delete(self, request: Request) -> Response:
        room_id, by, link_id = room_id_of(request), await _who(self._services, request), overlay_id_of(request)
        await self._services.history.position(room_id)
        await self._change(room_id, link_id, lambda _old: None)
        await self._end(room_id, by, link_id, "overlay.unlink")
        return answer(Nothing())

    async def list(self, request: Request) -> Response:
        room_id = room_id_of(request)
        await _who(self._services, request)
        await self._services.history.position(room_id)
        found = await read(self._services, room_id)
        return answer(LinksShown(tuple(LinkShown(link.id, link.made_ms) for link in found.links)))

    async def enter(self, request: Request) -> Response:
        """A token for who has the key of a link."""
        room_id = room_id_of(request)
        minted_ms = self._services.clock.now_ms()  # before we look: a link that ends meanwhile ends this token, too
        meta = await self._services.history.meta(room_id)
        link = _link_of(await read(self._services, room_id), bearer(request))
        if link is None or link.host != about_of(meta).host.user_id:
            raise HttpError(403, "revoked", "This link is no longer good.")
        now_s, sign = minted_ms / 1000, self._services.tokens.sign
        token = sign(sub=link.id, name="Overlay", role="overlay", room=room_id, exp_s=now_s + TOKEN_S, iat_s=now_s)
        return answer(Entered(token))

    async def _new(self, room_id: str) -> tuple[Link, str]:
        """A link of the room's host, and its key, which has the link's id in front."""
        host = about_of(await self._services.history.meta(room_id)).host.user_id
        link_id = f"overlay.{secrets.token_hex(8)}"
        key = f"{link_id}.{secrets.token_urlsafe(32)}"
        return Link(id=link_id, secret=_digest(key), host=host, made_ms=self._services.clock.now_ms()), key

    async def _change(self, room_id: str, link_id: str, new: Callable[[Link], Link | None]) -> None:
        """End what the link's key has opened, then change the link: a node may die in between. Raises Refused."""
        change_one = _each(link_id, new)
        change_one(await read(self._services, room_id))  # a link that is not there needs no end
        await self._services.revocations.revoke(link_id, room_id)
        await write(self._services, room_id, change_one)

    async def _end(self, room_id: str, by: Actor, link_id: str, act: str) -> None:
        """End the sockets of a link whose key is no longer good, on every node. Raises SQLAlchemyError."""
        await self._services.revocations.revoke(link_id, room_id)
        await note(self._services, room_id, by, Deed(act=act, data={"id": link_id}))


def routes(services: Services) -> list[Route]:
    """Links: read, make, end, and what their keys get."""
    links, path = _Links(services), "/v1/rooms/{room}/overlays"
    one = f"{path}/{{overlay}}"
    made = functools.partial(route, people=True)  # `_who` looks who asks
    return [
        made(path, links.list, summary="The overlay links of a room", gives=LinksShown),
        made(path, links.make, method="POST", summary="Make a link", body=Nothing, gives=Made, statuses=(201,)),
        route(
            f"{path}/token",
            links.enter,
            method="POST",
            summary="A token for the key of a link",
            gives=Entered,
            open=True,
            shared=False,
        ),
        made(one, links.delete, method="DELETE", summary="End a link and its sockets", gives=Nothing),
        made(f"{one}/rotate", links.rotate, method="POST", summary="Give a link a new key", body=Nothing, gives=Made),
    ]


async def _who(services: Services, request: Request) -> Actor:
    """Who asks: the platform, or the room's host. Raises HttpError, NoSuchRoom."""
    if has_key(request):
        return PLATFORM_ACTS
    room_id = room_id_of(request)
    about = about_of(await services.history.meta(room_id))
    try:
        claims = services.tokens.check(bearer(request), services.clock.now_ms() / 1000)
    except BadToken:
        raise HttpError(401, "unauthorized", "The service key or a token of the room's host is needed.") from None
    here = claims.room in (None, room_id) and not services.revocations.hold(claims.sub, room_id, claims.minted_ms)
    if not here or role_in(about, claims.sub, granted(claims, room_id)) != "host":
        raise HttpError(403, Refusal.NOT_ALLOWED.value, "Only the room's host may do this.")
    if (await ask(standing, services.engine, room_id, claims.sub)).banned_until_ms > services.clock.now_ms():
        raise HttpError(403, "banned", "The host is banned from this room.")
    return Actor(Named(claims.sub, claims.name), HOST)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _link_of(now: Overlays, key: str) -> Link | None:
    """The link with this key."""
    given = _digest(key[:KEY_CHARS_MAX])
    return next((link for link in now.links if hmac.compare_digest(link.secret, given)), None)


def _each(link_id: str, new: Callable[[Link], Link | None]) -> Callable[[Overlays], Overlays]:
    """The change of one link. It raises Refused when there is none of this id."""

    def changed(now: Overlays) -> Overlays:
        if all(link.id != link_id for link in now.links):
            raise Refused(OverlayRefusal.UNKNOWN_OVERLAY)
        made = (new(link) if link.id == link_id else link for link in now.links)
        return replace(now, links=tuple(link for link in made if link is not None))

    return changed


def _made(request: Request, room_id: str, link_id: str, key: str) -> Made:
    return Made(link_id, f"{request.base_url}overlay/{quote(room_id)}#key={key}", key)
