"""The floor: floor.c, a C program that only passes on what a bot sends. Nobody can deliver for much less."""

import json
import subprocess
from pathlib import Path

from loadtest.naive import Room
from loadtest.peers.peer import TICK_MS, Peer, first_line, missing, program
from protocol.client import Frame

SOURCE = Path(__file__).with_name("floor.c")


class Floor(Peer):
    """One write to each viewer at the end of a turn of its loop. The bot makes the events."""

    name, title = "floor", "floor: C, epoll"
    bot_path = "/bot"
    tick_ms = 0

    def __init__(self) -> None:
        super().__init__()
        self._room = Room()

    def why_not(self) -> str | None:
        return missing("cc")

    def version(self) -> str:
        return first_line(program("cc"), "--version")

    def start(self) -> None:
        made = self.folder / "floor"
        subprocess.run([program("cc"), "-O2", "-o", str(made), str(SOURCE)], check=True)
        self.run([str(made), str(self.port), str(self.tick_ms)])
        self.until_listening()

    def said(self, text: str) -> Frame:
        return json.dumps([self._room.chat(text)], separators=(",", ":"))


class FloorTick(Floor):
    """The same, with the events of a tick in one write."""

    name, title = "floor-tick", f"floor, {TICK_MS} ms tick"
    tick_ms = TICK_MS
