"""Frames in: random streams checked against websockets' sans-I/O core, and the protocol on a real socket."""

import asyncio
import contextlib
import json
from itertools import pairwise
from typing import Any

import pytest
import websockets
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from protocol.closes import FINAL, Close, comes_back
from server import limits
from server.edge.handshake import TAKEOVER
from server.edge.socket import Connection
from server.rooms.outbox import Prepared
from tests.frames import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, Heard, Wire, feed, masked, written_frames
from tests.site import Site


# --- the two sides -------------------------------------------------------------------------------------------------
def ours(chunks: list[bytes]) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """What our parser delivers, and the frames that it writes."""
    wire, heard = Wire(), Heard()
    connection = Connection(heard, wire, "json", set())
    feed(connection, heard, chunks)
    return heard.messages, written_frames(wire.written)


def theirs(chunks: list[bytes]) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]], bool]:
    """What websockets delivers, the frames that it writes, and whether it fails the connection."""
    core = ServerProtocol(state=State.OPEN, max_size=limits.FRAME_BYTES_MAX)
    messages: list[tuple[int, bytes]] = []
    opcode, parts = 0, b""
    for chunk in chunks:
        core.receive_data(chunk)
        for frame in core.events_received():
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                opcode, parts = int(frame.opcode), b""
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                parts += frame.data
                if frame.fin:
                    messages.append((opcode, parts))
    return messages, written_frames(b"".join(core.data_to_send())), core.parser_exc is not None


