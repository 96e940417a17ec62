"""A websocket as bytes: frames in, frames out, closing. While open, it has no task, queue or timer of its own.

When the app has accepted a handshake (handshake.py), this lean protocol takes over the transport.
"""

import asyncio
import socket
import struct
import time
from typing import Any, Protocol, TypeVar

from protocol.closes import Close
from protocol.wire import Codec
from server import limits
from server.edge.turns import Turns
from server.rooms.frames import BINARY, TEXT, Prepared, TooLong, frame_bytes, inflate, join_messages

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled extension
    from websockets.utils import apply_mask

CONTINUATION, CLOSE, PING, PONG = 0x0, 0x8, 0x9, 0xA
OPCODES = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
_CLOSE_CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}


_Heard_contra = TypeVar("_Heard_contra", contravariant=True)


class Hub(Protocol[_Heard_contra]):
    """What a connection reports to: it handles what comes in, and makes connections take turns at reading."""

    @property
    def turns(self) -> Turns: ...
    def received(self, connection: _Heard_contra, opcode: int, payload: bytes) -> None: ...
    def charge(self, connection: _Heard_contra, cost: int) -> None: ...
    def lost(self, connection: _Heard_contra) -> None: ...
    def writable(self, connection: _Heard_contra) -> None: ...
    def blamed(self, connection: _Heard_contra) -> None: ...


class BadFrame(Exception):
    """The peer broke RFC 6455. `code` is the RFC's word for it."""

    def __init__(self, reason: str, code: Close = Close.BAD_FRAME) -> None:
        super().__init__(reason)
        self.code = code


