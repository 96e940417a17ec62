"""Servers that are not what a setting's address promises: of another kind, too old, or silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

Answers = Callable[[bytes], bytes | None]  # what a request gets; None ends the connection, b"" says nothing


def http(_request: bytes) -> bytes:
    """A web server."""
    return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def silent(_request: bytes) -> bytes:
    """It takes connections and never answers."""
    return b""


def hanging_up(_request: bytes) -> None:
    """It ends each connection at the first byte."""
    return


def redis_5(_request: bytes) -> bytes:
    """A Redis that is older than HELLO."""
    return b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"


def redis_6(request: bytes) -> bytes:
    """A Redis that knows HELLO and is too old all the same."""
    return _told(b"redis_version:6.2.14\r\nredis_mode:standalone\r\n") if b"INFO" in request else b"%0\r\n"


def sentinel(request: bytes) -> bytes:
    """It watches stores and is not one."""
    return _told(b"redis_version:7.2.4\r\nredis_mode:sentinel\r\n") if b"INFO" in request else b"%0\r\n"


def _told(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


@contextlib.asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[int]:
    """Serve `answers` on a port of this machine."""
    talks: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(writer)
        with contextlib.suppress(OSError):
            while request := await reader.read(2**16):
                answer = answers(request)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in talks:
            writer.transport.abort()
