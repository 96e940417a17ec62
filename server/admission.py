"""Who may open a socket: everything that is refused as HTTP, before the upgrade."""

from msgspec import Struct
from starlette.websockets import WebSocket

from server import limits
from server.clock import Clock
from server.history import NoSuchRoom
from server.room import Room, Rooms
from server.store.client import StoreError
from server.tokens import BadToken, Claims, Tokens


class NotAdmitted(Exception):
    """The upgrade is answered with an HTTP error."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.message, self.retry_after_s = status, reason, message, retry_after_s


class Since(Struct, frozen=True):
    """Where a client left off."""

    epoch: str
    seq: int


class Admission:
    """Checks an upgrade request."""

    def __init__(self, tokens: Tokens, clock: Clock, rooms: Rooms) -> None:
        self._tokens = tokens
        self._clock = clock
        self._rooms = rooms

    async def check(self, websocket: WebSocket, full: str | None) -> tuple[Claims, Since | None, Room]:
        """The claims, where the client left off, and the room. Raises NotAdmitted."""
        if full is not None:
            raise NotAdmitted(503, full, "Come back soon.", limits.RETRY_AFTER_S)
        token = websocket.query_params.get("token") or _bearer(websocket.headers.get("authorization", ""))
        if not token:
            raise NotAdmitted(401, "token_missing", "A token is needed.")
        try:
            claims = self._tokens.check(token, self._clock.now_ms() / 1000)
        except BadToken as bad:
            raise NotAdmitted(401, "bad_token", f"Not admitted: {bad}.") from None
        room_id = websocket.path_params["room_id"]
        if claims.room is not None and claims.room != room_id:
            raise NotAdmitted(403, "wrong_room", "The token is for another room.")
        since = _parse_since(websocket.query_params.get("since"))
        try:
            return claims, since, await self._rooms.open(room_id)
        except NoSuchRoom:
            raise NotAdmitted(404, "no_such_room", "There is no such room.") from None
        except StoreError:
            raise NotAdmitted(503, "unavailable", "The room store is away.", 1) from None


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse_since(text: str | None) -> Since | None:
    """`<epoch>:<seq>`. Raises NotAdmitted."""
    if not text:
        return None
    epoch, _, seq = text.rpartition(":")
    if not epoch or len(epoch) > 64 or not (seq.isascii() and seq.isdecimal()) or len(seq) > 15:
        raise NotAdmitted(400, "bad_since", "since must be <epoch>:<seq>.")
    return Since(epoch, int(seq))
