"""The peer `ws`: the websocket library of Node.js."""

import json
from pathlib import Path

from loadtest.naive import BOT_PATH, PATH
from loadtest.peers.node import NodePeer
from loadtest.peers.peer import TICK_MS
from protocol.client import Frame


class Ws(NodePeer):
    """`client.send(...)` for one viewer after the other, as its documentation broadcasts."""

    name, title = "ws", "ws (node)"
    viewer_path, bot_path = PATH, BOT_PATH
    home = Path(__file__).with_name("ws")
    tick_ms = 0

    def start(self) -> None:
        command = ["node", str(self.home / "server.js"), str(self.port), BOT_PATH, str(self.tick_ms)]
        self.run(command, NODE_ENV="production")
        self.until_listening()

    def said(self, text: str) -> Frame:
        return json.dumps({"type": "chat.send", "ref": "1", "text": text})


class WsTick(Ws):
    """The same, with the events of a tick in one frame."""

    name, title = "ws-tick", f"ws, {TICK_MS} ms tick"
    tick_ms = TICK_MS
