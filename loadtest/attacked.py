"""`bench hostile`: each hostile kind beside viewers. What these wait, what the node holds, and what the kind gets."""

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from loadtest import attackers
from loadtest.again import WAIT_S, attacking
from loadtest.api import Api
from loadtest.audience import Audience, Heard
from loadtest.delivery import ROOM, SETTLE_S, Program, liveroom, publish
from loadtest.processes import OTHER_CPU, SERVICE_KEY, pin, rss_kib, socket_path
from loadtest.report import CONSOLE
from protocol.wire import Role

EVENTS_PER_S = 20.0
LOOK_S = 0.25  # between two looks at the node's memory
BEGIN_S = 1.0  # the attack goes on for so long before it is measured
ARRIVE_S = 10.0  # for what is still under way at the end of a window
ROOMS = 1_700
MANY_ROOMS = "the list of 1,700 rooms"
HEADS = ("kind", "p99 before, during", "node before, most during", "what they got", "delivered during", "closed")


class Window(Struct, frozen=True):
    """What the viewers had in a stretch of time, and the most that the node held."""

    heard: Heard
    expected: int
    rss_kib: int

    @property
    def arrived(self) -> str:
        part = self.heard.messages / max(1, self.expected)
        return "all" if part == 1 else f"**{part:.1%}**"


def hostile(args: argparse.Namespace) -> None:
    """A table with a row for each kind, printed as they are measured. Each kind has a server of its own."""
    CONSOLE.print(
        f"\nhostile: {args.flooders} of one kind beside {args.viewers} viewers, {EVENTS_PER_S:g} events/s, "
        f"{args.seconds:g} s before and during each (longer for what waits)"
    )
    _print_row(HEADS)
    _print_row(["---"] * len(HEADS))
    for kind in args.kinds or attackers.KINDS:
        try:
            _print_row(row(kind, *_beside(args, kind)))
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            CONSOLE.print(f"{kind} was not measured: {error}", markup=False)


def row(kind: str, before: Window, during: Window, ends: Counter[str]) -> list[str]:
    """A row of the table, in Markdown. What no viewer may notice is bold."""
    got = ", ".join(f"{end}: {number}" for end, number in ends.most_common()) or "nothing"
    return [
        kind,
        f"{before.heard.p99_ms:.0f}, {during.heard.p99_ms:.0f} ms",
        f"{before.rss_kib / 1024:.0f}, {during.rss_kib / 1024:.0f} MiB",
        got,
        during.arrived,
        f"**{during.heard.closed}**" if during.heard.closed else "none",
    ]


def _print_row(cells: list[str] | tuple[str, ...]) -> None:
    CONSOLE.print(f"| {' | '.join(cells)} |", markup=False)


# --- measuring -----------------------------------------------------------------------------------------------------
def _beside(args: argparse.Namespace, kind: str) -> tuple[Window, Window, Counter[str]]:
    """The viewers before and during an attack on a new server."""
    pin(os.getpid(), OTHER_CPU)
    ends = Counter[str]()
    with liveroom(args.folder) as program, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind == MANY_ROOMS:
            _make_rooms(program)
        seconds = max(args.seconds, attackers.LEAST_S.get(kind, 0.0))
        stays_s = 2 * (seconds + 2 * ARRIVE_S + WAIT_S) + BEGIN_S
        audience = Audience(program.url, program.viewer_path, args.viewers, stays_s, cpu=OTHER_CPU, folder=folder)
        try:
            audience.wait_ready()
            time.sleep(SETTLE_S)
            before = uvloop.run(_window(program, audience, args.viewers, args.seconds))
            with _attacking(program, folder, kind, args.flooders, ends):
                time.sleep(BEGIN_S)
                during = uvloop.run(_window(program, audience, args.viewers, seconds))
        finally:
            audience.end()
    return before, during, ends


def _make_rooms(program: Program) -> None:
    api = Api(program.url, SERVICE_KEY)
    for number in range(ROOMS):
        api.open_room(f"room-{number}")
    api.close()


async def _window(program: Program, audience: Audience, viewers: int, seconds: float) -> Window:
    """Publish for so long, and wait a little for what is late. The node's memory is looked at meanwhile."""
    most = [rss_kib(program.node)]
    looking = asyncio.create_task(_look(program, most))
    try:
        sent = await publish(program, EVENTS_PER_S, seconds)
        heard = await asyncio.to_thread(_all_heard, audience, sent * viewers)
    finally:
        looking.cancel()
    return Window(heard=heard, expected=sent * viewers, rss_kib=max(most))


async def _look(program: Program, seen: list[int]) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        seen.append(rss_kib(program.node))


def _all_heard(audience: Audience, expected: int) -> Heard:
    """What the audience has heard since it was last asked, when that is all, or when ARRIVE_S is over."""
    until = time.monotonic() + ARRIVE_S
    while (heard := audience.so_far()).messages < expected and time.monotonic() < until:
        time.sleep(LOOK_S)
    audience.begin_again()
    return heard


@contextmanager
def _attacking(program: Program, folder: Path, kind: str, number: int, ends: Counter[str]) -> Iterator[None]:
    """Run the attackers' process until the block ends, then add what they got."""
    paths = folder / "attackers"
    role: Role = "bot" if kind in attackers.AS_BOTS else "viewer"
    paths.write_text("\n".join(socket_path(ROOM, f"attacker-{each}", role) for each in range(number)))
    host, port = program.url.removeprefix("http://").split(":")
    with attacking("loadtest.attackers", host, port, str(paths), kind, str(number)) as said:
        yield
    ends.update(msgspec.json.decode(said[0], type=dict[str, int]))
