"""An audience in its own process, on its own core: it opens connections and counts the messages that they receive.

The built-in audience is Python on epoll. Of a message it reads only the mark: `@T` and 16 hex digits, the time of
sending in nanoseconds. WSFAN may name a faster, compiled program with the same arguments and the same line of figures.
"""

import argparse
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from loadtest.processes import raise_file_limit
from loadtest.wire import Address, upgrade

MARKED = re.compile(rb"@T([0-9a-f]{16})")
TAIL = 17  # bytes of a mark that a read may have cut
LATENCIES_MAX = 2_000_000
SLOW_BYTES = 4_096  # receive buffer of a slow reader


class Heard(Struct, frozen=True):
    """What an audience counted."""

    conns: int
    messages: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    closed: int


class Audience:
    """The audience's process. `wait_ready` returns when all are connected, `heard` when its time is over."""

    def __init__(
        self, url: str, paths: Path | str, number: int, seconds: float, *, cpu: int, folder: Path, slow: int = 0
    ) -> None:
        ready = folder / f"ready-{time.monotonic_ns()}"
        address = Address.of(url)
        where = [address.host, str(address.port)]
        binary = os.environ.get("WSFAN")
        if binary and isinstance(paths, str):
            self.name = f"WSFAN ({Path(binary).name})"
            command = [binary, *where, paths, str(number), str(seconds), "-w", str(ready)]
        else:
            self.name = "built in (python)"
            command = [sys.executable, "-m", "loadtest.audience", *where, str(paths), str(number), str(seconds)]
            command += ["-w", str(ready)]
        command += ["-slow", str(slow)] if slow else []
        self._start(command, ready, cpu)

    def _start(self, command: list[str], ready: Path, cpu: int) -> None:
        self._ready = ready
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with contextlib.suppress(OSError):
            os.sched_setaffinity(self._process.pid, {cpu})

    def wait_ready(self, timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise RuntimeError("the audience could not connect")
            time.sleep(0.02)

    def heard(self) -> Heard:
        """Wait for the end, and read its line of figures."""
        line, _ = self._process.communicate()
        found = dict(part.split("=") for part in line.split() if "=" in part)
        return msgspec.convert(found, Heard, strict=False)

    def so_far(self) -> Heard:
        """What it has heard since its start, or since `begin_again`. Only the built-in audience can be asked."""
        return self._asked(signal.SIGUSR1)

    def begin_again(self) -> None:
        """Count from here on."""
        self._asked(signal.SIGUSR2)

    def _asked(self, how: signal.Signals) -> Heard:
        self._process.send_signal(how)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = dict(part.split("=") for part in line.split() if "=" in part)
        return msgspec.convert(found, Heard, strict=False)

    def end(self) -> None:
        """Kill the process if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


# --- the built-in audience -----------------------------------------------------------------------------------------
class Counted:
    """The marks seen so far, and their latencies."""

    def __init__(self) -> None:
        self.messages = self.closed = 0
        self.first_ns = self.last_ns = 0
        self.waited_ns: list[int] = []

    def read(self, data: bytes) -> bytes:
        """Count the marks. Returns the beginning of a cut mark: put it before the next data."""
        now_ns = time.time_ns()
        found = MARKED.findall(data)
        if found:
            self.first_ns, self.last_ns = self.first_ns or now_ns, now_ns
            self.messages += len(found)
            if len(self.waited_ns) < LATENCIES_MAX:
                self.waited_ns += [now_ns - int(mark, 16) for mark in found]
        cut = data.rfind(b"@", -TAIL)
        return data[cut:] if cut >= 0 else b""

    def line(self, conns: int) -> str:
        waited = sorted(self.waited_ns) or [0]
        span_s = (self.last_ns - self.first_ns) / 1e9
        p50, p99 = waited[len(waited) // 2] / 1e6, waited[len(waited) * 99 // 100] / 1e6
        return (
            f"conns={conns} messages={self.messages} per_s={self.messages / span_s if span_s else 0:.0f} "
            f"p50_ms={p50:.3f} p99_ms={p99:.3f} max_ms={waited[-1] / 1e6:.1f} closed={self.closed}"
        )


def _connect(address: Address, path: str, *, slow: bool) -> socket.socket:
    """Connect and finish the handshake, blocking. A slow reader gets a small receive buffer."""
    opened = socket.socket()
    if slow:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BYTES)
    opened.settimeout(30)
    opened.connect((address.host, address.port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.sendall(upgrade(address, path, "liveroom.v1.json"))
    got = b""
    while b"\r\n\r\n" not in got:
        data = opened.recv(65536)
        if not data:
            raise RuntimeError(f"closed in the handshake: {got[:200]!r}")
        got += data
    if not got.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(got[:300].decode(errors="replace"))
    opened.setblocking(False)
    return opened


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.audience")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("paths", help="one path for all, or a file with a path per line")
    parser.add_argument("number", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("-slow", type=int, default=0, help="how many of them never read")
    parser.add_argument("-w", dest="ready", type=Path, required=True)
    args = parser.parse_args()
    raise_file_limit()
    address = Address(args.host, args.port, False)
    one_for_all = args.paths.startswith("/v1/")
    paths = [args.paths] * args.number if one_for_all else Path(args.paths).read_text().split()[: args.number]
    opened = [_connect(address, path, slow=number < args.slow) for number, path in enumerate(paths)]
    asked: list[int] = []
    for each in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(each, lambda number, _frame: asked.append(number))
    args.ready.touch()
    reading = {each.fileno(): each for each in opened[args.slow :]}
    print(_listen(reading, args.seconds, asked).line(len(opened)))
    return 0


def _listen(sockets: dict[int, socket.socket], seconds: float, asked: list[int]) -> Counted:
    """Count for so long. Each signal in `asked` gets a line; SIGUSR2 also starts the count again."""
    counted, tails, opened = Counted(), dict[int, bytes](), len(sockets)
    poll = select.epoll()
    for fileno in sockets:
        poll.register(fileno, select.EPOLLIN)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        while asked:
            print(counted.line(opened), flush=True)
            if asked.pop(0) == signal.SIGUSR2:
                counted = Counted()
        for fileno, _ in poll.poll(0.05, 512):
            try:
                data = sockets[fileno].recv(262144)
            except OSError:
                data = b""
            if not data:
                counted.closed += 1
                poll.unregister(fileno)
                continue
            tails[fileno] = counted.read(tails.get(fileno, b"") + data)
    return counted


if __name__ == "__main__":
    sys.exit(main())
