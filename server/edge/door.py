"""The short way into a room: an ordinary `GET /v1/rooms/{room}/ws` becomes a socket without ASGI.

It reads what uvicorn's HTTP parser has parsed, and does in one step what the app, uvicorn and websockets do in many.
Whatever is not ordinary goes their way, and so does everybody who is refused: the answers stand in one place.
tests/edge/test_door.py compares the two ways.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from msgspec import Struct

from protocol.wire import Codec
from server import limits
from server.edge.answers import error_answer
from server.edge.asking import Asked, bearer, chosen_of, token_among
from server.edge.proxies import Proxies
from server.edge.refusing import Crowded, close_of
from server.edge.session import Sessions
from server.edge.socket import Connection

STATE: Final = "door"  # its name in the state that the app gives to uvicorn
_URL = re.compile(rb"/v1/rooms/([A-Za-z0-9_.-]{1,64})/ws(?:\?([A-Za-z0-9_.:=&-]*))?")
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
# What browsers and the common libraries offer. Others may limit our window, which the long way understands.
_DEFLATES = frozenset({b"permessage-deflate", b"permessage-deflate; client_max_window_bits"})
_ONCE = frozenset(
    {
        b"upgrade",
        b"connection",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"authorization",
    }
)


class Head(Struct, frozen=True):
    """An ordinary request for a socket, and the head of the answer to it."""

    asked: Asked
    deflates: bool
    closes: bool  # a refusal is to be a socket that closes
    answer: bytes


class Knocking(Protocol):
    """The HTTP connection that the request came on, as uvicorn keeps it."""

    transport: asyncio.Transport
    connections: set[Any]
    client: tuple[str, int] | None
    url: bytes
    scope: Any
    headers: list[tuple[bytes, bytes]]

    def end(self, answer: bytes) -> None: ...


class Door:
    """One per node."""

    def __init__(self, sessions: Sessions, proxies: Proxies) -> None:
        self._sessions = sessions
        self.arrivals = sessions.arrivals
        self._proxies = proxies

    def enter(self, http: Knocking, early: bytes) -> bool:
        """Let somebody in. `early` came right behind the request. False if it must go the long way."""
        if len(early) > limits.EARLY_BYTES_MAX or http.transport.is_closing():
            return False
        if (http.scope["method"], http.scope["http_version"]) != ("GET", "1.1"):
            return False
        head = read_head(http.url, http.headers, self._proxies.client(http.client, http.headers))
        if head is None:
            return False

        def take_over(codec: Codec) -> Connection:
            return self._connection(http, head, early, codec)

        try:
            return self._sessions.enter(head.asked, take_over)
        except Crowded as crowded:
            crowded.__traceback__ = None  # its frames name it, and the collector took 0.1 s for a crowd of such circles
            return self._turn_away(http, head, early, crowded)

    def _connection(self, http: Knocking, head: Head, early: bytes, codec: Codec) -> Connection:
        transport = http.transport
        first = cast(asyncio.Transport, _Unanswered(transport, head.answer))
        connection = Connection(self._sessions, first, codec, http.connections)
        first.connection = connection  # type: ignore[attr-defined]
        connection.inflates = connection.deflates = head.deflates
        transport.set_write_buffer_limits(high=limits.WRITE_HIGH_BYTES, low=limits.WRITE_LOW_BYTES)
        transport.set_protocol(connection)
        http.connections.add(connection)
        connection.hold(early)
        return connection

    def _turn_away(self, http: Knocking, head: Head, early: bytes, crowded: Crowded) -> bool:
        """Refuse, as `refusing.refuse` does. False for the few whom only that can answer."""
        if not head.closes:
            http.end(_crowded(crowded))
            return True
        if head.asked.chosen is None and head.asked.named:
            return False
        connection = self._connection(http, head, early, "json")
        connection.close(*close_of(crowded))
        connection.listen()
        return True


class _Unanswered:
    """A transport whose first write has the answer's head before it: the 101 and the welcome are one system call."""

    __slots__ = ("_answer", "_transport", "connection")

    def __init__(self, transport: asyncio.Transport, answer: bytes) -> None:
        self._transport = transport
        self._answer = answer
        self.connection: Connection

    def write(self, data: bytes) -> None:
        self.connection.transport = self._transport
        self._transport.write(self._answer + data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def read_head(url: bytes, headers: Sequence[tuple[bytes, bytes]], client: tuple[str, int] | None) -> Head | None:
    """What the request asks; None if it is not ordinary. Names of headers are in lower case."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    query = _query(found[2] or b"")
    lines = _lines(headers)
    if query is None or lines is None or not _upgrades(lines):
        return None
    offer = lines.get(b"sec-websocket-extensions")
    if offer is not None and offer not in _DEFLATES:
        return None
    protocols = lines.get(b"sec-websocket-protocol", b"").decode("latin-1")
    offered = tuple(name.strip() for name in protocols.split(",")) if protocols else ()
    token = query.get("token") or bearer([lines.get(b"authorization", b"").decode("latin-1")]) or token_among(offered)
    since, chats = query.get("since", ""), query.get("chats", "")
    asked = Asked(found[1].decode(), token, since, chats, offered, client[0] if client else "", chosen_of(offered))
    return Head(
        asked,
        offer is not None,
        query.get("refusals") == "close",
        _answer(lines[b"sec-websocket-key"], asked.chosen, deflates=offer is not None),
    )


def _query(text: bytes) -> dict[str, str] | None:
    """The parameters; None if one is unknown here or comes twice."""
    pairs = [pair.partition("=") for pair in text.decode().split("&")] if text else []
    query = {name: value for name, _, value in pairs}
    return query if len(query) == len(pairs) and query.keys() <= {"token", "since", "chats", "refusals"} else None


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    """The headers that matter; None if one of them comes twice, or any is long."""
    lines: dict[bytes, bytes] = {}
    for name, value in headers:
        if len(name) + len(value) > limits.DOOR_LINE_BYTES:
            return None
        if name in _ONCE:
            if name in lines:
                return None
            lines[name] = value
    return lines


def _upgrades(lines: dict[bytes, bytes]) -> bool:
    return (
        lines.get(b"upgrade", b"").lower() == b"websocket"
        and lines.get(b"connection", b"").lower() == b"upgrade"
        and lines.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(lines.get(b"sec-websocket-key", b"")) is not None
    )


def _answer(key: bytes, chosen: str | None, *, deflates: bool) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324  # RFC 6455 names it
    lines = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        accept,
    ]
    if deflates:
        lines.append(
            b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        )
    if chosen is not None:
        lines += [b"\r\nSec-WebSocket-Protocol: ", chosen.encode()]
    return b"".join((*lines, b"\r\n\r\n"))


def _crowded(crowded: Crowded) -> bytes:
    """What the long way answers."""
    status = HTTPStatus(crowded.status)
    return error_answer(status, crowded.shown, crowded.message, f"Retry-After: {crowded.retry_after}")
