"""Malformed frames: the socket is closed with a final code, and nobody else notices."""

import asyncio
import itertools
import json
from typing import NamedTuple

import msgspec
import pytest

from server import limits
from tests.journeys.raw import BINARY, CLOSE, PING, TEXT, Peers, frame, upgrade
from tests.program import Program

pytestmark = pytest.mark.usefixtures("unshaken")
PROTOCOL_ERROR = 4502
FINAL = (1002, 1003, 1007, 1009, PROTOCOL_ERROR)
PONG = 0xA
NUMBERS = itertools.count()
PING_JSON = b'{"type":"ping","ref":"r"}'
MSGPACK_PING = msgspec.msgpack.encode({"type": "ping", "ref": "r"})


def somebody() -> str:
    """Somebody new: who is often closed for bad frames has to wait."""
    return f"peer-{next(NUMBERS)}"


def json_frame(payload: bytes | str) -> bytes:
    return frame(payload if isinstance(payload, bytes) else payload.encode())


def msgpack_frame(payload: bytes) -> bytes:
    return frame(payload, BINARY)


def pings(count: int) -> list[dict[str, str]]:
    return [{"type": "ping"}] * count


class Row(NamedTuple):
    """Bytes that end the socket."""

    name: str
    codec: str
    sent: bytes


