"""Who may open a socket: every check that refuses over HTTP, before the upgrade."""

import asyncio
import math
from collections import Counter

import msgspec
from msgspec import Struct

from protocol.ids import RoomId
from protocol.wire import SUBPROTOCOLS
from server import limits
from server.edge.asking import Asked
from server.edge.flooders import Flooders
from server.edge.proxies import network_of
from server.edge.refusing import Banned, NotAdmitted, StoreAway
from server.journal.people import FOREVER_MS
from server.rooms.about import granted
from server.rooms.here import Rooms
from server.rooms.history import NoSuchRoom
from server.rooms.room import Room, Services
from server.rooms.staff import binding
from server.store.client import StoreError
from server.tokens import BadToken, Claims, ExpiredToken


class Since(Struct, frozen=True):
    """Where a client left off."""

    epoch: str
    seq: int


class Places:
    """Counts the sockets of each address and each person on this node. A limit of 0 means none."""

    def __init__(self, per_address: int, per_user: int) -> None:
        self._bounds = {"address": per_address, "user": per_user}
        self._taken: Counter[tuple[str, str]] = Counter()

    @property
    def count_addresses(self) -> bool:
        """Whether the sockets of an address have a bound."""
        return self._bounds["address"] > 0

    def take(self, address: str, user_id: str) -> "Place":
        """Take a place for one more socket. Raises NotAdmitted."""
        keys = tuple((kind, name) for kind, name in (("address", address), ("user", user_id)) if self._bounds[kind])
        for kind, name in keys:
            if self._taken[kind, name] >= self._bounds[kind]:
                message = f"This {kind} already has {self._bounds[kind]} connections."
                raise NotAdmitted(429, "too_many_connections", message, limits.RETRY_AFTER_S)
        self._taken.update(keys)
        return Place(self._taken, keys) if keys else NOWHERE


class Place:
    """One socket's place. Only the first `leave` counts."""

    __slots__ = ("_keys", "_taken")

    def __init__(self, taken: Counter[tuple[str, str]], keys: tuple[tuple[str, str], ...]) -> None:
        self._taken = taken
        self._keys = keys

    def leave(self) -> None:
        for key in self._keys:
            self._taken[key] -= 1
            if self._taken[key] <= 0:
                del self._taken[key]
        self._keys = ()


NOWHERE = Place(Counter(), ())  # the place of sockets that nothing counts


class Admitted(Struct, frozen=True, kw_only=True):
    """An admitted connection: the person, where they left off, the room, and the place that it takes."""

    claims: Claims
    since: Since | None
    chats: int  # how many of the newest to send to a newcomer
    room: Room
    place: Place
    address: str | None


class _Known(Struct, frozen=True):
    """What is known before a store was asked."""

    claims: Claims
    since: Since | None
    chats: int
    room: str
    address: str | None


class Admission:
    """Checks an upgrade request."""

    def __init__(self, services: Services, rooms: Rooms, places: Places) -> None:
        self._services = services
        self._rooms = rooms
        self._places = places
        self._flooders = Flooders()

    async def check(self, asked: Asked, full: NotAdmitted | None) -> Admitted:
        """Check everything, and take a place. Raises NotAdmitted."""
        known = self._look(asked, full)
        try:
            room = await self._rooms.open(known.room)
        except NoSuchRoom:
            raise NotAdmitted(404, "no_such_room", "There is no such room.") from None
        except StoreError:
            raise StoreAway from None
        return self._admit(known, room)

    def check_now(self, asked: Asked, full: NotAdmitted | None) -> Admitted | None:
        """The same without waiting: None if the room must be opened first. Raises NotAdmitted."""
        known = self._look(asked, full)
        room = self._rooms.opened(known.room)
        return None if room is None else self._admit(known, room)

    def _look(self, asked: Asked, full: NotAdmitted | None) -> "_Known":
        """Check what needs no store. Raises NotAdmitted."""
        if full is not None:
            raise full
        address = network_of(asked.host) if self._places.count_addresses else None
        self._let_wait("address", address)
        if asked.doubled:
            raise NotAdmitted(400, "bad_request", "A key stands twice in the query.")
        if asked.chosen is None and asked.named:
            raise NotAdmitted(400, "unknown_subprotocol", f"The server speaks {' and '.join(SUBPROTOCOLS)}.")
        if not asked.token:
            raise NotAdmitted(401, "token_missing", "A token is needed.")
        try:
            claims = self._services.tokens.check(asked.token, self._services.clock.now_ms() / 1000)
        except BadToken as bad:
            reason = "token_expired" if isinstance(bad, ExpiredToken) else "bad_token"
            raise NotAdmitted(401, reason, f"Not admitted: {bad}.", shown="bad_token") from None
        self._let_wait("user", claims.sub)
        room_id = _room_id(asked.room)
        if claims.room is not None and claims.room != room_id:
            raise NotAdmitted(403, "wrong_room", "The token is for another room.")
        if self._services.revocations.hold(claims.sub, room_id, claims.minted_ms):
            raise NotAdmitted(403, "revoked", "The token was revoked.")
        return _Known(claims, _parse_since(asked.since), _parse_chats(asked.chats), room_id, address)

    def _admit(self, known: "_Known", room: Room) -> Admitted:
        standing = binding(room, known.claims.sub, granted(known.claims, room.id))
        if (until_ms := standing.banned_until_ms) > self._services.clock.now_ms():
            raise Banned(None if until_ms == FOREVER_MS else until_ms, standing.banned_for)
        place = self._places.take(known.address or "", known.claims.sub)  # last: nothing after it may fail
        return Admitted(
            claims=known.claims, since=known.since, chats=known.chats, room=room, place=place, address=known.address
        )

    def note_flood(self, user_id: str, address: str | None) -> None:
        """Let this person wait before the next socket; and everybody at the address, if there are too many floods."""
        now = asyncio.get_running_loop().time()
        for kind, name in (("user", user_id), ("address", address)):
            if name is not None:
                self._flooders.flooded(kind, name, now)

    def note_bad_frames(self, user_id: str, address: str | None) -> None:
        """The same for who was closed for bad frames more often than a faulty client may be."""
        if self._flooders.broke(user_id, asyncio.get_running_loop().time()):
            self.note_flood(user_id, address)

    def _let_wait(self, kind: str, name: str | None) -> None:
        """Raise NotAdmitted for who has flooded, until the wait is over."""
        wait_s = self._flooders.wait_s(kind, name, asyncio.get_running_loop().time()) if name is not None else 0.0
        if wait_s > 0:
            raise NotAdmitted(429, "flooded", "This sent too much; come back later.", math.ceil(wait_s))


def _room_id(text: str) -> str:
    """The room of the address. Raises NotAdmitted for what cannot be one."""
    try:
        return msgspec.convert(text, RoomId)
    except msgspec.ValidationError:
        raise NotAdmitted(404, "no_such_room", "There is no such room.") from None


def _parse_since(text: str) -> Since | None:
    """Parse `<epoch>:<seq>`. Raises NotAdmitted."""
    if not text:
        return None
    epoch, _, seq = text.rpartition(":")
    if not epoch or len(epoch) > 64 or not (seq.isascii() and seq.isdecimal()) or len(seq) > 15:
        raise NotAdmitted(400, "bad_since", "since must be <epoch>:<seq>.")
    return Since(epoch, int(seq))


def _parse_chats(text: str) -> int:
    """Parse how many chats a newcomer wants. Raises NotAdmitted."""
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise NotAdmitted(400, "bad_request", "chats must be a number.")
    return min(int(text), limits.NEWEST_CHATS_MAX)
