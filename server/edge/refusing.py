"""Refusing an upgrade: with an HTTP answer, or where a page must see why, with a socket that is closed at once."""

import math
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from protocol.closes import Close
from server.edge.asking import asked_of
from server.edge.handshake import TAKEOVER
from server.edge.plain import deny

CLOSES: Final = {
    "token_missing": Close.TOKEN_MISSING,
    "bad_token": Close.BAD_TOKEN,
    "token_expired": Close.TOKEN_EXPIRED,
    "wrong_room": Close.WRONG_ROOM,
    "no_such_room": Close.NO_SUCH_ROOM,
    "banned": Close.BANNED,
    "revoked": Close.TOKEN_REVOKED,
}
_PASSING: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: Close.UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS: Close.TOO_MANY,
}


class NotAdmitted(Exception):
    """The upgrade request is refused with this HTTP error. `shown` is its name there, if that is another."""

    def __init__(
        self, status: int, reason: str, message: str, retry_after_s: float | None = None, *, shown: str | None = None
    ) -> None:
        super().__init__(reason)
        self.data: dict[str, Any] = {}  # more fields of the answer
        self.status, self.reason, self.message, self.retry_after_s = status, reason, message, retry_after_s
        self.shown = reason if shown is None else shown

    @property
    def retry_after(self) -> str:
        """The seconds as an HTTP header has them; empty if the same request will be refused again."""
        return str(math.ceil(self.retry_after_s)) if self.retry_after_s else ""


class Banned(NotAdmitted):
    """Somebody is banned from the room, and may read until when and why."""

    def __init__(self, until_ms: int | None, why: str) -> None:
        super().__init__(HTTPStatus.FORBIDDEN, "banned", "You are banned from this room.")
        self.data = {"until_ms": until_ms, "why": why}


class StoreAway(NotAdmitted):
    """The room store does not answer now."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The room store is away.", 1)


class Crowded(NotAdmitted):
    """Too many come at once. This is answered without the app: it must cost less than to let somebody in."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "crowded", "Too many come at once.", retry_after_s)


def close_of(no: NotAdmitted) -> tuple[Close, str]:
    """The close code of a refusal, and its reason text."""
    passing = _PASSING.get(HTTPStatus(no.status))
    if passing is not None:
        return passing, f"retry_after_ms={math.ceil((no.retry_after_s or 1) * 1000)}"
    if no.reason == "not_found":
        return Close.NO_SUCH_ROOM, "no such address"
    code = CLOSES.get(no.reason)
    return (Close.PROTOCOL_ERROR, no.reason.replace("_", " ")) if code is None else (code, code.reason)


async def refuse(websocket: WebSocket, no: NotAdmitted, hub: Any) -> None:
    """Answer a refused upgrade. A page says `refusals=close`: it cannot read the status of an HTTP answer."""
    if websocket.query_params.get("refusals") == "close":
        await _close(websocket, *close_of(no), hub)
        return
    headers = {"Retry-After": no.retry_after} if no.retry_after else None
    body = {"error": {"reason": no.shown, "message": no.message, **no.data}}
    await deny(websocket, JSONResponse(body, no.status, headers))


async def _close(websocket: WebSocket, code: Close, reason: str, hub: Any) -> None:
    asked = asked_of(websocket)
    # A browser that offered some and gets none sees 1006, so even an unknown one is chosen: nothing will be said in it.
    await websocket.accept(subprotocol=asked.chosen or next(iter(asked.named), None))
    take_over = websocket.scope.get("extensions", {}).get(TAKEOVER)
    if take_over is None:
        await websocket.close(code, reason)
        return
    connection = take_over(hub, "json")  # it lingers for the peer's answer, and needs no task for it
    connection.close(code, reason)
    if not connection.transport.is_closing():
        connection.listen()
