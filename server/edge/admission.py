"""Who may open a socket: every check that refuses over HTTP, before the upgrade."""

from collections import Counter

from msgspec import Struct
from starlette.websockets import WebSocket

from server import limits
from server.edge.proxies import network_of
from server.rooms.history import NoSuchRoom
from server.rooms.room import Room, Rooms, Services
from server.store.client import StoreError
from server.tokens import BadToken, Claims


class NotAdmitted(Exception):
    """The server answers the upgrade request with this HTTP error."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.message, self.retry_after_s = status, reason, message, retry_after_s


class Since(Struct, frozen=True):
    """Where a client left off."""

    epoch: str
    seq: int


class Places:
    """Counts the sockets of each address and each person on this node. A limit of 0 means none."""

    def __init__(self, per_address: int, per_user: int) -> None:
        self._bounds = {"address": per_address, "user": per_user}
        self._taken: Counter[tuple[str, str]] = Counter()

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
    room: Room
    place: Place


class Admission:
    """Checks an upgrade request."""

    def __init__(self, services: Services, rooms: Rooms, places: Places) -> None:
        self._services = services
        self._rooms = rooms
        self._places = places

    async def check(self, websocket: WebSocket, full: str | None) -> Admitted:
        """Check everything, and take a place. Raises NotAdmitted."""
        if full is not None:
            raise NotAdmitted(503, full, "Come back soon.", limits.RETRY_AFTER_S)
        token = websocket.query_params.get("token") or _bearer(websocket.headers.get("authorization", ""))
        if not token:
            raise NotAdmitted(401, "token_missing", "A token is needed.")
        try:
            claims = self._services.tokens.check(token, self._services.clock.now_ms() / 1000)
        except BadToken as bad:
            raise NotAdmitted(401, "bad_token", f"Not admitted: {bad}.") from None
        room_id = websocket.path_params["room_id"]
        if claims.room is not None and claims.room != room_id:
            raise NotAdmitted(403, "wrong_room", "The token is for another room.")
        since = _parse_since(websocket.query_params.get("since"))
        try:
            room = await self._rooms.open(room_id)
        except NoSuchRoom:
            raise NotAdmitted(404, "no_such_room", "There is no such room.") from None
        except StoreError:
            raise NotAdmitted(503, "unavailable", "The room store is away.", 1) from None
        place = self._places.take(_network(websocket), claims.sub)  # last: nothing after it may fail
        return Admitted(claims=claims, since=since, room=room, place=place)


def _network(websocket: WebSocket) -> str:
    """What counts as the peer's address."""
    return network_of(websocket.client.host if websocket.client else "")


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse_since(text: str | None) -> Since | None:
    """Parse `<epoch>:<seq>`. Raises NotAdmitted."""
    if not text:
        return None
    epoch, _, seq = text.rpartition(":")
    if not epoch or len(epoch) > 64 or not (seq.isascii() and seq.isdecimal()) or len(seq) > 15:
        raise NotAdmitted(400, "bad_since", "since must be <epoch>:<seq>.")
    return Since(epoch, int(seq))
