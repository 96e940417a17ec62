"""Uvicorn's websocket handshake (on websockets' sans-I/O core), after which the app takes the connection over.

The transport then belongs to the lean `Connection`; the handshake's objects and the ASGI task go away.
"""

import asyncio
import zlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import StatusLike

from protocol.closes import Close
from protocol.wire import Codec
from server import limits
from server.edge.answers import error_answer, error_body
from server.edge.linger import close_gently
from server.edge.socket import Connection, Hub

TAKEOVER: Final = "liveroom.takeover"


class _NoTransport:
    """What the handshake holds after it has given the transport away."""

    def close(self) -> None: ...
    def write(self, _data: bytes) -> None: ...
    def is_closing(self) -> bool:
        return True


_INVALID: Final = error_answer(HTTPStatus.BAD_REQUEST, "bad_request", "This is not a request for a websocket.")
_REASONS: Final = {
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri_too_long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "head_too_large",
}


class _Handshake(ServerProtocol):
    """websockets' handshake, whose refusals have the form of all errors."""

    def reject(self, status: StatusLike, text: str) -> Response:
        """Refuse with the first sentence of `text`."""
        response = super().reject(status, text)
        sentence = text.partition("\n")[0]
        response.body = error_body(_REASONS.get(HTTPStatus(response.status_code), "bad_request"), sentence).encode()
        for name, value in (("Content-Length", str(len(response.body))), ("Content-Type", "application/json")):
            del response.headers[name]
            response.headers[name] = value
        return response


class LiveroomWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's handshake. An ASGI scope extension lets the app take the connection over.

    Compression uses no context on either side, so a frame that was deflated once suits every socket.
    """

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        without_contexts = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True, client_no_context_takeover=True
        )
        self.conn = _Handshake(extensions=[without_contexts], max_size=limits.FRAME_BYTES_MAX, logger=self.logger)
        self._leave: Callable[[], None] = lambda: None
        self._early = b""  # what the peer sent after its request, before our answer

    def while_half_open(self, leave: Callable[[], None]) -> None:
        """Call `leave` when the connection is lost or taken over."""
        self._leave = leave

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()

    def handle_connect(self, event: Request) -> None:
        versions = event.headers.get_all("Sec-WebSocket-Version")
        if versions and versions != ["13"]:
            self._refuse_version()
            return
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            self.scope["extensions"][TAKEOVER] = cast(Any, self.take_over)

    def _refuse_version(self) -> None:
        """Say which version we speak (RFC 6455, section 4.4)."""
        self.handshake_initiated = True
        self._end(
            error_answer(
                HTTPStatus.UPGRADE_REQUIRED,
                "bad_version",
                "Only version 13 of the websocket protocol is spoken.",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                connection="close, Upgrade",
            )
        )

    def _end(self, answer: bytes) -> None:
        """Refuse, and close."""
        self.handshake_complete = self.close_sent = True
        self.transport.write(answer)
        close_gently(self.transport, self)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, but answer a head that is too long or invalid (414, 431, 400), and close.

        Frames that come before our 101 (RFC 6455, section 4.1, allows none, and proxies join segments) wait for it.
        """
        if self.handshake_initiated:
            self._early += data[: limits.EARLY_BYTES_MAX + 1]
            if len(self._early) > limits.EARLY_BYTES_MAX:  # what is never read would turn our answer into a reset
                self.transport.pause_reading()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.close_sent:
            self._end(b"".join(self.conn.data_to_send()) or _INVALID)

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's, but a refusal over HTTP counts as a finished handshake, not as an error to log."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def take_over(self, hub: Hub[Connection], codec: Codec) -> Connection:
        """After accept, give the transport to the lean connection and return it. It reads only after the welcome."""
        transport = self.transport
        self._leave()
        connection = Connection(hub, transport, codec, self.connections)
        for extension in self.conn.extensions:
            if isinstance(extension, PerMessageDeflate):
                connection.inflates = True
                connection.deflates = (
                    extension.local_max_window_bits == zlib.MAX_WBITS
                )  # a smaller one gets plain frames
        transport.set_write_buffer_limits(high=limits.WRITE_HIGH_BYTES, low=limits.WRITE_LOW_BYTES)
        if not transport.is_reading():
            transport.resume_reading()
        transport.set_protocol(connection)
        self.connections.discard(self)
        cast(set[Any], self.connections).add(connection)
        self.transport = cast(asyncio.Transport, _NoTransport())
        self.handshake_complete = True  # even if uvicorn wrote no 101, because the peer has just left
        connection.closing = transport.is_closing()
        if len(self._early) > limits.EARLY_BYTES_MAX:
            connection.close(Close.PROTOCOL_ERROR)
        else:
            connection.hold(self._early)
        return connection
