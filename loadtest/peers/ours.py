"""Our own server as a peer."""

import contextlib
import json
from pathlib import Path

from loadtest import report
from loadtest.api import Api
from loadtest.peers.peer import Peer
from loadtest.processes import NODE_CPU, OTHER_CPU, SERVICE_KEY, Served, socket_path
from protocol.client import Frame

ROOM = "bench"
CHAT_PER_S = 5_000  # the highest limit that a host may set; the server hides chats above it


class Liveroom(Peer):
    """`python -m server run`. Every message is in the room store's history before it is sent to viewers."""

    name, title = "liveroom", "liveroom"
    subprotocol = "liveroom.v1.json"
    greeting = bot_greeting = b'"welcome"'

    def __init__(self, latency: str = "balanced", folder: Path | None = None) -> None:
        super().__init__()
        self._served = Served(folder, LIVEROOM_LATENCY=latency)
        self.url = self._served.url
        self.viewer_path, self.bot_path = socket_path(ROOM, "fan"), socket_path(ROOM, "bot", "bot")
        self._refs = 0

    def why_not(self) -> str | None:
        return None

    def version(self) -> str:
        return f"commit {report.commit()}"

    def start(self) -> None:
        self._served.__enter__()
        with contextlib.closing(Api(self.url, SERVICE_KEY)) as api:
            api.open_room(ROOM)
            host = {"user_id": "creator", "name": "Creator"}
            room = {"host": host, "title": "Load test", "settings": {"chat_per_s": CHAT_PER_S}}
            api.call("PUT", f"/v1/rooms/{ROOM}", room)
        self._served.spread(NODE_CPU, OTHER_CPU)

    def __exit__(self, *_error: object) -> None:
        self._served.__exit__()
        super().__exit__()

    @property
    def pids(self) -> list[int]:
        return [self._served.node]

    @property
    def store_pids(self) -> list[int]:
        return [self._served.pid_of("room.sock"), self._served.pid_of("wallet.sock")]

    def paths(self, number: int) -> list[str]:
        """A path for each viewer, all different people: the node checks a token for each."""
        return [socket_path(ROOM, f"viewer-{n}") for n in range(number)]

    def said(self, text: str) -> Frame:
        self._refs += 1
        return json.dumps({"type": "chat.send", "ref": str(self._refs), "text": text})
