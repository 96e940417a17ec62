"""Gifts over many sockets, each sent as soon as an earlier one has its ok, and the CPU that they cost."""

import asyncio
import time

import msgspec

from loadtest.api import Api
from loadtest.processes import SERVICE_KEY, Served, cpu_s, socket_path
from loadtest.report import Latency
from loadtest.wire import Address, Socket
from protocol.client import Frame
from protocol.ids import uuid7

IN_FLIGHT = 16  # gifts per socket that await their ok
WARM_UP_S = 1.0


class _Head(msgspec.Struct):
    """The fields of a message that the flood reads."""

    type: str
    ref: str | None = None
    reason: str | None = None


class Giver:
    """One socket that always has IN_FLIGHT gifts on their way."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.acked = 0
        self.shown = 0
        self.refused: dict[str, int] = {}
        self.latency: Latency | None = None
        self.stopping = False
        self._refs = 0
        self._sent_ns: dict[str, int] = {}
        self._decoder = msgspec.json.Decoder(list[_Head])
        self._socket: Socket

    async def come(self, address: Address) -> None:
        path = socket_path(f"bench-{self.number}", f"giver-{self.number}", "bot")
        self._socket = await Socket.connect(address, path, self._hear)

    def begin(self) -> None:
        for _ in range(IN_FLIGHT):
            self._give()

    def leave(self) -> None:
        self._socket.abort()

    def _give(self) -> None:
        self._refs += 1
        ref = str(self._refs)
        now_ns = time.time_ns()
        self._sent_ns[ref] = now_ns
        self._socket.send(
            f'{{"type":"gifts.send","ref":"{ref}","id":"{uuid7(now_ns // 1_000_000)}","gift":"rose","count":1}}'
        )

    def _hear(self, frame: Frame) -> None:
        for message in self._decoder.decode(frame):
            if message.type == "gifts.sent":
                self.shown += 1
            elif message.type in ("ok", "refused") and message.ref in self._sent_ns:
                took_ns = time.time_ns() - self._sent_ns.pop(message.ref)
                if message.type == "ok":
                    self.acked += 1
                    if self.latency is not None:
                        self.latency.record_ns(took_ns)
                else:
                    reason = message.reason or ""
                    self.refused[reason] = self.refused.get(reason, 0) + 1
                if not self.stopping:
                    self._give()


async def flood(served: Served, givers: int, seconds: float) -> dict[str, object]:
    """Measure for `seconds`, and return the rows of the report."""
    address = Api(served.url, SERVICE_KEY).address
    people = [Giver(number) for number in range(givers)]
    for giver in people:
        await giver.come(address)
    for giver in people:
        giver.begin()
    await asyncio.sleep(WARM_UP_S)
    latency = Latency()
    for giver in people:
        giver.latency = latency
    names = {
        "node": "server node",
        "wallet store": "wallet.sock",
        "room store": "room.sock",
        "journal": "server journal",
    }
    pids = {name: served.pid_of(text) for name, text in names.items()}
    used_s = {name: cpu_s(pid) for name, pid in pids.items()}
    acked, shown, began = _sum(people)
    await asyncio.sleep(seconds)
    acked_after, shown_after, ended = _sum(people)
    cost = {name: (cpu_s(pid) - used_s[name]) / max(1, acked_after - acked) * 1e6 for name, pid in pids.items()}
    for giver in people:
        giver.stopping = True
    refused: dict[str, int] = {}
    for giver in people:
        for reason, count in giver.refused.items():
            refused[reason] = refused.get(reason, 0) + count
        giver.leave()
    return {
        "acknowledged": f"{(acked_after - acked) / (ended - began):.0f} gifts per s",
        "shown": f"{(shown_after - shown) / (ended - began):.0f} per s",
        "command to ok": latency,
        "CPU per gift": "  ".join(f"{name} {us:.0f} us" for name, us in cost.items()),
        "refused": refused or "none",
    }


def _sum(people: list[Giver]) -> tuple[int, int, float]:
    return sum(giver.acked for giver in people), sum(giver.shown for giver in people), time.perf_counter()
