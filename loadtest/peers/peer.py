"""What every measured server has: how it starts and ends, whose CPU counts, and what a viewer says to come in."""

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from loadtest.processes import NODE_CPU, free_port, until_listening
from loadtest.wire import masked
from protocol.client import Frame

STOP_S = 10.0


class Peer(ABC):
    """A server on a core of its own, until the block ends. Its files are in a folder that ends with it."""

    name: ClassVar[str]
    title: ClassVar[str]
    viewer_path: str = "/"
    bot_path: str = "/"
    subprotocol: str = ""
    viewer_hello: tuple[Frame, ...] = ()  # what a viewer sends after the upgrade
    bot_hello: tuple[Frame, ...] = ()
    greeting: bytes = b""  # what tells a viewer that it is in
    bot_greeting: bytes = b""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder: Path
        self._processes: list[subprocess.Popen[bytes]] = []

    # --- of each peer ------------------------------------------------------------------------------------------
    def prepare(self) -> None:  # noqa: B027  # most have nothing to prepare
        """What is to be done once, before the first start."""

    @abstractmethod
    def why_not(self) -> str | None:
        """Why it cannot be started here, or None."""

    @abstractmethod
    def version(self) -> str:
        """As the table shows it."""

    @abstractmethod
    def start(self) -> None:
        """Start what it consists of, the server on `port` last; files go to `folder`."""

    @abstractmethod
    def said(self, text: str) -> Frame:
        """What the bot sends to tell the room a text."""

    # --- of all ------------------------------------------------------------------------------------------------
    def __enter__(self) -> "Peer":
        self.folder = Path(tempfile.mkdtemp(prefix="liveroom-peer-"))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def until_listening(self) -> None:
        try:
            until_listening(self.port, self._processes[-1])
        except RuntimeError as error:
            logs = "\n".join(log.read_text() for log in sorted(self.folder.glob("log-*")))
            raise RuntimeError(f"{error}:\n{logs}") from error

    def __exit__(self, *_error: object) -> None:
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command: Sequence[str], cpu: int = NODE_CPU, **environ: str) -> subprocess.Popen[bytes]:
        """Start a process on a core; it ends with the block, and with us however we end."""
        own = functools.partial(_of_ours, os.getpid(), cpu)
        log = self.folder / f"log-{len(self._processes)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | environ, stdout=out, stderr=out, preexec_fn=own
            )
        self._processes.append(process)
        return process

    @property
    def pids(self) -> list[int]:
        """The processes that deliver: their CPU time and memory count."""
        return [self._processes[-1].pid]

    @property
    def store_pids(self) -> list[int]:
        """What stands behind them on the other core: told, and not counted."""
        return [process.pid for process in self._processes[:-1]]

    def paths(self, number: int) -> list[str]:
        """Where so many viewers come in: one path for all, unless they are different people."""
        return [self.viewer_path] * number

    @property
    def hello(self) -> bytes:
        """A viewer's first frames as they stand on the wire."""
        return b"".join(masked(frame) for frame in self.viewer_hello)


def _of_ours(parent_pid: int, cpu: int) -> None:
    """In a child, before exec: to its core, and end when we end (Linux: prctl PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError):  # a machine without that core is measured as it is
        os.sched_setaffinity(0, {cpu})
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    if os.getppid() != parent_pid:  # the parent ended between fork and here
        os._exit(1)


def first_line(*command: str) -> str:
    """What a program says first, wherever it says it: most versions are told so."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STOP_S)
    return next(iter((ran.stdout + ran.stderr).splitlines()), "")


def missing(*programs: str) -> str | None:
    """A sentence when one of the programs is not there."""
    gone = [program for program in programs if shutil.which(program, path=search_path()) is None]
    return f"there is no {' and no '.join(gone)} on this machine" if gone else None


def search_path() -> str:
    """Debian's servers are in sbin, which is not in everybody's path."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    return shutil.which(name, path=search_path()) or name