# --- streams -------------------------------------------------------------------------------------------------------
SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 1_000, limits.FRAME_BYTES_MAX - 1, limits.FRAME_BYTES_MAX])
LETTERS = st.text(st.characters(max_codepoint=127), max_size=20).map(str.encode)  # UTF-8 wherever it is cut
LONG = st.builds(lambda size, letter: bytes((letter,)) * size, SIZES, st.integers(0, 127))
CLOSE_CODES = st.integers(0, 5_100) | st.sampled_from([1000, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000])
CLOSES = st.one_of(
    st.just(b""),
    st.builds(lambda code, reason: code.to_bytes(2) + reason, CLOSE_CODES, st.binary(max_size=123)),
    st.builds(lambda code, reason: code.to_bytes(2) + reason.encode(), CLOSE_CODES, st.text(max_size=30)),
    st.binary(min_size=1, max_size=1),
)
CONTROLS = st.builds(masked, st.sampled_from([PING, PONG]), st.binary(max_size=125))
BAD = st.one_of(
    st.builds(
        masked, st.sampled_from([CONT, TEXT, BINARY, PING, CLOSE]), st.binary(max_size=20), rsv=st.integers(1, 7)
    ),
    st.builds(masked, st.sampled_from([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), st.binary(max_size=20), fin=st.booleans()),
    st.builds(masked, st.sampled_from([CONT, TEXT, BINARY, CLOSE, PING, PONG]), st.binary(max_size=20), mask=st.none()),
    st.builds(masked, st.sampled_from([CLOSE, PING, PONG]), st.binary(max_size=20), fin=st.just(False)),
    st.builds(masked, st.sampled_from([CLOSE, PING, PONG]), st.binary(min_size=126, max_size=300)),
    st.builds(masked, st.just(CONT), LETTERS, fin=st.booleans()),  # nothing to continue, or an early end
    st.builds(masked, st.sampled_from([TEXT, BINARY]), LETTERS, fin=st.booleans()),  # within a message
    st.sampled_from([65_536, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]).map(
        lambda size: b"\x82\xff" + size.to_bytes(8) + MASK
    ),
    st.integers(limits.FRAME_BYTES_MAX + 1, 65_535).map(lambda size: b"\x81\xfe" + size.to_bytes(2) + MASK),
    st.builds(masked, st.just(CLOSE), CLOSES),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One message in one or many frames, with control frames in between; up to the allowed size and a little more."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(LETTERS | LONG if opcode == TEXT else st.binary(max_size=40) | LONG)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    edges = [0, *cuts, len(payload)]
    parts = [payload[start:end] for start, end in pairwise(edges)]
    if draw(st.integers(0, 9)) == 0:
        parts.insert(0, b"x" * draw(st.sampled_from([0, 1, limits.FRAME_BYTES_MAX - 200, limits.FRAME_BYTES_MAX])))
    made = b""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        made += masked(CONT if number else opcode, part, fin=last)
        if not last and draw(st.booleans()) and sum(map(len, parts)) < limits.FRAME_BYTES_MAX - 125:
            made += draw(CONTROLS)
    return made


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Good messages, maybe something bad, more after it, and all of it in chunks of any size."""
    items = draw(st.lists(messages() | CONTROLS, max_size=4))
    if draw(st.booleans()):
        items += [draw(BAD), *draw(st.lists(messages() | CONTROLS | BAD, max_size=3))]
    stream = b"".join(items)
    if draw(st.integers(0, 5)) == 0 and len(stream) < 400:
        return [stream[at : at + 1] for at in range(len(stream))]
    cuts = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    return [stream[start:end] for start, end in pairwise(cuts)]


def compare(chunks: list[bytes]) -> None:
    """The same messages and pongs, and the same codes where websockets fails the connection or answers a close."""
    heard, written = ours(chunks)
    their_messages, their_frames, failed = theirs(chunks)
    assert heard == their_messages
    assert [frame for frame in written if frame[0] == PONG] == [frame for frame in their_frames if frame[0] == PONG]
    closes = [payload for opcode, payload in written if opcode == CLOSE]
    codes = [payload[:2] for payload in closes], [data[:2] for opcode, data in their_frames if opcode == CLOSE]
    # A new message within another, and too big for what is left: websockets blames its size, we its place.
    assert codes[0] == codes[1] or codes == ([Close.BAD_FRAME.to_bytes(2)], [Close.TOO_BIG.to_bytes(2)])
    assert not failed or (int.from_bytes(closes[0][:2]) in FINAL and closes[0][2:].decode().isprintable())
    assert not closes or written[-1][0] == CLOSE  # nothing is written after it


@settings(max_examples=300)
@given(chunks=streams())
@example(chunks=[masked(TEXT, b"a", fin=False) + masked(TEXT, b"x" * limits.FRAME_BYTES_MAX)])
@example(chunks=[masked(TEXT, b"a", rsv=4)])
@example(chunks=[b"\x01\x80" + MASK] * 2)
async def test_our_parser_agrees_with_websockets(chunks: list[bytes]) -> None:
    """Frames, fragments and control frames, good and bad, in chunks of any size, are the same to both."""
    assume(not ended_badly(chunks))  # covered by the next test
    compare(chunks)


@settings(max_examples=200)
@given(payload=CLOSES)
@example(payload=b"\x03")
@example(payload=b"\x03\xe8\xff")
@example(payload=(1005).to_bytes(2))
@example(payload=(2999).to_bytes(2))
@example(payload=(5000).to_bytes(2))
async def test_closing_agrees_with_websockets(payload: bytes) -> None:
    """A good code is echoed; a bad code or reason is a protocol error. Within a message it is the same (5.4)."""
    compare([masked(CLOSE, payload)])
    _, written = ours([masked(TEXT, b"a", fin=False) + masked(CLOSE, payload)])
    assert written == ours([masked(CLOSE, payload)])[1]


def ended_badly(chunks: list[bytes]) -> bool:
    """Whether websockets fails the connection because of its close frame."""
    core = ServerProtocol(state=State.OPEN, max_size=limits.FRAME_BYTES_MAX)
    for chunk in chunks:
        core.receive_data(chunk)
    said = ("close frame too short", "invalid status code", "incomplete fragmented message")
    return isinstance(core.parser_exc, UnicodeDecodeError) or str(core.parser_exc) in said


@given(chunks=st.lists(st.binary(max_size=60), max_size=6))
async def test_any_bytes_agree_with_websockets(chunks: list[bytes]) -> None:
    """From random bytes we read no message that websockets does not read, and raise no other exception."""
    heard, _ = ours(chunks)
    assert heard == theirs(chunks)[0][: len(heard)]


async def test_a_slow_trickle_is_not_kept_twice() -> None:
    """A frame that comes byte by byte is kept once, and none of it once it is complete."""
    heard = Heard()
    connection = Connection(heard, Wire(), "json", set())
    frame = masked(TEXT, b"x" * 300)
    for at in range(len(frame)):
        feed(connection, heard, [frame[at : at + 1]])
        assert len(connection._rest) <= len(frame)
    assert heard.messages == [(TEXT, b"x" * 300)]
    assert connection._rest == b""


async def test_closing_twice_writes_one_frame() -> None:
    """Closing twice writes one close frame, and what comes after it is not read."""
    wire, heard = Wire(), Heard()
    connection = Connection(heard, wire, "json", set())
    connection.close(Close.DRAINING)
    connection.close(Close.INTERNAL)
    connection.data_received(masked(TEXT, b"late") + masked(PING, b"late"))
    assert heard.messages == []
    assert written_frames(wire.written) == [(CLOSE, (4001).to_bytes(2) + b"draining")]
    assert not wire.let_go  # the peer has a moment to answer
    connection.data_received(masked(CLOSE, (4001).to_bytes(2)))
    assert wire.let_go


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    """Replies to a peer that never reads are bounded: above the bound the transport is aborted silently."""

    class Full(Wire):
        def get_write_buffer_size(self) -> int:
            return len(self.written)

    wire = Full()
    connection = Connection(Heard(), wire, "json", set())
    reply = Prepared("json", b"x" * 60_000)
    connection.send(reply)
    connection.pause_writing()
    for _ in range(limits.WRITE_BYTES_MAX // 60_000 - 1):
        connection.send(reply)
    assert not connection.closing
    connection.send(reply)
    connection.send(reply)
    assert connection.closing
    assert wire.let_go
    connection.data_received(masked(PING, b"still there?"))
    assert b"still there?" not in wire.written


async def test_a_peer_that_takes_nothing_is_late_and_a_slow_reader_is_not() -> None:
    """Any byte taken counts, also while more is written; a peer for which nothing waited is not late."""

    class Pipe(Wire):
        taken = 0

        def get_write_buffer_size(self) -> int:
            return len(self.written) - self.taken

    wire = Pipe()
    connection = Connection(Heard(), wire, "json", set())
    connection.send(Prepared("json", b"x" * 100_000))
    connection.pause_writing()
    began = asyncio.get_running_loop().time()
    assert not connection.stalled(began + limits.STALLED_S_MAX - 1)
    wire.taken = 10
    connection.send(Prepared("json", b"x" * 1_000))  # more waits than before
    assert not connection.stalled(began + limits.STALLED_S_MAX + 1)
    connection.send(Prepared("json", b"x" * 1_000))
    assert not connection.stalled(began + 2 * limits.STALLED_S_MAX)
    assert connection.stalled(began + 2 * limits.STALLED_S_MAX + 2)
    connection.resume_writing()
    connection.pause_writing()
    assert not connection.stalled(asyncio.get_running_loop().time())


async def test_a_peer_that_never_catches_up_is_late() -> None:
    """One that takes a byte now and then keeps its place only as long as a silent one would."""

    class Trickle(Wire):
        waiting = 2 * limits.WRITE_HIGH_BYTES

        def get_write_buffer_size(self) -> int:
            self.waiting -= 1
            return self.waiting

    connection = Connection(Heard(), Trickle(), "json", set())
    connection.pause_writing()
    began = asyncio.get_running_loop().time()
    looks = range(0, limits.UNRESPONSIVE_S + 10, limits.WHEEL_S)
    late = [after_s for after_s in looks if connection.stalled(began + after_s)]
    assert late == [after_s for after_s in looks if after_s >= limits.UNRESPONSIVE_S]


async def test_messages_of_two_turns_share_a_frame() -> None:
    """Messages to one peer leave together, in order, before anything sent to all and before a close."""
    wire = Wire()
    connection = Connection(Heard(), wire, "json", set())
    connection.tell(b"1")
    await asyncio.sleep(0)
    connection.tell(b"2")
    assert wire.written == b""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection.tell(b"3")
    connection.send(Prepared("json", b"[4]"))
    connection.tell(b"5")
    connection.close(Close.DRAINING)
    connection.tell(b"6")
    for _ in range(3):
        await asyncio.sleep(0)
    *told, close = written_frames(wire.written)
    assert told == [(TEXT, b"[1,2]"), (TEXT, b"[3]"), (TEXT, b"[4]"), (TEXT, b"[5]")]
    assert close[0] == CLOSE


# --- on a real socket ----------------------------------------------------------------------------------------------
async def test_ping_and_close_of_the_peer(site: Site) -> None:
    """A protocol ping is answered, and a peer that closes gets its own code back."""
    viewer = await site.join()
    async with asyncio.timeout(10):
        await (await viewer.connection.ping(b"are you there"))
        await viewer.connection.close(4999, "bye")
    assert viewer.connection.close_code == 4999


@pytest.mark.parametrize(
    ("codec", "frame", "code"),
    [
        ("json", b'{"type":"ping"}', Close.UNACCEPTABLE),
        ("msgpack", '{"type":"ping"}', Close.UNACCEPTABLE),
        ("json", "{", Close.PROTOCOL_ERROR),
        ("msgpack", b"\xc1", Close.PROTOCOL_ERROR),
        ("json", '"' + "x" * limits.FRAME_BYTES_MAX + '"', Close.TOO_BIG),
        ("json", '[{"type":"ping"}' + ',{"type":"ping"}' * limits.COMMANDS_PER_FRAME_MAX + "]", Close.PROTOCOL_ERROR),
    ],
    ids=["binary to json", "text to msgpack", "cut off json", "no msgpack", "too large", "too many"],
)
async def test_a_peer_that_breaks_the_protocol(site: Site, codec: str, frame: str | bytes, code: Close) -> None:
    """Its socket is closed with the RFC's code, or 4502 for our own rules. Each says: do not come back."""
    viewer = await site.join(codec=codec)
    with contextlib.suppress(websockets.ConnectionClosed):
        await viewer.connection.send(frame)
    assert await viewer.closed() == code
    assert not comes_back(code)
    assert "codec" not in (viewer.connection.close_reason or "")


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"chat.send","ref":"r","text":"hi \\ud83d"}',
        '{"type":"chat.send","ref":"r","text":"a\\u0000b"}',
        '{"type":"likes.send","ref":"r","count":1e999}',
        '{"type":"likes.send","ref":"r","count":' + "9" * 6_000 + "}",
        '{"type":"chat.send","ref":"r","text":"a","text":"b"}',
        "[" * 8_000 + "]" * 8_000,
    ],
    ids=["half a pair", "NUL", "beyond a double", "6,000 digits", "a key twice", "deep"],
)
async def test_a_bad_value_in_a_whole_frame(site: Site, frame: str) -> None:
    """It is refused, and the socket stays."""
    viewer = await site.join()
    await viewer.connection.send(frame)
    assert (await viewer.happened("refused"))["reason"] == "bad_command"
    assert (await viewer.ask("ping"))["type"] == "ok"


