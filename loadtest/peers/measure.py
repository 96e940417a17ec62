"""The measurements of a peer: deliveries at a rate, the highest rate that it sustains, idle memory, joins."""

import asyncio
import itertools
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop
from msgspec import Struct

from loadtest.audience import Heard
from loadtest.hearing import mark
from loadtest.peers.audience import PeerAudience
from loadtest.peers.peer import Peer
from loadtest.processes import OTHER_CPU, cpu_s, rss_kib
from loadtest.wire import Address, NotAdmitted, Socket
from protocol.client import Frame

SETTLE_S = 1.0
ENTER_S = 10.0
NAP_S = 0.01  # a bot looks at its plan at least so often
PER_BOT_S = 250  # messages per bot: our server refuses a socket with 64 commands that wait for the store
P99_MS_MAX = 1000  # a rate with a higher p99 does not count as sustained
SENT_PART = 0.98  # of the planned messages; the rest may be missing because the bot itself was late
RUNG_S = 3.0
RUNG_FIRST_PER_S, RUNG_LAST_PER_S = 125, 64_000
WARM = 500  # connections that fill caches, which a server pays for once
AT_A_TIME = 100
IDLE_S = 120.0  # longer than the measurement, which ends the audience


Arrivals = Callable[[float], Iterator[float]]  # from messages per second to when each is due, in seconds
SEED = 1


def even(per_s: float) -> Iterator[float]:
    """Messages at equal distances."""
    return (number / per_s for number in itertools.count())


def poisson(per_s: float) -> Iterator[float]:
    """Messages as independent people send them, and the same in each run."""
    chance = random.Random(SEED)
    return itertools.accumulate(chance.expovariate(per_s) for _ in itertools.count())


class Delivered(Struct, frozen=True, kw_only=True):
    """What was delivered at one rate, and its cost."""

    per_s: float
    said: int
    expected: int
    heard: Heard
    cpu_s: float
    store_cpu_s: float
    audience_cores: float  # near 1, the audience is the bottleneck

    @property
    def each_us(self) -> float:
        return self.cpu_s / max(1, self.heard.messages) * 1e6

    @property
    def share(self) -> float:
        return self.heard.messages / max(1, self.expected)

    @property
    def sustained(self) -> bool:
        return self.share == 1 and self.heard.p99_ms <= P99_MS_MAX


class Idle(Struct, frozen=True, kw_only=True):
    """Memory of idle connections, and how fast they joined."""

    connections: int
    kib_each: float
    joins_per_s: float
    join_cpu_us: float


def deliver(
    peer: Peer,
    program: Path,
    viewers: int,
    per_s: float,
    seconds: float,
    settle_s: float = SETTLE_S,
    arrivals: Arrivals = even,
) -> Delivered:
    """Bots send `per_s` messages per second to the viewers; as many bots as that takes."""
    with peer, tempfile.TemporaryDirectory() as folder:
        paths = [peer.viewer_path] * viewers
        stays_s = seconds + 4 * settle_s
        audience = PeerAudience(program, peer, paths, stays_s, cpu=OTHER_CPU, folder=Path(folder), at_a_time=AT_A_TIME)
        try:
            audience.wait_ready()
            time.sleep(settle_s)
            used_s, stores_s = _cpu_s(peer.pids), _cpu_s(peer.store_pids)
            bots = math.ceil(per_s / PER_BOT_S)
            planned = list(itertools.takewhile(lambda due_s: due_s < seconds, arrivals(per_s)))
            said, heard, heard_s = uvloop.run(_send_and_count(peer, bots, planned, seconds, audience))
            return Delivered(
                per_s=per_s,
                said=said,
                expected=max(said, int(len(planned) * SENT_PART)) * viewers,
                heard=heard,
                cpu_s=_cpu_s(peer.pids) - used_s,
                store_cpu_s=_cpu_s(peer.store_pids) - stores_s,
                audience_cores=heard_s / seconds,
            )
        finally:
            audience.end()


