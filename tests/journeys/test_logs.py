"""Logging never stops a process: readers that are gone or asleep, a full disk, closed files."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from server.logs import Libraries
from tests.program import Program, eventually
from tests.stores import EMBEDDED, SECRETS

Output = tuple[int, Callable[[], None]]  # a file to write to, and what happens to it once the program serves


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends."""
    reads, writes = os.pipe()
    yield reads, writes
    for end in (reads, writes):
        try:
            os.close(end)
        except OSError:
            continue


def fill(pipe: int) -> None:
    """Write until the pipe is full. Raises BlockingIOError then."""
    while True:
        os.write(pipe, b"x" * 4096)


async def assert_supervises(program: Program) -> None:
    """Killed children come back, a gift can be sent, and SIGTERM ends everything in order."""
    for name in ("node", "journal"):
        await program.child_again(name, await program.kill_child(name))
    await program.until_ready()
    viewer = await program.join("alice")
    assert (await viewer.gift("rose"))["type"] == "ok"
    ended = await program.stop()
    assert ended.code == 0
    assert not program.processes()


@pytest.mark.parametrize("leaves", [True, False], ids=["has gone", "reads no more"])
async def test_a_reader_of_the_log(new_program: Callable[..., Program], pipe: tuple[int, int], leaves: bool) -> None:
    """The log's reader dies, or sleeps with its pipe full: everything goes on."""
    reads, writes = pipe
    program = new_program(LIVEROOM_LOG="debug")
    program.spawn_to(writes, writes)
    os.set_blocking(writes, False)
    await program.until_ready()
    if leaves:
        os.close(reads)
    else:
        with pytest.raises(BlockingIOError):
            fill(writes)
        os.set_blocking(writes, True)
    await assert_supervises(program)


@pytest.mark.parametrize("path", ["/dev/full", None], ids=["full disk", "closed"])
async def test_nowhere_to_log_to(new_program: Callable[..., Program], path: str | None) -> None:
    """The disk is full, or stdout and stderr are closed from the start."""
    program = new_program(LIVEROOM_LOG="debug")
    if path is not None:
        with Path(path).open("wb") as full:
            program.spawn_to(full, full)
    else:
        program.prefix = ("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-')
        program.spawn_to(subprocess.DEVNULL, subprocess.DEVNULL)
    await program.until_ready()
    await assert_supervises(program)


async def test_a_log_on_a_socket(new_program: Callable[..., Program]) -> None:
    """A service manager gives a socket as stderr. Its reader sleeps: everything goes on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        program = new_program(LIVEROOM_LOG="debug")
        program.spawn_to(theirs.fileno(), theirs.fileno())
        await program.until_ready()
        await assert_supervises(program)
        ours.setblocking(False)
        assert b"store_up" in ours.recv(2**20)


async def test_a_client_that_leaves_amid_its_request(new_program: Callable[..., Program]) -> None:
    """That is a debug line, and no error."""
    program = new_program(LIVEROOM_LOG="debug", LIVEROOM_MODE="production", **SECRETS, **EMBEDDED)
    await program.start()
    head = (
        "POST /v1/wallets/alice/topups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {SECRETS['LIVEROOM_SERVICE_KEY']}\r\nContent-Length: 100\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", program.port)
    writer.write(head.encode() + b'{"id":')
    await writer.drain()
    writer.close()
    await eventually(lambda: "http_body_cut" in program.stderr(), what="a line about it")
    lines = [json.loads(line) for line in program.stderr().splitlines()]
    assert [line["level"] for line in lines if line["event"] == "http_body_cut"] == ["debug"]
    assert [line for line in lines if line["level"] == "error"] == []


def test_a_log_in_a_file_has_no_colours() -> None:
    """Escape sequences are for terminals."""
    command = (sys.executable, "-m", "server", "token", "alice")
    ended = subprocess.run(
        command, env={**os.environ, "LIVEROOM_POTR": "1"}, capture_output=True, text=True, check=True, timeout=60
    )
    assert "LIVEROOM_POTR is not a setting" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_what_a_library_logs() -> None:
    """It becomes a line in our own form, with its level."""
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "odd %s", ("thing",), None)
    with structlog.testing.capture_logs() as lines:
        Libraries().emit(record)
    assert lines == [{"event": "library", "name": "uvicorn.error", "says": "odd thing", "log_level": "warning"}]