async def test_commands_before_the_welcome(site: Site) -> None:
    """Commands that arrive early are carried out after the welcome."""
    viewer = await site.join()
    address = site.address(token=site.token("bob"))
    async with websockets.connect(address, compression=None, proxy=None) as connection:
        await connection.send('{"type":"ping","ref":"early"}')
        told = json.loads(await connection.recv())
        assert told[0]["type"] == "welcome"
        while not any(message.get("ref") == "early" for message in told):
            told += json.loads(await connection.recv())
    assert (await viewer.ask("ping"))["type"] == "ok"


@pytest.mark.parametrize("turns", [3, 4, 6, 10, 20])
async def test_a_frame_that_does_not_wait_for_the_handshake(site: Site, turns: int) -> None:
    """A peer that does not wait for our 101 is answered or closed with 4502: nothing is lost silently."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    request = (
        f"GET /v1/rooms/demo/ws?token={site.token('alice')} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        writer.write(request.encode())
        for _ in range(turns):
            await asyncio.sleep(0)
        writer.write(masked(TEXT, b'{"type":"ping","ref":"too early"}'))
        said = b""
        async with asyncio.timeout(10):
            while b"too early" not in said and bytes((0x80 | CLOSE,)) not in said:
                said += await reader.read(65_536) or b"\x88 ended"
    finally:
        writer.close()
        await writer.wait_closed()
    assert b" 101 " in said
    assert b'"ref":"too early"' in said or Close.PROTOCOL_ERROR.to_bytes(2) in said


async def test_a_peer_that_leaves_in_the_handshake(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A peer whose connection ends as it is accepted never joins, and no error is logged."""
    app = site.server.config.loaded_app

    async def ends_as_it_is_accepted(scope: Any, receive: Any, send: Any) -> None:
        async def send_to_nobody(message: Any) -> None:
            if message["type"] == "websocket.accept":
                scope["extensions"][TAKEOVER].__self__.transport.abort()
            await send(message)

        await app(scope, receive, send_to_nobody)

    site.server.config.loaded_app = ends_as_it_is_accepted
    with pytest.raises(websockets.InvalidMessage):
        await site.join("screen", "overlay")
    site.server.config.loaded_app = app
    viewer = await site.join("bob")
    assert (await viewer.ask("ping"))["type"] == "ok"
    assert site.node.sessions.joining.joins == len(site.node.sessions.connections) == 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_fragmented_command(site: Site) -> None:
    """A command in many frames is one command."""
    viewer = await site.join()
    await viewer.connection.send(iter(['{"type":"chat.se', "", 'nd","ref":"x","te', 'xt":"in pieces"}']))
    assert (await viewer.happened("chat.sent"))["text"] == "in pieces"
    assert (await viewer.happened("ok"))["ref"] == "x"
