"""A connection through ASGI's own receive and send, for servers that cannot hand over the transport. It is slower."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from protocol.closes import Close
from protocol.wire import Codec
from server import limits
from server.edge.socket import Hub
from server.rooms.frames import BINARY, TEXT, Prepared, join_messages

GONE: Final = (OSError, RuntimeError, WebSocketDisconnect)  # servers differ in how they say that the peer has left


class PlainConnection:
    """One open websocket, with the interface of `socket.Connection` and the same limits on data that waits."""

    def __init__(self, hub: "Hub[PlainConnection]", websocket: WebSocket, codec: Codec) -> None:
        self._hub = hub
        self._websocket = websocket
        self._queue: deque[Prepared] = deque()
        self._queued_bytes = 0
        self._paused_at = 0.0  # loop time when the peer last fell behind
        self._taken_at = 0.0  # loop time when the server last took a frame, or when we began to wait for it
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._goodbye: tuple[int, str] = (Close.UNRESPONSIVE, Close.UNRESPONSIVE.reason)  # until `close` sets another
        self._held: Any = None  # a message that was received and not yet handled
        self._turn: asyncio.Future[None] | None = None  # done when it is our turn to handle it
        self.codec: Codec = codec
        self.member: Any = None
        self.address: str | None = None
        self.closing = False
        self.paused = False
        self.heard_at = self._loop.time()
        self.sent = True
        self.sent_at = self.pinged_at = self.heard_at

    # --- writing -----------------------------------------------------------------------------------------------
    def send(self, prepared: Prepared) -> None:
        """Queue a frame. Disconnect a peer that asks faster than it reads, once too much waits for it."""
        self.sent = True
        if self.closing:
            return
        self._queue.append(prepared)
        self._queued_bytes += len(prepared.payload)
        self._news.set()
        if self.paused and self._queued_bytes > limits.WRITE_BYTES_MAX:
            self.close(Close.SLOW_READER)
        elif not self.paused and self._queued_bytes > limits.WRITE_HIGH_BYTES:
            self.paused = True
            self._paused_at = self._taken_at = self._loop.time()

    def stalled(self, now: float) -> bool:
        """Whether the peer has taken none of what waits for too long, or has been behind for even longer."""
        return now - self._taken_at >= limits.STALLED_S_MAX or now - self._paused_at >= limits.UNRESPONSIVE_S

    @property
    def unsent(self) -> int:
        """Bytes that the ASGI server has not taken yet."""
        return self._queued_bytes

    def tell(self, message: bytes) -> None:
        """Send an encoded message to this peer alone."""
        self.send(Prepared(self.codec, join_messages(self.codec, [message])))

    def ping(self) -> None:
        """Count the peer as heard: the ASGI server pings and hides the pongs, and will report a peer that is gone."""
        self.heard_at = self._loop.time()

    def close(self, code: Close, reason: str | None = None) -> None:
        """Send a close frame after what is queued. End when the peer has answered or CLOSE_LINGER_S has passed."""
        if self.closing:
            return
        self.closing = True
        self._goodbye = (int(code), code.reason if reason is None else reason)
        self._news.set()
        if code.blames:
            self._hub.blamed(self)
        if self.paused:  # the close frame would wait behind data that is never read
            self._queue.clear()
            if self._writer is not None:
                self._writer.cancel()

    # --- running -----------------------------------------------------------------------------------------------
    async def run(self, welcome: Callable[[], Awaitable[None]]) -> None:
        """Welcome, read and write until one side closes. The ASGI call lasts as long as this."""
        reader = asyncio.create_task(self._read(welcome))
        self._writer = asyncio.create_task(self._write())
        try:
            await asyncio.wait((reader, self._writer), return_when=asyncio.FIRST_COMPLETED)
            self.closing = True
            if not reader.done():
                await self._say_goodbye(reader)
        finally:
            self.closing = True
            for task in (reader, self._writer):
                task.cancel()
            ended = await asyncio.gather(reader, self._writer, return_exceptions=True)
            self._hub.lost(self)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _say_goodbye(self, reader: "asyncio.Task[None]") -> None:
        code, reason = self._goodbye
        with contextlib.suppress(*GONE):
            async with asyncio.timeout(limits.CLOSE_LINGER_S):
                await self._websocket.close(code, reason)
                await asyncio.wait((reader,))

    async def _write(self) -> None:
        """Send what is queued until `close`, or until the peer has left or takes nothing for UNRESPONSIVE_S."""
        with contextlib.suppress(*GONE):
            while not self.closing or self._queue:
                if not self._queue:
                    self._news.clear()
                    await self._news.wait()
                    continue
                prepared = self._queue.popleft()
                self._queued_bytes -= len(prepared.payload)
                async with asyncio.timeout(limits.UNRESPONSIVE_S):
                    await self._send(prepared)
                self._taken_at = self._loop.time()
                if self.paused and self._queued_bytes <= limits.WRITE_LOW_BYTES and not self.closing:
                    self.paused = False
                    self._hub.writable(self)

    async def _send(self, prepared: Prepared) -> None:
        if prepared.opcode == TEXT:
            await self._websocket.send_text(prepared.payload.decode())
        else:
            await self._websocket.send_bytes(prepared.payload)

    async def _read(self, welcome: Callable[[], Awaitable[None]]) -> None:
        """Read messages until the peer has left. Drop those that come after our close.

        A server that has read ahead hands over one message after the other without a turn of the loop in between.
        """
        await welcome()
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            self.heard_at = self._loop.time()
            if self.closing:
                await asyncio.sleep(0)
                continue
            self._held = message
            if not self._hub.turns.read(self):
                self._turn = asyncio.get_running_loop().create_future()
                await self._turn

    def read_on(self, _until: float) -> bool:
        """Handle the one message that is held."""
        message, self._held = self._held, None
        if message is None or self.closing:
            return False
        text = message.get("text")
        opcode, payload = (BINARY, message["bytes"]) if text is None else (TEXT, text.encode())
        if len(payload) > limits.FRAME_BYTES_MAX:
            self.close(Close.TOO_BIG)
        else:
            self._hub.received(self, opcode, payload)
        return False

    def read_out(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


async def deny(websocket: WebSocket, response: Response) -> None:
    """Refuse the upgrade with an HTTP response. A server without that ASGI extension answers a bare 403."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(response)
    else:
        await websocket.close()
