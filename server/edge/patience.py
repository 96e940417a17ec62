"""HTTP with limits: requests that never end, endless heads, and offers to speak another protocol."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol, cast, runtime_checkable

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from protocol.closes import Close
from server import limits
from server.edge.answers import error_answer
from server.edge.door import STATE, Door
from server.edge.halfopen import HalfOpen, TooManyOpen
from server.edge.linger import Gentle, close_gently
from server.edge.turns import Arrivals

_TOO_LARGE = error_answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    f"The head of a request may have {limits.HEAD_BYTES_MAX} bytes and {limits.HEAD_LINES_MAX} lines.",
)
_TOO_MANY_OPEN = error_answer(
    HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_connections",
    "This address has too many connections.",
    "Retry-After: 5",
)
_TOO_MANY = error_answer(
    HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_requests",
    f"At most {limits.PIPELINED_MAX} requests may wait on a connection; read their answers first.",
    "Retry-After: 5",
)
_BODY_IN_UPGRADE = error_answer(HTTPStatus.BAD_REQUEST, "bad_request", "A request for a websocket has no body.")
_INVALID = error_answer(HTTPStatus.BAD_REQUEST, "bad_request", "This is not a valid HTTP request.")
_NO_PATH = error_answer(HTTPStatus.BAD_REQUEST, "bad_request", "A request for a websocket names a path.")
_ABSOLUTE = re.compile(rb"(?:https?|wss?)://[^/?#]*", re.IGNORECASE)
_TOO_LATE = error_answer(HTTPStatus.REQUEST_TIMEOUT, "timeout", "The request did not come in full in time.")


@runtime_checkable
class Handshaking(Protocol):
    """What takes a connection over that is still half open."""

    def while_half_open(self, leave: Callable[[], None]) -> None:
        """Call `leave` once, when the connection is lost or welcomed."""
        ...


class PatientHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which would hold half a request forever. This one records since when it waits.

    There is no timer per connection: `reap` checks all of them now and then. Between two requests uvicorn's own
    keep-alive timer runs.
    """

    waiting_since: float | None = None
    _head_bytes = 0  # of the head that is being read
    _head_may_have = 0  # at most this many of the bytes at hand belong to it
    _in_head = False
    _moved = False  # the bytes at hand continued a head or a body
    _wasted_bytes = 0  # since the last bytes that did: trailers, chunk extensions, empty lines
    ended = False  # our last answer is written
    _dropped_bytes = 0  # of bodies, after their answers
    _too_large = False
    _too_many = False  # requests of this connection wait
    _address: str | None = None  # where it is counted as half open
    _body_in_upgrade = False  # a websocket's frames would begin where this body ends, if that is ever known
    _offered = False  # the request offers another protocol, and its body was not read
    _upgrades: bool | None = None  # whether it asks for a websocket, once that is known
    _unread = b""  # what waits for its turn to be read
    _waits = False  # for it; reading is paused meanwhile
    _behind: bytes | None = None  # what came behind an upgrade that waits for the answers to requests before it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.connections.add(self)  # as uvicorn does, which also asks for our own address: 4 us that most joins save
        self.transport = transport
        self.flow = FlowControl(transport)
        self.client = get_remote_addr(transport)
        self.scheme = "https" if is_ssl(transport) else "http"
        self.waiting_since = self.loop.time()
        self._half_open = HalfOpen.of(self.server_state)
        try:
            self._address = self._half_open.take(transport.get_extra_info("peername"))
        except TooManyOpen:  # who opens too many gets no time for a gentle end
            transport.write(_TOO_MANY_OPEN)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()

    def _leave(self) -> None:
        address, self._address = self._address, None
        self._half_open.leave(address)

    def data_received(self, data: bytes) -> None:
        """Read it in this turn of the loop or, in a crowd, in a later one."""
        if self._behind is not None:
            self._hold(data)
            return
        self._unset_keepalive_if_required()
        door: Door | None = self.app_state.get(STATE)
        if door is None:
            self._read(data)
        elif not self._waits and (door.arrivals.free or not door.arrivals.may_hold(len(data))):
            began = time.perf_counter()
            self._read(data)
            door.arrivals.spent(began)
        else:
            self._wait(door.arrivals, data)

    def _wait(self, arrivals: Arrivals, data: bytes) -> None:
        """Keep it until the line has come to this connection."""
        self._unread += data
        arrivals.held_bytes += len(data)
        self.flow.pause_reading()  # again, if the end of an earlier request has resumed it
        if not self._waits:
            self._waits = True
            arrivals.wait(self)

    def read_on(self, _until: float) -> bool:
        """Read all that waits, as a Reader does: it is no more than the kernel gives at once."""
        data, self._unread, self._waits = self._unread, b"", False
        self.app_state[STATE].arrivals.held_bytes -= len(data)
        if not (self.ended or self.transport.is_closing()):
            self.flow.resume_reading()
            self._read(data)
        return False

    def read_out(self) -> None:
        """Nothing waits any longer."""

    def close(self, _code: Close) -> None:
        """End a connection whose reading failed."""
        self.transport.abort()

    def _read(self, data: bytes) -> None:
        """As uvicorn's, with a limit on the head. An offer of a protocol that we ignore must not lose the body."""
        self._head_may_have = len(data)
        self._moved = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self.scope["method"] == "CONNECT":  # the parser takes its head for the end of HTTP
                self.end(_INVALID)
            elif not self._should_upgrade():
                self._read_on(rest)
            elif self._is_under_way():
                self._hold(rest)
            else:
                self._hand_over(rest)
            return
        except httptools.HttpParserError:
            if self._body_in_upgrade or self._too_many:
                self.end(_BODY_IN_UPGRADE if self._body_in_upgrade else _TOO_MANY)
                return
            if not self._too_large:
                self.end(_INVALID)
                return
        if self._in_head:
            self._head_bytes += self._head_may_have
            self._bound_head()
        self._wasted_bytes = 0 if self._moved or self._in_head else self._wasted_bytes + len(data)
        if self._too_large or self._wasted_bytes > limits.HEAD_BYTES_MAX:
            self.end(_TOO_LARGE)

    def end(self, answer: bytes) -> None:
        """Answer once more, and close. What comes meanwhile is not read as a request."""
        self.waiting_since = None
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.ended = True
            close_gently(self.transport, self)

    def _is_under_way(self) -> bool:
        """Whether a request before this one has no whole answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _hold(self, data: bytes) -> None:
        """Let an upgrade wait: answers come in the order of requests (RFC 9112, 9.3.2), and none among frames."""
        self._behind = ((self._behind or b"") + data)[: limits.EARLY_BYTES_MAX + 1]  # more is refused after it
        self.flow.pause_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        behind = self._behind
        if behind is None or self.ended or self.transport.is_closing():
            return
        if self._is_under_way():
            self.flow.pause_reading()
            return
        self._behind = None
        self._unset_keepalive_if_required()
        self._hand_over(behind)

    def _hand_over(self, rest: bytes) -> None:
        """Let a connection take over, with what came right behind the request: at once, or the long way."""
        self.url = origin_form(self.url)
        if not self.url.startswith(b"/"):
            self.end(_NO_PATH)
            return
        door: Door | None = self.app_state.get(STATE)
        if door is not None and door.enter(self, rest):
            self.connections.discard(self)
            self._leave()
            del self.parser  # they name each other, and garbage collections were an eighth of what joins cost
            return
        self.handle_websocket_upgrade()
        if isinstance(protocol := self.transport.get_protocol(), Handshaking):
            protocol.while_half_open(self._leave)
        else:
            self._leave()
        if rest and not self.transport.is_closing():
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(rest)

    def _read_on(self, rest: bytes) -> None:
        """Ignore an offer of another protocol (RFC 9110, section 7.8, allows it). The parser stops at such a head.

        A new parser gets the same head without the offer, and everything that came after it.
        """
        head = [b"%b %b HTTP/%b\r\n" % (self.scope["method"].encode(), self.url, self.scope["http_version"].encode())]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() != b"upgrade")  # noqa: PLW2901
            if name != b"upgrade":
                head.append(b"%b: %b\r\n" % (name, value))
        self._offered = False
        self.parser = httptools.HttpRequestParser(self)
        self._read(b"".join(head) + b"\r\n" + rest)

    def _should_upgrade(self) -> bool:
        if self._upgrades is None:
            # RFC 9110, section 7.8: an Upgrade in a request of HTTP/1.0 is ignored.
            self._upgrades = self.parser.get_http_version() == "1.1" and super()._should_upgrade()
        return self._upgrades

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._upgrades = None
        self.waiting_since = self.loop.time()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._too_large = self._too_large or len(self.headers) > limits.HEAD_LINES_MAX
        self._stop_if_too_large()

    def on_headers_complete(self) -> None:
        at_most = self._head_bytes + self._head_may_have
        if not self._head_may_have or at_most > limits.HEAD_BYTES_MAX:  # else it is short enough anyway
            self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            self._bound_head()
        self._stop_if_too_large()
        self._in_head, self._moved = False, True
        upgrades = self.parser.should_upgrade() and self._should_upgrade()
        if len(self.pipeline) >= limits.PIPELINED_MAX:
            self._too_many = True
            raise httptools.HttpParserCallbackError("too many requests at once")
        if upgrades and _has_body(self.headers):
            self._body_in_upgrade = True
            raise httptools.HttpParserCallbackError("a body in an upgrade request")
        if self.parser.should_upgrade() and not upgrades:
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = self.parser.get_http_version()
            self._offered = True
            return
        if not upgrades:
            self.server = self.scope["server"] = get_local_addr(self.transport)
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = cast(Any, Gentle(self.transport, self))

    def on_body(self, body: bytes) -> None:
        """As uvicorn's, which drops what comes after the answer. That has a bound."""
        super().on_body(body)
        self._moved = True
        if self.cycle is not None and self.cycle.response_complete:
            self._dropped_bytes += len(body)
            if self._dropped_bytes > limits.DISCARDED_BYTES_MAX:
                self.transport.abort()

    def _bound_head(self) -> None:
        self._too_large = self._too_large or self._head_bytes > limits.HEAD_BYTES_MAX

    def _stop_if_too_large(self) -> None:
        """Raise in a callback, which ends the parser: it ignores whatever else has come."""
        if self._too_large:
            raise httptools.HttpParserCallbackError("the head is too large")

    def on_message_complete(self) -> None:
        if self._offered:
            return
        super().on_message_complete()
        self.waiting_since = None
        self._moved, self._head_may_have = True, 0  # we do not know where the next head begins in these bytes

    def give_up(self) -> None:
        """Answer 408 and close."""
        self.end(_TOO_LATE)


def origin_form(target: bytes) -> bytes:
    """The path and query of an absolute address, which a server must take, too (RFC 9112, 3.2.2; RFC 6455, 4.1)."""
    return target[found.end() :] or b"/" if (found := _ABSOLUTE.match(target)) else target


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)


def reap(connections: Iterable[Any], now: float) -> int:
    """Close those that have waited too long for the rest of a request; return how many. `now` is the loop's time."""
    late = [
        each
        for each in connections
        if isinstance(each, PatientHttp)
        and each.waiting_since is not None
        and now - each.waiting_since > limits.REQUEST_S_MAX
    ]
    for each in late:
        each.give_up()
    return len(late)
