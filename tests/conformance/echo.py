"""An echo app on Liveroom's own websocket class: the suite wants its messages back, and our server has no echo."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from server import limits
from server.edge.handshake import TAKEOVER, LiveroomWebSocket
from server.edge.patience import PatientHttp
from server.edge.socket import Connection
from server.edge.turns import Turns
from server.rooms.frames import TEXT, Prepared

# The suite sends messages of up to 16 MiB, and we allow 16 KiB: our own rule, unknown to RFC 6455. With it raised,
# all that is measured is the protocol.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
WAITING_BYTES_MAX = 16 * MESSAGE_BYTES_MAX
START_S = 20.0


class Echo:
    """A hub that answers each message with itself, deflated where the peer takes that."""

    def __init__(self) -> None:
        self.turns = Turns()

    def received(self, connection: Connection, opcode: int, payload: bytes) -> None:
        connection.send(Prepared("json" if opcode == TEXT else "msgpack", payload, shared=True))

    def charge(self, connection: Connection, cost: int) -> None: ...
    def lost(self, connection: Connection) -> None: ...
    def writable(self, connection: Connection) -> None: ...


async def echo(websocket: WebSocket) -> None:
    """The route: accept, and hand the connection to our class, as a room does."""
    await websocket.accept()
    connection = websocket.scope["extensions"][TAKEOVER](Echo(), "json")
    connection.listen()


class Server(uvicorn.Server):
    """uvicorn's server, which says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve it on a free port of 127.0.0.1, with the bounds on sizes raised. Yields the port."""
    before = limits.FRAME_BYTES_MAX, limits.WRITE_BYTES_MAX
    limits.FRAME_BYTES_MAX, limits.WRITE_BYTES_MAX = MESSAGE_BYTES_MAX, WAITING_BYTES_MAX
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", echo)]),
        ws=LiveroomWebSocket,
        http=PatientHttp,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        log_level="warning",
        lifespan="off",
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(START_S):
            await server.up.wait()
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task
        limits.FRAME_BYTES_MAX, limits.WRITE_BYTES_MAX = before
