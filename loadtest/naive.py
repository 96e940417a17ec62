"""Two plain servers to compare with: a loop of `await send_text` in starlette, and `websockets.broadcast`.

Both keep a set of sockets and send every event immediately, as JSON in its own frame. They have no tokens, no history
and no store; the comparison lets them keep that advantage.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
import uuid
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from loadtest.processes import ROOT, free_port, until_listening

WAYS = {"starlette": "await send_text per socket, starlette", "websockets": "websockets.broadcast"}
PATH, BOT_PATH = "/v1/room", "/v1/bot"
LIFE_S = 600  # then it exits, in case its parent was killed


class Naive:
    """One of them in its own process, until the block ends."""

    def __init__(self, way: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "loadtest.naive", way, str(self.port)]
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Naive":
        self._process = subprocess.Popen(self._command, cwd=ROOT)
        until_listening(self.port, self._process)
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid


# --- the servers ---------------------------------------------------------------------------------------------------
class Room:
    """Turns each chat command into an event in the format of our wire."""

    def __init__(self) -> None:
        self._seq = 0

    def event(self, said: str) -> tuple[str, str]:
        """The frame for everybody, and the reply to the sender."""
        command = json.loads(said)
        return json.dumps([self.chat(command["text"])]), json.dumps([{"type": "ok", "ref": command["ref"]}])

    def chat(self, text: str) -> dict[str, Any]:
        """The next event of the room."""
        self._seq += 1
        return {
            "type": "chat.sent",
            "seq": self._seq,
            "at_ms": time.time_ns() // 1_000_000,
            "id": str(uuid.uuid4()),
            "user": {"user_id": "bot", "name": "Bot", "role": "bot", "badges": []},
            "text": text,
        }


def starlette_app() -> Starlette:
    room, viewers = Room(), set[WebSocket]()

    async def view(socket: WebSocket) -> None:
        await socket.accept()
        viewers.add(socket)
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            viewers.discard(socket)

    async def speak(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            async for said in socket.iter_text():
                event, reply = room.event(said)
                for viewer in list(viewers):
                    await viewer.send_text(event)
                await socket.send_text(reply)

    return Starlette(routes=[WebSocketRoute(PATH, view), WebSocketRoute(BOT_PATH, speak)])


def run_starlette(port: int) -> None:
    uvicorn.run(
        starlette_app(),
        host="127.0.0.1",
        port=port,
        ws="websockets-sansio",
        loop="uvloop",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="warning",
        access_log=False,
    )


async def run_websockets(port: int) -> None:
    room, viewers = Room(), set[ServerConnection]()

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        if connection.request.path == PATH:
            viewers.add(connection)
            try:
                await connection.wait_closed()
            finally:
                viewers.discard(connection)
            return
        with contextlib.suppress(ConnectionClosed):
            async for said in connection:
                assert isinstance(said, str)
                event, reply = room.event(said)
                broadcast(viewers, event)
                await connection.send(reply)

    async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096):
        await asyncio.get_running_loop().create_future()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.naive")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("port", type=int)
    args = parser.parse_args()
    signal.alarm(LIFE_S)
    if args.way == "starlette":
        run_starlette(args.port)
    else:
        uvloop.run(run_websockets(args.port))


if __name__ == "__main__":
    main()
