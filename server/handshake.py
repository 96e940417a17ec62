"""The handshake is uvicorn's (its class on websockets' sans-I/O core); then the app takes the connection over.

The transport gets the lean `Connection`, and the handshake's objects and the ASGI task go away.
"""

import asyncio
import zlib
from typing import Any, Final, cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol

from protocol.closes import Close
from protocol.wire import Codec
from server import limits
from server.socket import Connection, Hub

TAKEOVER: Final = "liveroom.takeover"


class _NoTransport:
    """What the handshake holds after it has let go of the transport."""

    def close(self) -> None: ...
    def write(self, _data: bytes) -> None: ...
    def is_closing(self) -> bool:
        return True


class LiveroomWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's handshake, offering the app to take the connection over (an ASGI scope extension).

    Compression is agreed without contexts on either side: what is deflated once is right for every socket.
    """

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        without_contexts = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True, client_no_context_takeover=True
        )
        self.conn = ServerProtocol(extensions=[without_contexts], max_size=limits.FRAME_BYTES_MAX, logger=self.logger)
        self._early = False  # the peer sent something behind its request

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            self.scope["extensions"][TAKEOVER] = cast(Any, self.take_over)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; a head that is too long or no request is answered (414, 431, 400), not held for ever.

        Frames before our 101 are not parsed (RFC 6455, section 4.1, allows none).
        """
        if self.handshake_initiated:
            self._early = True
            self.transport.pause_reading()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.close_sent:
            self.close_sent = self.handshake_complete = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's; a refusal as HTTP is a finished handshake too, not an error to be logged."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def take_over(self, hub: Hub[Connection], codec: Codec) -> Connection:
        """After accept: the lean connection, which has the transport from now on. Reading waits for `welcome`."""
        transport = self.transport
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
        self.handshake_complete = True  # also when uvicorn wrote no 101, because the peer has just left
        connection.closing = transport.is_closing()
        if self._early:  # they are lost, and so are those in the request's own segment, of which we never hear
            connection.close(Close.PROTOCOL_ERROR, "frames before the handshake")
        else:
            transport.pause_reading()
        return connection
