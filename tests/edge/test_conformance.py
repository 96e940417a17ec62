"""RFC 6455 as a table: what a stream of client bytes must cause, however it is cut; websockets agrees."""

import re
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from server import limits
from server.edge.socket import Connection
from tests.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Heard, Wire, feed, masked, written_frames

Frame = tuple[int, bytes]
OPEN = None
FAILED, NO_TEXT, TOO_BIG = (code.to_bytes(2) + b" failed" for code in (1002, 1007, 1009))
LARGEST = limits.FRAME_BYTES_MAX


class Case(NamedTuple):
    """A stream, the messages we deliver, the pongs we write, and how it ends: open, failed, or the echoed close."""

    name: str
    stream: bytes
    hears: tuple[Frame, ...] = ()
    pongs: tuple[bytes, ...] = ()
    ends: bytes | None = OPEN
    deflate: bool = False
    agrees: bool = True  # websockets' sans-I/O core does the same


class Outcome(NamedTuple):
    """What a stream caused."""

    hears: tuple[Frame, ...]
    pongs: tuple[bytes, ...]
    ends: bytes | None


def text(payload: bytes | str, **how: object) -> bytes:
    return masked(TEXT, payload.encode() if isinstance(payload, str) else payload, **how)  # type: ignore[arg-type]


def in_fragments(opcode: int, *parts: bytes, between: bytes = b"") -> bytes:
    """A message in as many frames, with something between them."""
    last = len(parts) - 1
    return between.join(masked(CONT if n else opcode, part, fin=n == last) for n, part in enumerate(parts))


