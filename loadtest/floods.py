"""Sockets that flood the node with junk: how this affects the viewers, and how each flood ends.

The flooders run in their own process: `python -m loadtest.floods HOST PORT PATHS SOCKETS`.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from loadtest import report
from loadtest.again import again, attacking, run
from loadtest.delivery import ROOM, Figures, Program, liveroom, measure
from loadtest.processes import socket_path
from loadtest.wire import CLOSE, NO_MASK, PING, PONG, TEXT, Address, upgrade

CONTINUATION, FINAL, DEFLATED = 0x0, 0x80, 0x40
BYTES_PER_S = 2_000_000  # that each socket sends, while the server reads them
CHUNK_BYTES = 64 * 1024
PAUSE_S = 1.0  # mean pause before a flooder comes back: at least half of it, at most one and a half times
MESSAGE_BYTES = 16 * 1024
EVENTS_PER_S = 60.0
PAIRS = 3
TIMES_MORE, MEMORY_MORE = 2.0, 1.1
EXTENSION = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"


class Kind(Struct, frozen=True):
    """A frame to send again and again; `before` is sent once, first."""

    frame: bytes
    before: bytes = b""


def frame(first: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0x80 | 126)) + size.to_bytes(2)
    return head + NO_MASK + payload


def deflated(message: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


BLANKS = b"[" + b" " * (MESSAGE_BYTES - 2) + b"]"
KINDS = {
    "commands": Kind(frame(FINAL | TEXT, b'{"type":"ping"}')),
    "pings": Kind(frame(FINAL | PING)),
    "pongs": Kind(frame(FINAL | PONG)),
    "empty continuations": Kind(frame(CONTINUATION), before=frame(TEXT, b"[")),
    "empty arrays": Kind(frame(FINAL | TEXT, b"[]")),
    "16 KiB of blanks, deflated": Kind(frame(FINAL | DEFLATED | TEXT, deflated(BLANKS))),
}


# --- the measurement -----------------------------------------------------------------------------------------------
def floods(args: argparse.Namespace) -> None:
    """Some flooders of each kind: how they affect the viewers and the node's memory, and how the server ends them."""
    ends: dict[str, Counter[str]] = {name: Counter() for name in KINDS}

    @contextlib.contextmanager
    def flooders(program: Program) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder) / "paths"
            count = args.flooders * len(KINDS)
            paths.write_text("\n".join(socket_path(ROOM, f"flooder-{number}") for number in range(count)))
            address = Address.of(program.url)
            with attacking("loadtest.floods", address.host, str(address.port), str(paths), str(args.flooders)) as said:
                yield
            for name, counts in msgspec.json.decode(said[0], type=dict[str, dict[str, int]]).items():
                ends[name].update(counts)

    def one(*, flooded: bool) -> Figures:
        beside = flooders if flooded else contextlib.nullcontext
        return measure(liveroom(args.folder), args.viewers, EVENTS_PER_S, args.seconds, beside=beside)

    pairs = [(one(flooded=False), one(flooded=True)) for _ in range(PAIRS)]  # alternate, as in delivery.slow
    pairs.sort(key=lambda pair: pair[1].heard.p99_ms / max(0.001, pair[0].heard.p99_ms))
    without, with_ = pairs[PAIRS // 2]
    more, held = with_.heard.p99_ms / max(0.001, without.heard.p99_ms), with_.rss_kib / without.rss_kib
    rows: dict[str, object] = {
        "audience": with_.audience,
        "the viewers wait, no flooders": f"{without.waited}, loop lag p99 <= {without.lag_ms:g} ms",
        "the viewers wait, with flooders": f"{with_.waited}, loop lag p99 <= {with_.lag_ms:g} ms",
        "- p99": f"{more:.2f} times  (target <= {TIMES_MORE:g} times)",
        "delivered": f"{with_.arrived}, {with_.heard.closed} closed",
        "CPU of the node": f"{without.used_s / without.took_s:.2f} and {with_.used_s / with_.took_s:.2f} cores",
        "memory of the node": f"{without.rss_kib / 1024:.1f} and {with_.rss_kib / 1024:.1f} MiB: {held:.2f} times"
        f"  (target <= {MEMORY_MORE:g} times)",
    }
    rows |= {f"ends of {name}": ", ".join(f"{end}: {n}" for end, n in ends[name].most_common()) for name in KINDS}
    report.table(
        f"floods: {args.flooders} sockets of each kind, {args.viewers} viewers, {EVENTS_PER_S:g} events/s, "
        f"{args.seconds:g} s, median of {PAIRS} pairs (ends: of all pairs)",
        rows,
    )


# --- the flooders --------------------------------------------------------------------------------------------------
async def one_flood(address: Address, path: str, kind: Kind) -> str:
    """Join, and send until the server hangs up. Returns the close code, or the HTTP status if it refused to connect."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    sending: asyncio.Task[None] | None = None
    try:
        writer.write(upgrade(address, path, "liveroom.v1.json").removesuffix(b"\r\n") + EXTENSION + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            return f"HTTP {head[9:12].decode()}"
        await _read_frame(reader)  # the welcome
        sending = asyncio.create_task(_send(writer, kind))
        while True:
            opcode, payload = await _read_frame(reader)
            if opcode == CLOSE:
                return str(int.from_bytes(payload[:2]))
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, kind: Kind) -> None:
    chunk = kind.frame * max(1, CHUNK_BYTES // len(kind.frame))
    writer.write(kind.before)
    while True:
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(len(chunk) / BYTES_PER_S)


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    return first & 0x0F, await reader.readexactly(size)


async def _keep_flooding(address: Address, path: str, kind: Kind, ends: Counter[str]) -> None:
    chance = Random(path)
    await asyncio.sleep(PAUSE_S * chance.uniform(0, 1.5))  # do not all join at once: the floods are measured here
    await again(partial(one_flood, address, path, kind), ends, chance, PAUSE_S)


def main() -> None:
    host, port, paths, sockets = sys.argv[1:]
    address = Address(host=host, port=int(port), tls=False)
    ends: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    names = [name for name in KINDS for _ in range(int(sockets))]
    run(
        (
            _keep_flooding(address, path, KINDS[name], ends[name])
            for path, name in zip(Path(paths).read_text().split(), names, strict=True)
        ),
        ends,
    )


if __name__ == "__main__":
    main()
