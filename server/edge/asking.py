"""What somebody asks who wants a socket, read from an ASGI request. door.py reads the same from plain heads."""

from collections.abc import Sequence

from msgspec import Struct
from starlette.websockets import WebSocket

from protocol.wire import SUBPROTOCOLS, TOKEN_SUBPROTOCOL


class Asked(Struct, frozen=True):
    """An upgrade request, before anything of it was checked."""

    room: str
    token: str
    since: str
    chats: str  # how many of the newest
    offered: tuple[str, ...]  # subprotocols
    host: str  # the person's address; empty for a unix socket
    chosen: str | None  # the first that we speak of those that the client offers
    doubled: bool = False  # a key stands twice in the query

    @property
    def named(self) -> list[str]:
        """The offered subprotocols without the token."""
        return [name for name in self.offered if not name.startswith(TOKEN_SUBPROTOCOL)]


def asked_of(websocket: WebSocket) -> Asked:
    """What this request asks. The token may be a parameter, a bearer's, or a subprotocol."""
    offered, query = tuple(websocket.scope["subprotocols"]), websocket.query_params
    return Asked(
        room=websocket.path_params.get("room_id", ""),
        token=query.get("token") or bearer(websocket.headers.getlist("authorization")) or token_among(offered),
        since=query.get("since", ""),
        chats=query.get("chats", ""),
        offered=offered,
        host=websocket.client.host if websocket.client else "",
        chosen=chosen_of(offered),
        doubled=len(query.multi_items()) > len(query),
    )


def chosen_of(offered: Sequence[str]) -> str | None:
    """The first that we speak of these subprotocols."""
    for name in offered:
        if name in SUBPROTOCOLS:
            return name
    return None


def bearer(headers: Sequence[str]) -> str:
    """The token of the Authorization header; nothing without one, and with several that differ."""
    scheme, _, token = (headers[0] if len(set(headers)) == 1 else "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def token_among(offered: Sequence[str]) -> str:
    """The token that came as a subprotocol, or nothing."""
    return next((name for name in offered if name.startswith(TOKEN_SUBPROTOCOL)), "").removeprefix(TOKEN_SUBPROTOCOL)