class Connection(asyncio.Protocol):
    """One open websocket."""

    __slots__ = (
        "_deaf",
        "_fragments",
        "_fragments_first",
        "_hub",
        "_late_bytes",
        "_listens",
        "_loop",
        "_paused_at",
        "_rest",
        "_servers",
        "_taken_at",
        "_told",
        "_waiting",
        "_waits",
        "address",
        "closing",
        "codec",
        "deflates",
        "heard_at",
        "inflates",
        "member",
        "paused",
        "pinged_at",
        "sent",
        "sent_at",
        "transport",
    )

    def __init__(self, hub: "Hub[Connection]", transport: asyncio.Transport, codec: Codec, servers: set[Any]) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._servers = servers
        self._told: list[bytes] | None = None
        self._waiting = 0  # bytes in the buffer at the last look, plus those written since; only while paused
        self._paused_at = 0.0  # loop time when the peer last fell behind
        self._taken_at = 0.0  # loop time when we last saw that the peer had taken some of them
        self._rest = b""
        self._listens = True
        self._fragments: bytearray | None = None
        self._fragments_first = 0
        self._waits = False  # for its turn to read; reading is paused meanwhile
        self._deaf = False  # ignores everything that still comes
        self._late_bytes = 0  # received after the close
        self.transport = transport
        self.codec: Codec = codec
        self.deflates = False  # the peer accepts frames that were deflated once for everybody
        self.inflates = False  # the peer may send deflated messages
        self.member: Any = None
        self.address: str | None = None  # of the peer, where addresses are counted
        self.closing = False
        self.paused = False
        self.heard_at = self._loop.time()  # when the last byte of the peer came
        self.sent = True  # something, since the wheel's last look: a clock for each frame of a large room would cost
        self.sent_at = self.pinged_at = self.heard_at

    # --- writing -----------------------------------------------------------------------------------------------
    def send(self, prepared: Prepared) -> None:
        """Write a frame. Disconnect a peer that asks faster than it reads, once too much waits for it."""
        if self._told:
            self._uncork()
        self.sent = True
        if self.closing:
            return
        frame = prepared.deflated if self.deflates else prepared.frame
        if self.paused:
            self._waiting += len(frame)
        self.transport.write(frame)
        if self.paused and self.transport.get_write_buffer_size() > limits.WRITE_BYTES_MAX:
            self.close(Close.SLOW_READER)

    def stalled(self, now: float) -> bool:
        """Whether the peer has taken none of what waits for too long, or has been behind for even longer."""
        waiting = self.transport.get_write_buffer_size()
        if waiting < self._waiting:
            self._taken_at = now
        self._waiting = waiting
        return now - self._taken_at >= limits.STALLED_S_MAX or now - self._paused_at >= limits.UNRESPONSIVE_S

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    def tell(self, message: bytes) -> None:
        """Send an encoded message to this peer alone. The messages of two turns of the loop share a frame: most of a
        reply's cost is the write, and a gift causes two messages (its balance, and a turn later its `ok`)."""
        if self._told:
            self._told.append(message)
            return
        self._told = [message]
        self._loop.call_soon(self._loop.call_soon, self._uncork)

    def _uncork(self) -> None:
        told, self._told = self._told, None
        if told and not self.closing:
            self.send(Prepared(self.codec, join_messages(self.codec, told)))

    def ping(self) -> None:
        if not self.paused and not self.closing:
            self.transport.write(b"\x89\x00")

    def close(self, code: Close, reason: str | None = None) -> None:
        """Send a close frame. Drop the transport when the peer has answered or CLOSE_LINGER_S has passed.

        If the peer takes nothing, the frame would wait behind what it never reads: so waits only what it must know.
        """
        self._uncork()
        if self.closing:
            return
        self.closing = True
        if self.paused and code.comes_back:
            drop(self.transport)
            return
        text = (code.reason if reason is None else reason).encode()[:123]
        self.transport.write(frame_bytes(CLOSE, int(code).to_bytes(2) + text))
        self._drop_soon()
        if code.blames:  # "MUST NOT continue to attempt to process data" (7.1.7): not even a close
            self._forget()
            self._hub.blamed(self)
            if not self.transport.is_closing():
                self.transport.write_eof()  # so the peer need not wait for us

    def _drop_soon(self) -> None:
        self._loop.call_later(limits.CLOSE_LINGER_S, drop, self.transport)

    def _forget(self) -> None:
        """Ignore all data that has come or will come."""
        self._deaf = True
        self._rest, self._fragments = b"", None

    # --- asyncio's side ----------------------------------------------------------------------------------------
    def pause_writing(self) -> None:
        self.paused = True
        self._waiting = self.transport.get_write_buffer_size()
        self._paused_at = self._taken_at = self._loop.time()

    def resume_writing(self) -> None:
        self.paused = False
        self._hub.writable(self)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._forget()
        self._late_bytes = limits.DISCARDED_BYTES_MAX + 1  # it reads no more
        self._servers.discard(self)
        self._hub.lost(self)

    def shutdown(self) -> None:
        """Close because uvicorn stops; viewers who are still here were already asked to come back."""
        self.close(Close.DRAINING)
        self.transport.close()

    # --- reading -----------------------------------------------------------------------------------------------
    def hold(self, early: bytes) -> None:
        """Keep what came before the connection was ours, and what comes until `listen` reads it.

        The kernel is asked to hold it only above EARLY_BYTES_MAX: for everybody, it would be three system calls a join.
        """
        self._rest, self._listens = early, False

    def listen(self) -> None:
        """Begin to read: first what was held."""
        self._listens = True
        if not (self.transport.is_reading() or self.transport.is_closing()):
            self.transport.resume_reading()
        if self._rest:
            early, self._rest = self._rest, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        if self.closing:
            self._late_bytes += len(data)
            if self._late_bytes > limits.CLOSING_BYTES_MAX:
                self._forget()
            if self._late_bytes > limits.DISCARDED_BYTES_MAX:
                self.transport.pause_reading()
        if self._deaf:
            return
        self._rest = self._rest + data if self._rest else data
        if not self._listens:
            if len(self._rest) > limits.EARLY_BYTES_MAX:
                self.transport.pause_reading()
            return
        if not self._waits and not self._hub.turns.read(self):
            self._waits = True
            self.transport.pause_reading()

    def read_on(self, until: float) -> bool:
        """Handle at least one whole frame, and more until READ_FRAMES_MAX or `until`. True if more may be waiting."""
        data = self._rest
        try:
            used, more = self._read_frames(data, until)
        except BadFrame as error:
            self.close(error.code, str(error))
            self._forget()
        if self._deaf:
            return False
        self._rest = data[used:]
        return more

    def read_out(self) -> None:
        self._waits = False
        if self._late_bytes <= limits.DISCARDED_BYTES_MAX:
            self.transport.resume_reading()

    def _read_frames(self, data: bytes, until: float) -> tuple[int, bool]:
        """Return how many bytes were used, and whether frames are left for the next turn."""
        at, size, left = 0, len(data), limits.READ_FRAMES_MAX
        while size - at >= 2 and not self._deaf:
            if left < limits.READ_FRAMES_MAX and (not left or time.perf_counter() >= until):
                return at, True
            left -= 1
            first, second = data[at], data[at + 1]
            length, body, least = second & 0x7F, at + 2, 0
            if length == 126:
                if size < body + 2:
                    break
                length, body, least = int.from_bytes(data[body : body + 2]), body + 2, 126
            elif length == 127:
                if size < body + 8:
                    break
                length, body, least = int.from_bytes(data[body : body + 8]), body + 8, 1 << 16
            if first & self._reserved(first) or not second & 0x80:
                raise BadFrame("reserved bits or no mask")
            if length < least:  # "the minimal number of bytes MUST be used" (5.2)
                raise BadFrame("length not minimal")
            if length > limits.FRAME_BYTES_MAX:
                known = first & 0x0F in OPCODES
                raise BadFrame("frame too big", Close.TOO_BIG) if known else BadFrame("unknown opcode")
            end = body + 4 + length
            if size < end:
                break
            if not self.closing:
                self._frame(first, apply_mask(data[body + 4 : end], data[body : body + 4]))
            elif first & 0x0F == CLOSE:  # the answer to ours; we ignore everything else
                self._forget()
                self.transport.close()
            at = end
        return at, False

    def _reserved(self, first: int) -> int:
        """The bits that must be zero. RSV1 may be set in a message's first frame: it says that it is deflated."""
        return 0x30 if self.inflates and first & 0x0F in (TEXT, BINARY) else 0x70

    def _frame(self, first: int, payload: bytes) -> None:
        opcode, final = first & 0x0F, bool(first & 0x80)
        if opcode not in (TEXT, BINARY, CLOSE):  # these carry no command, which would be charged itself
            self._hub.charge(self, 1)
            if self.closing:
                return
        if opcode >= CLOSE:
            self._control(opcode, final, payload)
        elif opcode in (TEXT, BINARY):
            if self._fragments is not None:
                raise BadFrame("a fragmented message was not finished")
            if final:
                self._message(first, payload)
            else:
                self._fragments, self._fragments_first = bytearray(payload), first
        elif opcode == CONTINUATION:
            self._continue(final, payload)
        else:
            raise BadFrame("unknown opcode")

    def _continue(self, final: bool, payload: bytes) -> None:
        if self._fragments is None:
            raise BadFrame("nothing to continue")
        self._fragments += payload
        if len(self._fragments) > limits.FRAME_BYTES_MAX:
            raise BadFrame(Close.TOO_BIG.reason, Close.TOO_BIG)
        if final:
            whole, self._fragments = bytes(self._fragments), None
            self._message(self._fragments_first, whole)

    def _message(self, first: int, payload: bytes) -> None:
        """Handle a whole message. RSV1 of its first frame says whether it is deflated. Text is UTF-8 (8.1)."""
        try:
            if first & 0x40:
                # 16 KiB of empty blocks take 2.3 ms and inflate to nothing: charge for the input, too.
                self._hub.charge(self, len(payload) // limits.MESSAGE_BYTES_PER_COMMAND)
                if self.closing:
                    return
                payload = inflate(payload, limits.FRAME_BYTES_MAX)
            if first & 0x0F == TEXT:
                payload.decode()
        except UnicodeDecodeError:
            raise BadFrame(Close.BAD_TEXT.reason, Close.BAD_TEXT) from None
        except TooLong:
            raise BadFrame(Close.TOO_BIG.reason, Close.TOO_BIG) from None
        except ValueError:
            raise BadFrame("not deflated") from None
        self._hub.received(self, first & 0x0F, payload)

    def _control(self, opcode: int, final: bool, payload: bytes) -> None:
        if not final or len(payload) > 125:
            raise BadFrame("bad control frame")
        if opcode == PING:
            if not self.paused:
                self.transport.write(frame_bytes(PONG, payload))
        elif opcode == CLOSE:
            _check_close(payload)
            self.closing = True
            self._forget()
            self.transport.write(frame_bytes(CLOSE, payload[:2]))
            self.transport.close()  # once all is written; a peer that reads nothing is not waited for
            self._drop_soon()
        elif opcode != PONG:
            raise BadFrame("unknown opcode")


def drop(transport: asyncio.Transport) -> None:
    """Close a transport now. What its peer does not take is thrown away: else the kernel keeps it for minutes."""
    theirs = transport.get_extra_info("socket")
    if theirs is not None and transport.get_write_buffer_size():
        ours = socket.socket(fileno=theirs.fileno())  # uvloop's cannot set options
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset (socket(7))
        ours.detach()
    transport.abort()


def _check_close(payload: bytes) -> None:
    """Check a close frame's payload (RFC 6455, sections 5.5.1 and 7.4): empty, or a code and UTF-8. Raises BadFrame."""
    if not payload:
        return
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise BadFrame(Close.BAD_TEXT.reason, Close.BAD_TEXT) from None
    code = int.from_bytes(payload[:2])
    if len(payload) < 2 or not (code in _CLOSE_CODES or 3000 <= code < 5000):
        raise BadFrame("bad close frame")
