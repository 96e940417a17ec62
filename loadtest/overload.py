"""Overload: a room gets twice the chat that its settings allow, round after round. Nobody may be closed for it."""

import argparse
import contextlib
import os
import tempfile
from pathlib import Path

from msgspec import Struct

from loadtest import report
from loadtest.api import Api
from loadtest.peers.audience import compiled
from loadtest.peers.measure import Delivered, deliver
from loadtest.peers.ours import ROOM, Liveroom
from loadtest.processes import OTHER_CPU, SERVICE_KEY, pin
from loadtest.report import CONSOLE

LIMIT_PER_S = 2_000  # the default of a room's settings
TIMES = 2
P99_MS_MAX = 500
SHOWN_MIN = 0.9  # of what the limit allows: the audience hears little before the bots are up to speed


class _Limited(Liveroom):
    """Our server, with a room of this limit."""

    def __init__(self, per_s: int) -> None:
        super().__init__()
        self._per_s = per_s

    def start(self) -> None:
        super().start()
        room = {"host": {"user_id": "creator", "name": "Creator"}, "title": "Overload"}
        with contextlib.closing(Api(self.url, SERVICE_KEY)) as api:
            api.call("PUT", f"/v1/rooms/{ROOM}", room | {"settings": {"chat_per_s": self._per_s}})


class Round(Struct, frozen=True):
    """One round, and what the limit allows in it."""

    found: Delivered
    viewers: int
    allowed: float  # messages

    @property
    def wrong(self) -> list[str]:
        """What must not be."""
        heard, said = self.found.heard, []
        if heard.closed:
            said.append(f"{heard.closed} closed")
        if heard.p99_ms > P99_MS_MAX:
            said.append(f"p99 over {P99_MS_MAX} ms")
        if heard.messages < SHOWN_MIN * self.allowed * self.viewers:
            said.append(f"only {heard.messages / self.viewers / self.allowed:.0%} of what the limit allows was shown")
        return said

    @property
    def row(self) -> str:
        heard = self.found.heard
        shown = heard.messages / self.viewers
        verdict = ", ".join(self.wrong) or "holds"
        return (
            f"{heard.closed} closed, p50 {heard.p50_ms:.0f}  p99 {heard.p99_ms:.0f}  max {heard.max_ms:.0f} ms, "
            f"{shown:.0f} of {self.found.said} shown, {self.found.cpu_s:.1f} s of CPU: {verdict}"
        )


def overload(args: argparse.Namespace) -> int:
    """Returns 1 if somebody was closed, or waited too long."""
    pin(os.getpid(), OTHER_CPU)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="liveroom-overload-") as folder:
        try:
            program = compiled(Path(folder))
        except RuntimeError as error:
            CONSOLE.print(str(error))
            return 2
        for _ in range(args.rounds):
            found = deliver(_Limited(args.limit), program, args.viewers, TIMES * args.limit, args.seconds)
            rounds.append(Round(found, args.viewers, args.limit * args.seconds))
    title = f"overload: {TIMES} times the room's {args.limit} chats/s to {args.viewers} viewers, {args.seconds:g} s"
    report.table(title, {f"round {number}": each.row for number, each in enumerate(rounds, 1)})
    failed = sum(bool(each.wrong) for each in rounds)
    CONSOLE.print(f"{failed} of {len(rounds)} rounds failed" if failed else "passed")
    return 1 if failed else 0
