"""Ping: are you there, and what time is it?"""

from typing import ClassVar

from protocol.wire import Command, Ok


class Ping(Command, frozen=True, tag="ping"):
    """Ask for a reply, and the server's clock."""

    for_listeners: ClassVar[bool] = True


class PingOk(Ok, frozen=True, tag="ok"):
    """The server's clock."""

    server_time_ms: int
