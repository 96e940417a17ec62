"""The peer `picows`: a websocket library for Python, in Cython. As a module this is its server: `PORT TICK_MS`."""

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import uvloop

from loadtest.naive import BOT_PATH, PATH, Room
from loadtest.peers.peer import TICK_MS, Peer
from loadtest.processes import ROOT
from protocol.client import Frame


class Picows(Peer):
    """`transport.send(...)` for one viewer after the other, on uvloop."""

    name, title = "picows", "picows"
    viewer_path, bot_path = PATH, BOT_PATH
    tick_ms = 0

    def why_not(self) -> str | None:
        if importlib.util.find_spec("picows") is None:
            return "the Python package picows is not installed: `make check` installs it"
        return None

    def version(self) -> str:
        return f"picows {metadata.version('picows')}, uvloop {metadata.version('uvloop')}"

    def start(self) -> None:
        command = [sys.executable, "-m", "loadtest.peers.picows", str(self.port), str(self.tick_ms)]
        self.run(command, PYTHONPATH=os.pathsep.join((str(ROOT), *sys.path)))
        self.until_listening()

    def said(self, text: str) -> Frame:
        return json.dumps({"type": "chat.send", "ref": "1", "text": text})


class PicowsTick(Picows):
    """The same, with the events of a tick in one frame."""

    name, title = "picows-tick", f"picows, {TICK_MS} ms tick"
    tick_ms = TICK_MS


# --- the server ----------------------------------------------------------------------------------------------------
class Hall:
    """The viewers, and the events that wait for the next tick."""

    def __init__(self, send: Callable[[Any, bytes], None], tick_ms: int) -> None:
        self.viewers = set[Any]()
        self._send, self._tick_ms = send, tick_ms
        self._room, self._waiting = Room(), list[dict[str, Any]]()

    def say(self, command: str) -> None:
        self._waiting.append(self._room.chat(json.loads(command)["text"]))
        if not self._tick_ms:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            frame = json.dumps(self._waiting, separators=(",", ":")).encode()
            self._waiting.clear()
            for viewer in self.viewers:
                self._send(viewer, frame)


async def serve(port: int, tick_ms: int) -> None:
    """Sends until the process is ended."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server  # noqa: PLC0415

    hall = Hall(lambda viewer, frame: viewer.send(WSMsgType.TEXT, frame), tick_ms)

    class Viewer(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            hall.viewers.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            hall.viewers.discard(transport)

    class Bot(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                hall.say(frame.get_payload_as_utf8_text())
                transport.send(WSMsgType.TEXT, b'[{"type":"ok","ref":"1"}]')

    def listener(asked: WSUpgradeRequest) -> WSListener:
        return Bot() if asked.path == BOT_PATH.encode() else Viewer()

    await ws_create_server(listener, "127.0.0.1", port, backlog=4096)
    while True:
        await asyncio.sleep((tick_ms or TICK_MS) / 1000)
        hall.flush()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