ROWS = [
    *(
        Row(f"json {name}", "json", json_frame(payload))
        for name, payload in (
            ("of nothing", b""),
            ("cut off", b'{"type":"ping"'),
            ("of no JSON", b"hello"),
            ("in single quotes", b"{'type':'ping'}"),
            ("and more", PING_JSON + b" " + PING_JSON),
            ("NaN", b'{"type":"likes.send","count":NaN}'),
            ("Infinity", b'{"type":"likes.send","count":Infinity}'),
            ("a comment", b"/* */" + PING_JSON),
            ("of no UTF-8", b"\xff\xfe\x00"),
            ("text of no UTF-8", b'{"type":"chat.send","text":"\xff"}'),
            ("text of a half surrogate", b'{"type":"chat.send","text":"\xed\xa0\x80"}'),
            ("of 1 MB", b'{"type":"chat.send","text":"' + b"x" * 2**20 + b'"}'),
            ("of 10,000 commands", json.dumps(pings(10_000))),
            ("of one command too many", json.dumps(pings(limits.COMMANDS_PER_FRAME_MAX + 1))),
        )
    ),
    *(
        Row(f"msgpack {name}", "msgpack", msgpack_frame(payload))
        for name, payload in (
            ("of nothing", b""),
            ("cut off", MSGPACK_PING[:-1]),
            ("and more", MSGPACK_PING + b"\x00"),
            ("of a byte that is none", b"\xc1"),
            ("of 4 billion items", b"\xdd\xff\xff\xff\xff"),
            ("of 4 billion pairs", b"\xdf\xff\xff\xff\xff"),
            ("of 4 billion bytes", b"\xdb\xff\xff\xff\xffabc"),
            ("of a long extension", b"\xc9\xff\xff\xff\xff\x01"),
            ("of 1 MB", msgspec.msgpack.encode({"type": "chat.send", "text": "x" * 2**20})),
            ("of 10,000 commands", msgspec.msgpack.encode(pings(10_000))),
            ("of one command too many", msgspec.msgpack.encode(pings(limits.COMMANDS_PER_FRAME_MAX + 1))),
        )
    ),
    Row("binary on json", "json", frame(PING_JSON, BINARY)),
    Row("text on msgpack", "msgpack", frame(MSGPACK_PING, TEXT)),
    Row("JSON text on msgpack", "msgpack", frame(PING_JSON, TEXT)),
    Row("no mask", "json", frame(PING_JSON, mask=False)),
    Row("no mask where a mask of zeros follows", "json", bytes((0x81, len(PING_JSON))) + bytes(4) + PING_JSON),
    Row("a reserved bit", "json", frame(PING_JSON, bits=0x40)),
    Row("a reserved opcode", "json", frame(PING_JSON, 0x3)),
    Row("a reserved control opcode", "json", frame(b"", 0xB)),
    Row("a ping in pieces", "json", frame(b"", PING, final=False)),
    Row("a ping of 126 bytes", "json", frame(b"p" * 126, PING)),
    Row("a continuation of nothing", "json", frame(PING_JSON, 0x0)),
    Row("a message in a message", "json", frame(PING_JSON[:5], final=False) + frame(PING_JSON)),
    Row("a message in too many pieces", "json", frame(b"x", final=False) + frame(b"x" * 16_000, 0, final=False) * 3),
    Row("a length of 2^63", "json", b"\x81\xff\x80" + bytes(7) + b"mask"),
    Row("a length of 2^64-1", "json", b"\x81\xff" + b"\xff" * 8 + b"mask"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_malformed_frame_closes(program: Program, peers: Peers, row: Row) -> None:
    """A frame that is not allowed ends its socket with RFC 6455's code or 4502, whatever comes before and after it."""
    path = program.path(await program.token(somebody()))
    alice = await peers.join(program.port, path, row.codec)
    good = msgpack_frame(MSGPACK_PING) if row.codec == "msgpack" else json_frame(PING_JSON)
    await alice.send(good + row.sent + good)
    assert await alice.closed() in FINAL


@pytest.mark.parametrize("payload", ["", "03", "03e8", "03e8627965", "03ed", "0001", "0fa1ff"])
async def test_close_frame_ends_it(program: Program, peers: Peers, payload: str) -> None:
    """A close frame, even a bad one, gets a close frame with a permitted code, and the connection ends."""
    alice = await peers.join(program.port, program.path(await program.token(somebody())))
    await alice.send(frame(bytes.fromhex(payload), CLOSE))
    code = await alice.closed()
    assert code in (0, 1000, 1002, 1005, 1007, 4001)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_unusual_valid_frames(program: Program, peers: Peers, codec: str) -> None:
    """A command in pieces with a ping between them, or byte by byte, is carried out; a ping gets its pong."""
    alice = await peers.join(program.port, program.path(await program.token(somebody())), codec)
    payload, opcode = (PING_JSON, TEXT) if codec == "json" else (MSGPACK_PING, BINARY)
    pieces = frame(payload[:3], opcode, final=False) + frame(b"are you there", PING)
    await alice.send(pieces + frame(b"", 0, final=False) + frame(payload[3:], 0))
    assert await alice.read_until(b"are you there") == b"are you there"
    await alice.read_until(b"server_time_ms")
    for byte in frame(payload, opcode):
        await alice.send(bytes((byte,)))
        await asyncio.sleep(0)
    await alice.read_until(b"server_time_ms")
    await alice.send(frame(b"unasked", PONG) + frame(b"p" * 125, PING))
    assert await alice.read_until(b"ppp") == b"p" * 125


async def test_flood_is_slowed_then_ended(program: Program, peers: Peers) -> None:
    """Commands beyond the budget are refused as `rate_limited` with a time, and a flood that goes on ends with 4502."""
    viewer = await program.join("flooder")
    await viewer.tell([{"type": "ping", "ref": f"in-time-{n}"} for n in range(limits.COMMANDS_PER_FRAME_MAX)])
    for n in range(limits.COMMANDS_PER_FRAME_MAX):
        await viewer.happened("ok", ref=f"in-time-{n}")
    for _ in range(int(limits.COMMANDS_BURST) * 2 // limits.COMMANDS_PER_FRAME_MAX + 4):
        await viewer.tell([{"type": "ping"}] * limits.COMMANDS_PER_FRAME_MAX)
    refused = await viewer.happened("refused", reason="rate_limited")
    assert refused["retry_after_ms"] > 0
    assert await viewer.closed() == PROTOCOL_ERROR


@pytest.mark.parametrize("extra", [frame(PING_JSON), frame(PING_JSON)[:7], bytes(64)], ids=["whole", "half", "zeros"])
async def test_frames_sent_with_the_request(program: Program, peers: Peers, extra: bytes) -> None:
    """Bytes sent with the upgrade request, against RFC 6455, block nothing: an answer comes, and others are served."""
    path = program.path(await program.token(somebody()))
    peer = await peers.connect(program.port)
    await peer.send(upgrade(path) + extra)
    assert await peer.status() == 101
    await peer.send(frame(PING_JSON) * 3)
    opcode, payload = await peer.read_frame()
    if opcode != CLOSE:
        assert b'"type":"welcome"' in payload
    viewer = await program.join("bob")
    said = await viewer.ask("chat.send", text="all is well")
    await viewer.happened("chat.sent", id=said["id"])
    assert (await viewer.ask("ping"))["type"] == "ok"