def packed(payload: bytes) -> bytes:
    """Deflated as in RFC 7692, section 7.2.1."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


# --- the table -----------------------------------------------------------------------------------------------------
def framing() -> Iterator[Case]:
    """Sections 5.2 and 5.3: sizes, lengths, masks, reserved bits and opcodes."""
    for opcode in (TEXT, BINARY):
        for size in (0, 1, 125, 126, 127, 128, 1_000, LARGEST - 1, LARGEST):
            message = (opcode, b"*" * size)
            yield Case(f"a message of opcode {opcode}, {size} bytes", masked(*message) * 2, (message, message))
        yield Case(f"too large, opcode {opcode}", masked(opcode, b"*" * (LARGEST + 1)) + text("late"), ends=TOO_BIG)
    for size, form in ((0, 126), (1, 126), (125, 126), (0, 127), (125, 127), (126, 127), (LARGEST, 127)):
        stream = text("*" * size, form=form)
        yield Case(f"length {size} in form {form}", stream, ends=FAILED, agrees=False)
        if size < 126:
            yield Case(
                f"a ping's length {size} in form {form}",
                masked(PING, b"*" * size, form=form),
                (),
                (),
                FAILED,
                agrees=False,
            )
    for size in (LARGEST + 1, 1 << 16, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        yield Case(
            f"only the head of {size} bytes",
            b"\x82\xff" + size.to_bytes(8) + bytes(4),
            ends=TOO_BIG if size >= 1 << 16 else FAILED,
            agrees=size >= 1 << 16,
        )
    for mask in (bytes(4), b"\xff" * 4, b"\x00\x00\x00\x01", b"\x80\x00\x00\x00"):
        yield Case(
            f"the mask {mask.hex()}", text("Hällo, wide world", mask=mask), ((TEXT, "Hällo, wide world".encode()),)
        )
    for opcode in (CONT, TEXT, BINARY, CLOSE, PING, PONG):
        for payload in (b"", b"\x03\xe8"):
            stream = masked(opcode, payload, mask=None)
            yield Case(
                f"no mask, opcode {opcode}, {len(payload)} bytes", text("a") + stream, ((TEXT, b"a"),), ends=FAILED
            )
        for rsv in range(1, 8):
            begun = text("a", fin=False) if opcode == CONT else b""
            stream = begun + masked(opcode, rsv=rsv) + text("b") + masked(PING, b"c")
            yield Case(f"reserved bits {rsv} with opcode {opcode}", stream, ends=FAILED)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"abc", b"*" * (LARGEST + 1)):
            stream = text("a") + masked(opcode, payload) + text("b") + masked(PING)
            yield Case(f"opcode {opcode} with {len(payload)} bytes", stream, ((TEXT, b"a"),), ends=FAILED)


def control_frames() -> Iterator[Case]:
    """Section 5.5: at most 125 bytes, unfragmented, and answered in their place."""
    for size in range(126):
        yield Case(f"a ping of {size} bytes", masked(PING, bytes(range(size))), pongs=(bytes(range(size)),))
    for opcode in (PING, PONG, CLOSE):
        for size in (126, 127, 1_000, LARGEST):
            yield Case(f"opcode {opcode} of {size} bytes", masked(opcode, b"\x03\xe8" + b"x" * (size - 2)), ends=FAILED)
        for payload in (b"", b"\x03\xe8"):
            stream = masked(opcode, payload, fin=False) + masked(CONT) + masked(PING)
            yield Case(f"opcode {opcode} in fragments, {len(payload)} bytes", stream, ends=FAILED)
            stream = text("a", fin=False) + masked(opcode, payload, fin=False)
            yield Case(f"opcode {opcode} in fragments within a message, {len(payload)} bytes", stream, ends=FAILED)
    many = tuple(str(n).encode() for n in range(100))
    yield Case("100 pings", b"".join(masked(PING, each) for each in many), pongs=many)
    yield Case("a ping of bytes that are no UTF-8", masked(PING, b"\xff\xfe\x00"), pongs=(b"\xff\xfe\x00",))
    yield Case("pongs that nobody asked for", masked(PONG) + masked(PONG, b"x" * 125) + text("a"), ((TEXT, b"a"),))
    yield Case("a pong, then a ping", masked(PONG, b"1") + masked(PING, b"2"), pongs=(b"2",))


def fragments() -> Iterator[Case]:
    """Section 5.4: messages in pieces, with only control frames between them."""
    whole = (TEXT, b"fragments")
    yield Case("two fragments", in_fragments(TEXT, b"frag", b"ments"), (whole,))
    yield Case("as many as bytes", in_fragments(TEXT, *(bytes((byte,)) for byte in b"fragments")), (whole,))
    yield Case("empty ones first, between and last", in_fragments(TEXT, b"", b"frag", b"", b"ments", b""), (whole,))
    yield Case("nothing but empty ones", in_fragments(BINARY, b"", b"", b""), ((BINARY, b""),))
    yield Case("two messages", in_fragments(TEXT, b"frag", b"ments") * 2, (whole, whole))
    yield Case("1000 fragments", in_fragments(BINARY, *[b"\xff"] * 1_000), ((BINARY, b"\xff" * 1_000),))
    yield Case("as much as is allowed", in_fragments(TEXT, b"a", b"a" * (LARGEST - 1)), ((TEXT, b"a" * LARGEST),))
    yield Case("a byte more than is allowed", in_fragments(TEXT, b"a", b"a" * LARGEST), ends=TOO_BIG)
    yield Case("a byte more in many", in_fragments(BINARY, *[b"a" * 1_024] * 16, b"a"), ends=TOO_BIG)
    yield Case(
        "pings between", in_fragments(TEXT, b"frag", b"ment", b"s", between=masked(PING, b"p")), (whole,), (b"p",) * 2
    )
    yield Case("pongs between", in_fragments(TEXT, b"frag", b"ments", between=masked(PONG, b"p")), (whole,))
    close = masked(CLOSE, b"\x03\xe8")
    yield Case("a close between", in_fragments(TEXT, b"frag", b"ments", between=close), ends=b"\x03\xe8", agrees=False)
    yield Case("an unfinished message, then nothing", text("frag", fin=False))
    for fin in (True, False):
        for payload in (b"", b"abc"):
            name = f"fin {fin}, {len(payload)} bytes"
            stream = masked(CONT, payload, fin=fin) + text("late")
            yield Case(f"nothing to continue: {name}", stream, ends=FAILED)
            yield Case(
                f"nothing more to continue: {name}",
                in_fragments(TEXT, b"a", b"b") + stream,
                ((TEXT, b"ab"),),
                ends=FAILED,
            )
            for opcode in (TEXT, BINARY):
                stream = text(payload, fin=False) + masked(opcode, payload, fin=fin) + masked(CONT)
                yield Case(f"a message of opcode {opcode} within one: {name}", stream, ends=FAILED)


GOOD_TEXTS = {
    "of all lengths": "$£€𐍈".encode(),
    "greek": "κόσμε".encode(),
    "first of each length": "\x00\x80ࠀ𐀀".encode(),
    "last of each length": "\x7f\u07ff\uffff\U0010ffff".encode(),
    "around the surrogates": "\ud7ff\ue000\ufffd".encode(),
    "noncharacters": "\ufffe\uffff\U0001fffe\U0010ffff".encode(),
    "a byte order mark": "\ufeffa".encode(),
}
BAD_TEXTS = {
    "a continuation alone": b"\x80",
    "the last continuation alone": b"\xbf",
    "two bytes, one there": b"\xc3",
    "three bytes, two there": b"\xe2\x82",
    "four bytes, three there": b"\xf0\x90\x8d",
    "a letter where a continuation should be": b"\xe2\x28\xa1",
    "overlong, two bytes": b"\xc0\xaf",
    "overlong, three bytes": b"\xe0\x80\xaf",
    "overlong, four bytes": b"\xf0\x80\x80\xaf",
    "the longest overlong, three bytes": b"\xe0\x9f\xbf",
    "modified zero": b"\xc0\x80",
    "a high surrogate": b"\xed\xa0\x80",
    "a low surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "behind the last": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "no byte of UTF-8": b"\xfe",
    "neither": b"\xff",
}


def utf8() -> Iterator[Case]:
    """Section 8.1: text is UTF-8, wherever a frame may cut it; binary may be anything."""
    for name, good in GOOD_TEXTS.items():
        yield Case(name, text(good), ((TEXT, good),))
        for cut in range(len(good) + 1):
            stream = in_fragments(TEXT, good[:cut], good[cut:], between=masked(PING, b"p"))
            yield Case(f"{name}, cut at {cut}", stream, ((TEXT, good),), (b"p",))
        yield Case(
            f"{name}, byte for byte", in_fragments(TEXT, *(good[n : n + 1] for n in range(len(good)))), ((TEXT, good),)
        )
    for name, bad in BAD_TEXTS.items():
        said = "κόσμε".encode() + bad
        late = text("late") + masked(PING, b"late")
        yield Case(name, text("a") + text(said) + late, ((TEXT, b"a"),), ends=NO_TEXT)
        yield Case(f"{name}, and more", text(said + b"edited") + late, ends=NO_TEXT)
        for cut in range(len(said) - len(bad), len(said) + 1):
            yield Case(f"{name}, cut at {cut}", in_fragments(TEXT, said[:cut], said[cut:]) + late, ends=NO_TEXT)
        yield Case(f"{name}, binary", masked(BINARY, said), ((BINARY, said),))


def closing() -> Iterator[Case]:
    """Sections 5.5.1 and 7: the close code is echoed; after it nothing is read or written."""
    late = text("late") + masked(PING, b"late") + masked(PONG) + masked(CLOSE, b"\x03\xe9")
    yield Case("no code", masked(CLOSE) + late, ends=b"")
    for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
        yield Case(f"code {code}", masked(CLOSE, code.to_bytes(2)) + late, ends=code.to_bytes(2))
    for reason in (b"x", "grüß dich".encode(), b"x" * 123):
        stream = text("a") + masked(CLOSE, (1000).to_bytes(2) + reason)
        yield Case(f"a reason of {len(reason)} bytes", stream + late, ((TEXT, b"a"),), ends=b"\x03\xe8")
    yield Case("after a ping", masked(PING, b"p") + masked(CLOSE) + late, pongs=(b"p",), ends=b"")
    yield Case("half a code", masked(CLOSE, b"\x03") + late, ends=FAILED)
    yield Case("a reason of 124 bytes", masked(CLOSE, b"\x03\xe8" + b"x" * 124) + late, ends=FAILED)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield Case(f"no code to say: {code}", masked(CLOSE, code.to_bytes(2) + b"why") + late, ends=FAILED)
    for name, bad in BAD_TEXTS.items():
        yield Case(f"a reason with {name}", masked(CLOSE, b"\x03\xe8why " + bad) + late, ends=NO_TEXT)
    stream = text("a", fin=False) + masked(CLOSE, b"\x03\xe8") + late
    yield Case("within a message", stream, ends=b"\x03\xe8", agrees=False)  # legal (5.4); websockets fails it


def deflated() -> Iterator[Case]:
    """RFC 7692, sections 6 and 7: RSV1 is set on a message's first frame, and text is UTF-8 once inflated."""
    small, said = packed(b"deflated " * 9), (TEXT, b"deflated " * 9)
    yield Case("whole", masked(TEXT, small, rsv=4) + text("plain"), (said, (TEXT, b"plain")), deflate=True)
    for cut in range(len(small) + 1):
        stream = masked(TEXT, small[:cut], rsv=4, fin=False) + masked(PING) + masked(CONT, small[cut:])
        yield Case(f"cut at {cut}", stream, (said,), (b"",), deflate=True)
    yield Case(
        "as much as is allowed",
        masked(BINARY, packed(bytes(LARGEST)), rsv=4),
        ((BINARY, bytes(LARGEST)),),
        deflate=True,
    )
    yield Case(
        "a byte more when unpacked", masked(BINARY, packed(bytes(LARGEST + 1)), rsv=4), ends=TOO_BIG, deflate=True
    )
    yield Case("no UTF-8 when unpacked", masked(TEXT, packed(b"a\xff"), rsv=4), ends=NO_TEXT, deflate=True)
    yield Case("not deflated at all", masked(TEXT, b"\xff" * 4, rsv=4), ends=FAILED, deflate=True)
    for rsv in (1, 2, 3, 5, 6, 7):
        yield Case(f"bits {rsv}", masked(TEXT, small, rsv=rsv), ends=FAILED, deflate=True)
    for opcode in (PING, PONG, CLOSE):
        yield Case(f"the bit on opcode {opcode}", masked(opcode, rsv=4), ends=FAILED, deflate=True)
    stream = masked(TEXT, small[:4], rsv=4, fin=False) + masked(CONT, small[4:], rsv=4)
    yield Case("the bit on a continuation", stream, ends=FAILED, deflate=True)


