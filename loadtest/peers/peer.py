"""The base of every peer: how it starts and ends, whose CPU counts, and what a viewer sends to join."""

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
TICK_MS = 50  # of the peers that gather events
PACKAGES = {"cc": "gcc", "node": "nodejs", "nginx": "nginx, libnginx-mod-nchan"}  # Debian's, where the name is another


class Peer(ABC):
    """A server on its own core, until the block ends. Its folder is removed with it."""

    name: ClassVar[str]
    title: ClassVar[str]
    viewer_path: str = "/"
    bot_path: str = "/"
    subprotocol: str = ""
    viewer_hello: tuple[Frame, ...] = ()  # what a viewer sends after the upgrade
    bot_hello: tuple[Frame, ...] = ()
    greeting: bytes = b""  # a viewer has joined when it receives this
    bot_greeting: bytes = b""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder: Path
        self._processes: list[subprocess.Popen[bytes]] = []

    # --- each peer defines---------------------------------------------------------------------------------------
    def prepare(self) -> None:  # noqa: B027  # most have nothing to prepare
        """Called once, before the first start."""

    @abstractmethod
    def why_not(self) -> str | None:
        """Why it cannot be started here, or None."""

    @abstractmethod
    def version(self) -> str:
        """Its version, as the table shows it."""

    @abstractmethod
    def start(self) -> None:
        """Start its processes, last the server on `port`. Files go to `folder`."""

    @abstractmethod
    def said(self, text: str) -> Frame:
        """The frame with which a bot sends a text to the room."""

    # --- common ------------------------------------------------------------------------------------------------
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
        """Start a process on a core. It ends with the block, and when our process ends for any reason."""
        in_child = functools.partial(_bind_child, os.getpid(), cpu)
        log = self.folder / f"log-{len(self._processes)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | environ, stdout=out, stderr=out, preexec_fn=in_child
            )
        self._processes.append(process)
        return process

    @property
    def pids(self) -> list[int]:
        """The processes that deliver, whose CPU time and memory count."""
        return [self._processes[-1].pid]

    @property
    def store_pids(self) -> list[int]:
        """The stores behind them, on the other core: their CPU is reported separately."""
        return [process.pid for process in self._processes[:-1]]

    def paths(self, number: int) -> list[str]:
        """The path of each viewer: the same for all, unless the peer distinguishes people."""
        return [self.viewer_path] * number

    @property
    def hello(self) -> bytes:
        """A viewer's first frames, as bytes on the wire."""
        return b"".join(masked(frame) for frame in self.viewer_hello)


def _bind_child(parent_pid: int, cpu: int) -> None:
    """In a child, before exec: pin it to its core, and end it when we end (Linux: prctl PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError):  # on a machine without that core, do not pin it
        os.sched_setaffinity(0, {cpu})
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    if os.getppid() != parent_pid:  # the parent ended between fork and here
        os._exit(1)


def first_line(*command: str) -> str:
    """The first line of a program's output, from stdout or stderr. Most programs print their version there."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STOP_S)
    return next(iter((ran.stdout + ran.stderr).splitlines()), "")


def missing(*programs: str) -> str | None:
    """A sentence that names the programs which are not installed, and what to install, or None."""
    gone = [program for program in programs if shutil.which(program, path=search_path()) is None]
    packages = ", ".join(PACKAGES.get(program, program) for program in gone)
    return f"there is no {' and no '.join(gone)} on this machine (Debian: {packages})" if gone else None


def search_path() -> str:
    """PATH and the sbin folders: Debian installs servers there, and they are not in every user's PATH."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    return shutil.which(name, path=search_path()) or name
