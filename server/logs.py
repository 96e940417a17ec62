"""The log: one line per event on stderr, JSON in production. It never blocks or stops the program.

A reader that is gone, one that reads no more, and a full disk cost lines, and nothing else.
"""

import contextlib
import logging
import os
import select
import socket
import stat
import sys
from typing import Any

import structlog

from server import limits
from server.settings import Settings, Unusable

STDOUT, STDERR = 1, 2


def set_up(settings: Settings) -> None:
    """Log to stderr: stdout is for what a command prints. Raises Unusable."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise Unusable(f"LIVEROOM_LOG is {settings.log_level!r}; it must be debug, info, warning or error.")
    show: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if settings.development:
        show = structlog.dev.ConsoleRenderer(colors=os.isatty(STDERR))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            show,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(Lines(STDERR)),  # type: ignore[arg-type]
    )
    logging.basicConfig(handlers=[Libraries()], level=logging.WARNING, force=True)
    for mistake in settings.unknown:
        structlog.get_logger().warning("unknown_setting", says=mistake)


def keep_numbers_taken() -> None:
    """Open what is closed of stdin, stdout and stderr. A socket would get its number, and log lines would go there."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(opened, True)
    os.close(opened)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


class Lines:
    """Writes whole lines to a file descriptor, or drops them, but never waits. `dropped` counts those.

    A pipe is opened a second time, because O_NONBLOCK belongs to an open file, and other processes share this one.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._socket: socket.socket | None = None
        mode = os.fstat(fd).st_mode
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(mode):
                self._fd = os.open(f"/dev/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            elif stat.S_ISSOCK(mode):
                self._socket = socket.socket(fileno=os.dup(fd))
        self._rest = b""  # of a line that was cut off
        self.dropped = 0

    def write(self, text: str) -> None:
        """Write a line that ends with a newline."""
        line = text.encode(errors="backslashreplace")
        if len(line) > limits.LOG_LINE_BYTES_MAX:
            line = line[: limits.LOG_LINE_BYTES_MAX] + b"...\n"
        try:
            self._finish()
            if self.dropped:
                self._rest = b'{"event": "log_lines_dropped", "count": %d}\n' % self.dropped
                self.dropped = 0
                self._finish()
            self._rest = line
            self._finish()
        except OSError:
            if self._rest == line:  # not a byte of it is out
                self._rest = b""
            self.dropped += 1

    def flush(self) -> None:
        """There is nothing to flush."""

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def _finish(self) -> None:
        """Write the rest of the last line. Raises OSError."""
        while self._rest:
            self._rest = self._rest[self._write(self._rest[: select.PIPE_BUF]) :]

    def _write(self, piece: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(piece, socket.MSG_DONTWAIT)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0):  # a terminal that is held
            raise BlockingIOError
        return os.write(self._fd, piece)


class Libraries(logging.Handler):
    """Logs what libraries log as our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        about: dict[str, Any] = {"exc_info": error} if error is not None else {}
        with contextlib.suppress(Exception):
            structlog.get_logger().log(record.levelno, "library", name=record.name, says=record.getMessage(), **about)
