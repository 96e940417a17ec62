"""People who come (back) to a node at a rate, whatever it answers: `python -m loadtest.returning HOST PORT PATHS RATE`.

It is a process of its own, with one epoll loop: a core carries thousands of joins a second. A refusal with
`Retry-After` is obeyed. When all have a welcome it prints what happened, and stays until its input ends.
"""

import argparse
import contextlib
import errno
import heapq
import os
import random
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from loadtest.processes import pin, raise_file_limit
from loadtest.wire import Address, upgrade

PER_SOURCE = 10_000  # connections from one address: there are 28,000 ports for each
BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT (ip(7)): the port is chosen when the peer is known
AGAIN_S = 1.0  # after a connection that broke; and the most that is added to what the server asks
GIVE_UP_S = 60.0
READ_BYTES = 65_536
SPARE_READS = 50  # of those who have their welcome, per turn


class Came(Struct):
    """What happened. Times begin when somebody was due to come."""

    welcomed: int = 0
    resumed: int = 0
    gaps: int = 0
    turned_away: int = 0  # answers with 503
    broken: int = 0
    within_s: float = 0.0  # until the last welcome
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class _Person:
    __slots__ = ("due", "got", "number", "request", "sent", "socket")

    def __init__(self, number: int, request: bytes, due: float) -> None:
        self.number, self.request, self.due = number, request, due
        self.got = b""
        self.sent = False
        self.socket: socket.socket


class Returning:
    """All of them, in one loop."""

    def __init__(self, address: Address, paths: list[str], per_s: float) -> None:
        self._to = (address.host, address.port)
        self._poll = select.epoll()
        self._coming: dict[int, _Person] = {}
        self._inside: list[_Person] = []
        self._next_read = 0
        requests = [upgrade(address, path, "liveroom.v1.json") for path in paths]
        self._began = time.monotonic()
        people = [_Person(n, each, self._began + (n / per_s if per_s else 0.0)) for n, each in enumerate(requests)]
        self._later = [(person.due, person.number, person) for person in people]  # in order, so it is a heap
        self._waits: list[float] = []
        self.came = Came()

    def run(self) -> Came:
        """Until everybody has a welcome, or GIVE_UP_S have passed."""
        while (self._later or self._coming) and (now := time.monotonic()) < self._began + GIVE_UP_S:
            while self._later and self._later[0][0] <= now:
                self._come(heapq.heappop(self._later)[2])
            until = self._later[0][0] - now if self._later else 0.01
            for fileno, _ in self._poll.poll(max(0.0, min(until, 0.01)), 1024):
                self._hear(self._coming[fileno])
            self.read_some()
        waits = sorted(self._waits) or [0.0]
        self.came.p50_ms, self.came.p99_ms = waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
        return self.came

    def read_some(self) -> None:
        """Read what a few of those inside were told."""
        for _ in range(min(SPARE_READS, len(self._inside))):
            self._next_read = (self._next_read + 1) % len(self._inside)
            with contextlib.suppress(OSError):
                self._inside[self._next_read].socket.recv(READ_BYTES)

    def _come(self, person: _Person) -> None:
        person.got, person.sent = b"", False
        person.socket = made = socket.socket()
        made.setblocking(False)
        if self._to[0].startswith("127.") and person.number >= PER_SOURCE:
            made.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            made.bind((f"127.0.0.{1 + person.number // PER_SOURCE}", 0))
        if made.connect_ex(self._to) not in (0, errno.EINPROGRESS):
            self._again(person, AGAIN_S)
            return
        self._coming[made.fileno()] = person
        self._poll.register(made.fileno(), select.EPOLLOUT)

    def _hear(self, person: _Person) -> None:
        try:
            if not person.sent:
                person.socket.send(person.request)
                person.sent = True
                self._poll.modify(person.socket.fileno(), select.EPOLLIN)
                return
            data = person.socket.recv(READ_BYTES)
        except OSError:
            data = b""
        person.got += data
        if not data:
            self.came.broken += 1
            self._leave(person)
            self._again(person, AGAIN_S)
        elif person.got.startswith(b"HTTP/1.1 101"):
            if b'"room":' in person.got:
                self._welcome(person)
        elif b"\r\n\r\n" in person.got:
            self.came.turned_away += 1
            self._leave(person)
            found = person.got.lower().partition(b"retry-after: ")[2].partition(b"\r\n")[0]
            self._again(person, float(found or AGAIN_S))

    def _welcome(self, person: _Person) -> None:
        now = time.monotonic()
        self._poll.unregister(person.socket.fileno())
        del self._coming[person.socket.fileno()]
        self._inside.append(person)
        self._waits.append(now - person.due)
        self.came.within_s = now - self._began
        self.came.welcomed += 1
        self.came.resumed += b'"resumed":true' in person.got
        self.came.gaps += b'"gap":{' in person.got
        person.got = person.request = b""

    def _leave(self, person: _Person) -> None:
        self._poll.unregister(person.socket.fileno())
        del self._coming[person.socket.fileno()]
        person.socket.close()

    def _again(self, person: _Person, after_s: float) -> None:
        at = time.monotonic() + after_s + random.uniform(0, AGAIN_S)
        heapq.heappush(self._later, (at, person.number, person))


class Crowd:
    """The process of those who come back."""

    def __init__(self, address: Address, paths: Path, per_s: float, cpu: int) -> None:
        command = [sys.executable, "-m", "loadtest.returning", address.host, str(address.port), str(paths), str(per_s)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        pin(self._process.pid, cpu)
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._process.stdout.readline()  # it has started, and waits for the word

    def come(self) -> None:
        """Let them begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    @property
    def all_in(self) -> bool:
        """Whether its line can be read."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def came(self) -> Came:
        """Wait until all have a welcome. They stay."""
        assert self._process.stdout is not None
        return msgspec.json.decode(self._process.stdout.readline(), type=Came)

    def end(self) -> None:
        """Let all of them go."""
        self._process.communicate()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.returning")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("paths", type=Path, help="a file with a path per line")
    parser.add_argument("per_s", type=float, help="0: all at once")
    args = parser.parse_args()
    raise_file_limit()
    paths = args.paths.read_text().split()
    print("ready", flush=True)
    sys.stdin.buffer.readline()
    returning = Returning(Address(args.host, args.port, False), paths, args.per_s)
    print(msgspec.json.encode(returning.run()).decode(), flush=True)
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        returning.read_some()
    os._exit(0)  # closing thousands of sockets one by one takes seconds


if __name__ == "__main__":
    sys.exit(main())
