"""Hostile kinds, each alone: what it does until the server ends it, and what it got. They run in their own process.

`python -m loadtest.attackers HOST PORT PATHS KIND NUMBER`. PATHS is a file with a websocket address for each attacker.
"""

import asyncio
import contextlib
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random

from loadtest import floods
from loadtest.again import again, run
from loadtest.floods import DEFLATED, FINAL
from loadtest.processes import raise_file_limit
from loadtest.wire import CLOSE, SLOW_BYTES, TEXT, Address, upgrade

PAUSE_S = 1.0  # mean pause before an attacker comes back
AT_ONCE_S = 0.02  # of one that comes back at once
HOLD_S = 30.0  # an attack that waits is over then: every bound of the server is shorter
HEAD_BYTES = 64 * 1024
BOMB_BYTES = 8 * 1024 * 1024
HALF_OPEN = 50  # sockets of one attacker
PIPELINED = 500
LISTS = 20
ASKED = 3_000  # by one that reads no answer, as a bot: some 300 KB of answers, more than all buffers take
ESTABLISHED = "01"  # in /proc/net/tcp
LOOK_S = 0.25

Attack = Callable[[Address, str], Awaitable[str]]


# --- floods ----------------------------------------------------------------------------------------------------------
def _flood(kind: floods.Kind) -> Attack:
    async def attack(address: Address, path: str) -> str:
        return await floods.one_flood(address, path, kind)

    return attack


def _text(message: str) -> floods.Kind:
    return floods.Kind(floods.frame(FINAL | TEXT, message.encode()))


BOMB = floods.Kind(floods.frame(FINAL | DEFLATED | TEXT, floods.deflated(bytes(BOMB_BYTES))))
BAD_JSON = _text('{"type":"chat.send","ref":"1","text":')
SURROGATE = _text('{"type":"chat.send","ref":"1","text":"hi \\ud83d"}')


# --- HTTP ------------------------------------------------------------------------------------------------------------
async def _status(reader: asyncio.StreamReader) -> str:
    """The status of an answer, or how the connection ended instead."""
    try:
        async with asyncio.timeout(HOLD_S):
            line = await reader.readline()
    except TimeoutError:
        return "nothing"
    except ConnectionError:
        return "a reset"
    return f"HTTP {line[9:12].decode(errors='replace')}" if line.startswith(b"HTTP/") else "a hang-up"


async def _say(address: Address, *parts: bytes) -> str:
    """Send the parts, and return the status that comes."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        return await _status(reader)
    finally:
        writer.transport.abort()


async def huge_head(address: Address, _path: str) -> str:
    """A head that has no end."""
    line = b"X-Long: " + b"x" * 1_000 + b"\r\n"
    more = [line * (HEAD_BYTES // len(line))] * 16
    return await _say(address, b"GET /healthz HTTP/1.1\r\nHost: a\r\n", *more)


async def h2c(address: Address, _path: str) -> str:
    """An offer of HTTP/2, and its preface right behind."""
    offer = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 1_000
    return await _say(address, offer + b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" + preface)


async def half_open(address: Address, path: str) -> str:
    """Many sockets that begin a request, an upgrade or nothing, and go no further. Returns how the first ended."""
    begun = (b"", b"GET /healthz HTTP/1.1\r\nHost:", upgrade(address, path, "liveroom.v1.json")[:-2])
    ends = [asyncio.create_task(_say(address, begun[n % len(begun)])) for n in range(HALF_OPEN)]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def pipelined(address: Address, _path: str) -> str:
    """Requests behind each other, without waiting for answers."""
    return await _say(address, b"GET /v1/gifts HTTP/1.1\r\nHost: a\r\n\r\n" * PIPELINED)


async def list_rooms(address: Address, _path: str) -> str:
    """The list of all rooms, again and again on one connection."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        for _ in range(LISTS):
            writer.write(b"GET /v1/rooms?limit=500 HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                return f"HTTP {head[9:12].decode()}"
            size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(size)
        return f"{LISTS} times HTTP 200"
    finally:
        writer.transport.abort()


# --- those that read nothing -----------------------------------------------------------------------------------------
async def _dead(address: Address, path: str, *, closes: bool) -> str:
    """Join, read no more, and ask for answers until nothing can be written; perhaps close. Returns how it ended."""
    loop = asyncio.get_running_loop()
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BYTES)
        opened.setblocking(False)
        await loop.sock_connect(opened, (address.host, address.port))
        ends = opened.getpeername()[1], opened.getsockname()[1]  # now: a socket that was reset has no peer any more
        await loop.sock_sendall(opened, upgrade(address, path, "liveroom.v1.json"))
        answer = await loop.sock_recv(opened, 12)
        if b" 101" not in answer:
            return f"HTTP {answer[9:12].decode(errors='replace')}"
        ask = floods.frame(FINAL | TEXT, b'{"type":"ping","ref":"%b"}' % (b"x" * 60))
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(PAUSE_S):
                await loop.sock_sendall(opened, ask * ASKED)
        if closes:
            with contextlib.suppress(OSError):
                opened.send(floods.frame(FINAL | CLOSE, (1000).to_bytes(2)))
        until = loop.time() + HOLD_S
        while loop.time() < until:
            if not held_by(*ends):
                return "dropped"
            await asyncio.sleep(LOOK_S)
        return f"held for {HOLD_S:g} s"


def held_by(server: int, ours: int, table: str = "/proc/net/tcp") -> bool:
    """Whether the server's end of a connection on this machine is still open, by both ports (proc_net_tcp).

    Who reads nothing cannot see that: the end stands behind what it has not read.
    """
    ends = f":{server:04X}", f":{ours:04X}"
    for line in Path(table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[3] == ESTABLISHED
    return False


async def dead_reader(address: Address, path: str) -> str:
    return await _dead(address, path, closes=False)


async def dead_closer(address: Address, path: str) -> str:
    return await _dead(address, path, closes=True)


KINDS: dict[str, Attack] = {
    **{name: _flood(kind) for name, kind in floods.KINDS.items()},
    "inflated bombs": _flood(BOMB),
    "bad JSON": _flood(BAD_JSON),
    "lone surrogates": _flood(SURROGATE),
    "a flooder that comes back at once": _flood(floods.KINDS["commands"]),
    "heads without end": huge_head,
    "half-open sockets": half_open,
    "pipelined requests": pipelined,
    "h2c": h2c,
    "the list of 1,700 rooms": list_rooms,
    "dead readers": dead_reader,
    "dead readers that sent CLOSE": dead_closer,
}
AS_BOTS = ("dead readers", "dead readers that sent CLOSE")  # people may not ask for so much at once
LEAST_S = {
    "dead readers": 25.0,
    "dead readers that sent CLOSE": 8.0,
    "half-open sockets": 13.0,
}  # until the server's bound ends them (20, 2 and 10 s)
AT_ONCE = (
    "a flooder that comes back at once",
    "heads without end",
    "h2c",
    "pipelined requests",
    "the list of 1,700 rooms",
)


# --- the process -----------------------------------------------------------------------------------------------------
def main() -> None:
    host, port, paths, kind, number = sys.argv[1:]
    raise_file_limit()
    address, attack, ends = Address(host=host, port=int(port), tls=False), KINDS[kind], Counter[str]()
    pause_s = AT_ONCE_S if kind in AT_ONCE else PAUSE_S
    run(
        (
            again(partial(attack, address, path), ends, Random(path), pause_s)
            for path in Path(paths).read_text().split()[: int(number)]
        ),
        ends,
    )


if __name__ == "__main__":
    main()
