"""Delivery benchmarks: CPU per delivered message beside two plain servers, a full hall, slow readers, a quiet room."""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import uvloop
from msgspec import Struct

from loadtest import report, watch
from loadtest.api import Api
from loadtest.audience import Audience, Heard
from loadtest.hearing import mark
from loadtest.naive import BOT_PATH, PATH, WAYS, Naive
from loadtest.processes import NODE_CPU, OTHER_CPU, SERVICE_KEY, Served, cpu_s, pin, rss_kib, socket_path
from loadtest.wire import Address, Socket
from protocol.client import Answered, Frame, RoomClient

LIVEROOM, ROOM = "liveroom", "bench"
SETTLE_S = 1.0
ANSWERS_S = 2.0  # to wait for the last replies; the audience stays a little longer
TARGETS = {  # by events per second: us per delivered message, p99 in ms
    30: (10.0, None),
    200: (2.0, 100),
    1000: (0.5, 120),
}
TIMES_TARGET = 5  # times less CPU than the plain servers, at TIMES_RATE
TIMES_RATE = 200
HALL_P99_MS, HALL_LAG_MS = 400, 20
SLOW_MORE = 1.1
SLOW_PAIRS = 3
QUIET_PER_S, QUIET_MS = 2.0, 20
GIVEN_COINS = 1_000_000


def _chat(bot: RoomClient) -> Frame:
    return bot.chat(f"a message of the usual length {mark()}")


def _rose(bot: RoomClient) -> Frame:
    return bot.gift("rose", message=mark())


Say = Callable[[RoomClient], Frame]


class Program(Struct, frozen=True):
    """A server to measure. `node` is the pid of the process whose CPU counts."""

    name: str
    url: str
    node: int
    viewer_path: str
    bot_path: str


class Figures(Struct, frozen=True):
    """The result of one measurement."""

    name: str
    audience: str
    expected: int
    heard: Heard
    used_s: float  # CPU of the node
    took_s: float
    rss_kib: int
    lag_ms: float  # 99 of 100 samples of the loop's lag are at most this

    @property
    def each_us(self) -> float:
        return self.used_s / max(1, self.heard.messages) * 1e6

    @property
    def arrived(self) -> str:
        part = self.heard.messages / max(1, self.expected)
        return "all" if part == 1 else f"{self.heard.messages} of {self.expected} ({part:.1%})"

    @property
    def waited(self) -> str:
        return f"p50 {self.heard.p50_ms:.1f}  p99 {self.heard.p99_ms:.1f}  max {self.heard.max_ms:.0f} ms"


# --- the measurements ----------------------------------------------------------------------------------------------
def fanout(args: argparse.Namespace) -> None:
    """CPU per delivered message at each rate, for our node and for the plain servers."""
    for per_s in args.events_per_s:
        ours = measure(liveroom(args.folder), args.viewers, per_s, args.seconds)
        plain = [measure(_naive(way), args.viewers, per_s, args.seconds) for way in args.beside]
        each_us, p99_ms = TARGETS.get(per_s, (None, None))
        rows: dict[str, object] = {
            "audience": ours.audience,
            "liveroom": f"{ours.each_us:.2f} us CPU per delivered{_target(each_us, 'us')}",
            "- sent to received": ours.waited + _target(p99_ms, "ms p99"),
            "- delivered": f"{ours.arrived}, {ours.heard.closed} closed, loop lag p99 <= {ours.lag_ms:g} ms",
        }
        aim = f"  (target >= {TIMES_TARGET})" if per_s == TIMES_RATE else ""
        for number, each in enumerate(plain, 1):
            rows[f"{number}: {each.name}"] = f"{each.each_us:.2f} us, {each.each_us / ours.each_us:.1f} times{aim}"
            rows[f"{number}: sent to received"] = each.waited
            rows[f"{number}: delivered"] = each.arrived
        report.table(f"fan-out: {args.viewers} viewers, {per_s:g} events/s, {args.seconds:g} s", rows)


def hall(args: argparse.Namespace) -> None:
    """A great many viewers in one room of one node."""
    found = measure(liveroom(args.folder), args.hall, 100, args.seconds)
    report.table(
        f"a full hall: {args.hall} viewers, 100 events/s, {args.seconds:g} s",
        {
            "audience": found.audience,
            "node CPU per delivered": f"{found.each_us:.2f} us",
            "sent to received": f"{found.waited}  (target <= {HALL_P99_MS} ms p99)",
            "loop lag": f"p99 <= {found.lag_ms:g} ms  (target <= {HALL_LAG_MS})",
            "delivered": f"{found.arrived}, {found.heard.closed} closed",
        },
    )


