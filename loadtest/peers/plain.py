"""The two plain servers of naive.py as peers: a loop of awaits in starlette, and websockets.broadcast."""

import json
import sys
from importlib import metadata

from loadtest.naive import BOT_PATH, PATH, WAYS
from loadtest.peers.peer import Peer
from loadtest.processes import ROOT
from protocol.client import Frame


class _Plain(Peer):
    viewer_path, bot_path = PATH, BOT_PATH

    def why_not(self) -> str | None:
        return None

    def start(self) -> None:
        self.run([sys.executable, "-m", "loadtest.naive", self.name, str(self.port)], PYTHONPATH=str(ROOT))
        self.until_listening()

    def said(self, text: str) -> Frame:
        return json.dumps({"type": "chat.send", "ref": "1", "text": text})


class StarletteLoop(_Plain):
    """`await socket.send_text(...)` for one viewer after the other."""

    name, title = "starlette", WAYS["starlette"]

    def version(self) -> str:
        return f"starlette {metadata.version('starlette')}, uvicorn {metadata.version('uvicorn')}"


class WebsocketsBroadcast(_Plain):
    """`broadcast(viewers, event)` of the websockets package."""

    name, title = "websockets", WAYS["websockets"]

    def version(self) -> str:
        return f"websockets {metadata.version('websockets')}"