TABLE = {
    f"{section.__name__}: {case.name}": case
    for section in (framing, control_frames, fragments, utf8, closing, deflated)
    for case in section()
}


REST = bytes(LARGEST + 14)  # ends any unfinished frame, and fails if read as a new one, because it has no mask


# --- the two implementations ---------------------------------------------------------------------------------------
def run(chunks: list[bytes], *, deflate: bool) -> tuple[Connection, Wire, Heard]:
    """Feed the stream to our connection."""
    wire, heard = Wire(), Heard()
    connection = Connection(heard, wire, "json", set())
    connection.inflates = deflate
    feed(connection, heard, chunks)
    return connection, wire, heard


def ours(chunks: list[bytes], *, deflate: bool = False) -> Outcome:
    """What our connection does with the stream."""
    connection, wire, heard = run(chunks, deflate=deflate)
    written = written_frames(wire.written)
    closes = [payload for opcode, payload in written if opcode == CLOSE]
    assert len(closes) <= 1
    assert not closes or written[-1][0] == CLOSE  # nothing is written after it
    assert connection.closing == bool(closes)
    ends = closes[0] if closes else OPEN
    if ends is not OPEN and len(ends) > 2:  # an echo has no reason
        assert re.fullmatch(r"[a-z ]+", ends[2:].decode())
        assert "codec" not in ends[2:].decode()
        ends = ends[:2] + b" failed"
    else:
        assert wire.let_go == bool(closes)  # we answer the peer's close, and write nothing after it
    return Outcome(tuple(heard.messages), tuple(payload for opcode, payload in written if opcode == PONG), ends)


