"""Ends an HTTP connection so that its last answer arrives: unread data would turn the close into a reset.

RFC 9112, section 9.6: close the writing side, read on until the peer has closed, and only then close the rest.
"""

import asyncio
from typing import Any

from server import limits


class Lingering(asyncio.Protocol):
    """Takes a connection over after its last answer. What still comes is dropped, so much and for so long."""

    def __init__(self, transport: asyncio.Transport, before: asyncio.BaseProtocol) -> None:
        self._transport = transport
        self._before = before
        self._dropped = 0
        self._timer = asyncio.get_running_loop().call_later(limits.CLOSE_LINGER_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > limits.DISCARDED_BYTES_MAX:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._before.connection_lost(exc)


def close_gently(transport: Any, protocol: asyncio.BaseProtocol) -> None:
    """End the connection of `protocol`, which learns when it is lost. Everything is written first."""
    if not transport.can_write_eof():  # TLS
        transport.close()
    if transport.is_closing() or isinstance(transport.get_protocol(), Lingering):
        return
    transport.set_protocol(Lingering(transport, protocol))
    if not transport.is_reading():
        transport.resume_reading()
    transport.write_eof()


class Gentle:
    """A transport for uvicorn: it is closed gently while the request has not come in full, else as any other."""

    def __init__(self, transport: Any, protocol: Any) -> None:
        self._transport = transport
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        """Write, unless a last answer was given: requests that were under way then have no answer any more."""
        if not self._protocol.ended:
            self._transport.write(data)

    def close(self) -> None:
        cycle = self._protocol.cycle
        if cycle is not None and cycle.more_body:
            close_gently(self._transport, self._protocol)
        else:
            self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