async def _send_and_count(
    peer: Peer, bots_n: int, planned: list[float], seconds: float, audience: PeerAudience
) -> tuple[int, Heard, float]:
    """Returns the messages sent, what the audience received, and its CPU time while they were sent."""
    bots = [await enter_bot(peer) for _ in range(bots_n)]
    heard_s = audience.cpu_s
    began, said = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while said < len(planned) and planned[said] <= passed:
            bot = bots[said % len(bots)]
            said += 1
            if not bot.closed.done():  # if the server has closed it, the message counts as not delivered
                bot.send(peer.said(f"a message of the usual length {mark()}"))
        due_s = planned[said] if said < len(planned) else seconds
        await asyncio.sleep(min(NAP_S, due_s - passed))
    heard_s = audience.cpu_s - heard_s
    # An overloaded server still delivers, and its CPU counts to the end. The bots stay, because leaving would discard
    # what the server has not read yet.
    heard = await asyncio.to_thread(audience.heard)
    for bot in bots:
        bot.abort()
    return said, heard, heard_s


async def enter(
    peer: Peer, path: str, hello: tuple[Frame, ...], greeting: bytes, hear: Callable[[bytes], None]
) -> Socket:
    """Connect, send the hello and wait for the greeting. Later data goes to `hear`."""
    early, greeted = bytearray(), asyncio.Event()

    def on_frame(frame: Frame) -> None:
        data = frame.encode() if isinstance(frame, str) else frame
        if greeted.is_set():
            hear(data)
            return
        early.extend(data)
        if greeting in early:
            greeted.set()

    opened = await Socket.connect(Address.of(peer.url), path, on_frame, peer.subprotocol)
    for frame in hello:
        opened.send(frame)
    if not greeting:
        greeted.set()
    async with asyncio.timeout(ENTER_S):
        await greeted.wait()
    return opened


async def enter_bot(peer: Peer) -> Socket:
    """Connect a bot, which can send to the room."""
    return await enter(peer, peer.bot_path, peer.bot_hello, peer.bot_greeting, lambda _data: None)


def climb(make: type[Peer], program: Path, viewers: int) -> list[Delivered]:
    """Double the rate until it fails twice in a row. Returns the measurements at all rates."""
    rungs: list[Delivered] = []
    per_s = RUNG_FIRST_PER_S
    while per_s <= RUNG_LAST_PER_S:
        try:
            rungs.append(deliver(make(), program, viewers, per_s, RUNG_S))
            if not rungs[-1].sustained:
                rungs.append(deliver(make(), program, viewers, per_s, RUNG_S))
        except (NotAdmitted, RuntimeError, OSError):
            break
        if not rungs[-1].sustained:
            break
        per_s *= 2
    return rungs


def idle(peer: Peer, program: Path, connections: int) -> Idle:
    """WARM connections join, then `connections` more: the memory of these, and how fast they join."""
    with peer, tempfile.TemporaryDirectory() as folder:
        paths = peer.paths(WARM + connections)
        audiences, held = [], []
        used_s = joined_s = 0.0
        try:
            for number, part in enumerate((paths[:WARM], paths[WARM:])):
                own = Path(folder) / str(number)
                own.mkdir()
                used_s = _cpu_s(peer.pids)
                audiences.append(
                    PeerAudience(program, peer, part, IDLE_S, cpu=OTHER_CPU, folder=own, at_a_time=AT_A_TIME)
                )
                audiences[-1].wait_ready()
                used_s, joined_s = _cpu_s(peer.pids) - used_s, audiences[-1].joined_s
                time.sleep(2 * SETTLE_S)
                held.append(sum(map(rss_kib, peer.pids)))
        finally:
            for audience in audiences:
                audience.end()
        return Idle(
            connections=connections,
            kib_each=(held[1] - held[0]) / connections,
            joins_per_s=connections / joined_s,
            join_cpu_us=used_s / connections * 1e6,
        )


def _cpu_s(pids: list[int]) -> float:
    return sum(map(cpu_s, pids))