def theirs(stream: bytes, *, deflate: bool = False) -> Outcome:
    """What websockets does with it: its core, with text decoded above the core as its connections do it."""
    core = ServerProtocol(state=State.OPEN, max_size=LARGEST)
    if deflate:
        core.extensions = [PerMessageDeflate(True, True, 15, 15)]
    hears: list[Frame] = []
    opcode, parts = 0, b""
    for byte in stream:  # byte by byte: nothing after bad text may be read before it has failed
        core.receive_data(bytes((byte,)))
        for frame in core.events_received():
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                opcode, parts = int(frame.opcode), b""
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                parts += frame.data
                if frame.fin:
                    try:
                        parts.decode() if opcode == TEXT else None
                    except UnicodeDecodeError as error:
                        core.fail(1007)
                        core.parser_exc = error
                        break
                    hears.append((opcode, parts))
    written = written_frames(b"".join(core.data_to_send()))
    ends = next((payload[:2] for opcode, payload in written if opcode == CLOSE), OPEN)
    pongs = tuple(payload for opcode, payload in written if opcode == PONG)
    return Outcome(tuple(hears), pongs, ends + b" failed" if ends and core.parser_exc is not None else ends)


# --- the tests -----------------------------------------------------------------------------------------------------
def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """The stream in one piece, in bytes, in two pieces (cut at each of the first and last places), and in threes."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    yield [stream[at : at + 3] for at in range(0, len(stream), 3)]
    near = {*range(min(len(stream), 160)), *range(max(0, len(stream) - 160), len(stream))}
    for at in sorted(near):
        yield [stream[:at], stream[at:]]


@pytest.mark.parametrize("name", TABLE)
async def test_the_table(name: str) -> None:
    """A stream has its outcome however it is cut; a failed connection says why in a code of the RFC."""
    case = TABLE[name]
    expected = Outcome(case.hears, case.pongs, case.ends)
    for chunks in cuts(case.stream):
        assert ours(chunks, deflate=case.deflate) == expected, [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("name", [name for name, case in TABLE.items() if case.agrees and len(case.stream) < 2_000])
def test_websockets_agrees_with_the_table(name: str) -> None:
    """The table asks for nothing that another implementation of the RFC does not do."""
    case = TABLE[name]
    assert theirs(case.stream, deflate=case.deflate) == (case.hears, case.pongs, case.ends)


SMALL = [case for case in TABLE.values() if len(case.stream) < 200]
SPOILS = st.tuples(st.sampled_from(["flip", "drop", "repeat", "insert"]), st.integers(0, 10_000), st.integers(0, 255))


@st.composite
def corrupted(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """Streams of the table in a row, with a few bytes changed, cut anywhere; with the extension or without."""
    stream = bytearray(b"".join(case.stream for case in draw(st.lists(st.sampled_from(SMALL), min_size=1, max_size=4))))
    for what, where, byte in draw(st.lists(SPOILS, max_size=3)):
        at = where % (len(stream) + 1)
        if what == "flip":
            stream[at : at + 1] = bytes(byte ^ each for each in stream[at : at + 1])
        elif what == "drop":
            del stream[at : at + 1]
        elif what == "repeat":
            stream[at:at] = stream[at : at + 4]
        else:
            stream.insert(at, byte)
    places = draw(st.lists(st.integers(0, 400), max_size=6))
    edges = sorted({0, len(stream), *(at % (len(stream) + 1) for at in places)})
    return [bytes(stream[start:end]) for start, end in pairwise(edges)], draw(st.booleans())


def failed(outcome: Outcome) -> bool:
    return outcome.ends is not OPEN and outcome.ends.endswith(b" failed")


@settings(max_examples=500)
@given(given_=corrupted())
async def test_corrupted_streams_agree_with_websockets(given_: tuple[list[bytes], bool]) -> None:
    """Both deliver, answer and end the same on any corrupted stream, except for lengths that are not minimal."""
    chunks, deflate = given_
    mine, other = ours(chunks, deflate=deflate), theirs(b"".join(chunks), deflate=deflate)
    stricter = b"length not minimal" in run(chunks, deflate=deflate)[1].written
    if mine == other and not stricter:
        return
    early, late = sorted((mine, other), key=lambda each: (len(each.hears), len(each.pongs), not failed(each)))
    assert failed(early)
    assert early.hears == late.hears[: len(early.hears)]
    assert early.pongs == late.pongs[: len(early.pongs)]
    if early is other:  # it failed early, on an unfinished frame or fragment
        whole = ours([*chunks, REST], deflate=deflate)
        closed = mine.ends is not OPEN and not failed(mine)  # in a fragmented message, as RFC 6455 allows
        assert closed or whole == early or (deflate and failed(whole))
    elif not stricter:
        assert theirs(b"".join(chunks) + REST, deflate=deflate) == early