def slow(args: argparse.Namespace) -> None:
    """A tenth of the viewers never reads: how this affects the others, and the node's memory."""
    few = args.viewers // 10
    pairs = []
    for _ in range(SLOW_PAIRS):  # alternate: the machine varies more from minute to minute than the effect we look for
        without = measure(liveroom(args.folder), args.viewers, TIMES_RATE, args.seconds)
        pairs.append((without, measure(liveroom(args.folder), args.viewers, TIMES_RATE, args.seconds, slow=few)))
    pairs.sort(key=lambda pair: pair[1].heard.p99_ms / max(0.001, pair[0].heard.p99_ms))
    without, with_ = pairs[SLOW_PAIRS // 2]
    held, more = with_.rss_kib / without.rss_kib, with_.heard.p99_ms / max(0.001, without.heard.p99_ms)
    aim = f"(target <= {SLOW_MORE:g} times)"
    report.table(
        f"slow readers: {few} of {args.viewers} viewers never read, {TIMES_RATE} events/s, {args.seconds:g} s, "
        f"median of {SLOW_PAIRS} pairs",
        {
            "audience": with_.audience,
            "the others wait, no slow readers": without.waited,
            "the others wait, with slow readers": f"{with_.waited}: p99 {more:.2f} times  {aim}",
            "delivered to the others": with_.arrived,
            "memory of the node, no slow readers": f"{without.rss_kib / 1024:.1f} MiB",
            "memory of the node, with slow readers": f"{with_.rss_kib / 1024:.1f} MiB: {held:.2f} times  {aim}",
        },
    )


def quiet(args: argparse.Namespace) -> None:
    """A gift now and then, timed from sending until the last viewer has it: paid, on disk, shown."""
    found = measure(liveroom(args.folder), args.viewers, QUIET_PER_S, args.seconds, say=_rose)
    report.table(
        f"a quiet room: {args.viewers} viewers, {QUIET_PER_S:g} gifts/s, {args.seconds:g} s",
        {
            "audience": found.audience,
            "sent to received": f"{found.waited}  (target < {QUIET_MS} ms)",
            "delivered": f"{found.arrived}, {found.heard.closed} closed",
        },
    )


def _target(value: float | None, unit: str) -> str:
    return f"  (target <= {value:g} {unit})" if value is not None else ""


# --- measuring -----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def liveroom(folder: Path | None) -> Iterator[Program]:
    """Our server with a room. The node has one core, stores and journal the other."""
    with Served(folder) as served:
        api = Api(served.url, SERVICE_KEY)
        api.open_room(ROOM)
        api.top_up("bot", GIVEN_COINS, "bench-bot")
        served.spread(NODE_CPU, OTHER_CPU)
        viewer_path, bot_path = socket_path(ROOM, "fan"), socket_path(ROOM, "bot", "bot")
        yield Program(LIVEROOM, served.url, served.node, viewer_path, bot_path)


@contextlib.contextmanager
def _naive(way: str) -> Iterator[Program]:
    with Naive(way) as naive:
        pin(naive.pid, NODE_CPU)
        yield Program(WAYS[way], naive.url, naive.pid, PATH, BOT_PATH)


def measure(
    started: AbstractContextManager[Program],
    viewers: int,
    per_s: float,
    seconds: float,
    *,
    slow: int = 0,
    say: Say = _chat,
    beside: Callable[[Program], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Figures:
    """A bot sends `per_s` messages or gifts to the viewers, `slow` of whom never read; `beside` runs meanwhile."""
    pin(os.getpid(), OTHER_CPU)
    with started as program, tempfile.TemporaryDirectory() as folder:
        stays_s = seconds + 3 * SETTLE_S
        audience = Audience(
            program.url, program.viewer_path, viewers, stays_s, cpu=OTHER_CPU, folder=Path(folder), slow=slow
        )
        audience.wait_ready()
        time.sleep(SETTLE_S)
        lags_before = _lags(program)
        began, used_s = time.monotonic(), cpu_s(program.node)
        with beside(program):
            sent = uvloop.run(publish(program, per_s, seconds, say))
            held = rss_kib(program.node)
        lags_after = _lags(program)
        heard = audience.heard()  # an overloaded server still delivers: its CPU counts to the end
        used_s = cpu_s(program.node) - used_s
        took_s = time.monotonic() - began
        return Figures(
            name=program.name,
            audience=audience.name,
            expected=sent * (viewers - slow),
            heard=heard,
            used_s=used_s,
            took_s=took_s,
            rss_kib=held,
            lag_ms=watch.p99_ms(lags_before, lags_after) or 0.0,
        )


async def publish(
    program: Program, per_s: float, seconds: float, say: Say = _chat, over: asyncio.Event | None = None
) -> int:
    """Send until the time is `over`, then wait up to ANSWERS_S for the replies. Returns how many were not refused."""
    bot, news = RoomClient(lambda: time.time_ns() // 1_000_000), asyncio.Event()
    refused = 0

    def hear(frame: str | bytes) -> None:
        nonlocal refused
        refused += sum(isinstance(each, Answered) and not each.ok for each in bot.receive(frame))
        news.set()

    socket = await Socket.connect(Address.of(program.url), program.bot_path, hear)
    began, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds and not (over is not None and over.is_set()):
        while sent < passed * per_s:
            socket.send(say(bot))
            sent += 1
        await asyncio.sleep(min(0.01, 1 / per_s))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWERS_S):
            while bot.unanswered:
                news.clear()
                await news.wait()
    socket.abort()
    return sent - refused


def _lags(program: Program) -> dict[float, float]:
    return watch.lags(program.url) if program.name == LIVEROOM else {}
