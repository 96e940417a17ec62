"""HTTP requests that do not end: a peer has so long for a whole request, then its connection is closed."""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server import limits

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class PatientHttp(HttpToolsProtocol):
    """uvicorn's, which alone would hold half a request for ever. It knows since when it waits for the rest.

    No timer per connection: `reap` looks at all of them now and then. Between two requests uvicorn's own keep-alive
    timer runs.
    """

    waiting_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waiting_since = self.loop.time()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.waiting_since = self.loop.time()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.waiting_since = None

    def give_up(self) -> None:
        """Say that it took too long, and close."""
        self.transport.write(_TOO_LATE)
        self.transport.close()


def reap(connections: Iterable[Any], now: float) -> int:
    """Close those that wait too long for the rest of a request; how many. `now` is the loop's time."""
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
