"""Starts a server to measure, in its own folder; finds its processes, their cores, CPU time and memory (Linux)."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import jwt

from protocol.wire import Role

ROOT = Path(__file__).parents[1]
SECRET = "a secret of the load test, for its own server alone"
SERVICE_KEY = "a service key of the load test, for its own server"
START_S = 40.0
STOP_S = 15.0
NODE_CPU, OTHER_CPU = 0, 1
PORTS, PORT_TRIES = (20_000, 32_000), 100


class Served:
    """`python -m server run` on a free port, until the block ends; `more` is added to its environment."""

    def __init__(self, folder: Path | None = None, workers: int = 1, **more: str) -> None:
        self.workers = workers
        self._more = more
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="liveroom-bench-", dir=folder))
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Served":
        with (self._folder / "log").open("wb") as log:
            command = [sys.executable, "-m", "server", "run"]
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environ, stdout=log, stderr=log)
        try:
            self.until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def _environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVEROOM_")}
        return inherited | {
            "LIVEROOM_PORT": str(self.port),
            "LIVEROOM_DATA": str(self._folder / "data"),
            "LIVEROOM_TOKEN_SECRET": SECRET,
            "LIVEROOM_SERVICE_KEY": SERVICE_KEY,
            "LIVEROOM_LOG": "warning",
            "LIVEROOM_WORKERS": str(self.workers),
            **self._more,
        }

    def audit(self) -> tuple[int, str]:
        """Run `python -m server audit` on it. Returns the status and the output."""
        command = [sys.executable, "-m", "server", "audit"]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environ, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def __exit__(self, *_error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def until_ready(self) -> None:
        """Wait until a node accepts sockets: the first, or the next after one was killed."""
        deadline = time.monotonic() + START_S
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start:\n" + (self._folder / "log").read_text())
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)

    # --- processes ---------------------------------------------------------------------------------------------
    def pids_of(self, name: str) -> list[int]:
        """The children with this name in their command line: node, journal, wallet.sock, room.sock."""
        pid, found = self._process.pid, []
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # it may end meanwhile
                if name in Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "):
                    found.append(int(child))
        return found

    def pid_of(self, name: str) -> int:
        """The first of them. Raises RuntimeError if there is none."""
        for pid in self.pids_of(name):
            return pid
        raise RuntimeError(f"there is no process {name}")

    @property
    def node(self) -> int:
        return self.pid_of("server node")

    @property
    def room_store(self) -> str:
        """The path of its socket, which Valkey shows in its process title."""
        title = Path(f"/proc/{self.pid_of('room.sock')}/cmdline").read_text()
        return title.partition("unixsocket:")[2].strip("\0 ")

    def spread(self, node_cpu: int, other_cpu: int) -> None:
        """Pin the node to one core and everything else to another."""
        for name in ("server journal", "wallet.sock", "room.sock"):
            pin(self.pid_of(name), other_cpu)
        pin(self.node, node_cpu)


def pin(pid: int, cpu: int) -> None:
    """Pin every thread of a process to one core; on a machine without that core, do nothing."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {cpu})


def cpu_s(pid: int) -> float:
    """User and system time so far (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid: int) -> int:
    """Resident memory (proc(5): VmRSS)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def raise_file_limit() -> None:
    """Allow as many open sockets as the system permits."""
    import resource  # noqa: PLC0415  # not on every platform, and only the bench needs it

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def token(user: str, role: Role = "viewer") -> str:
    """Sign a token here, so that thousands of them cost the server nothing before the measurement."""
    claims = {"sub": user, "name": user.capitalize(), "role": role, "exp": int(time.time()) + 3600}
    claims["facts"] = {"follower_since_ms": 0}  # may also chat where only followers can
    return jwt.encode(claims, SECRET, algorithm="HS256")


def socket_path(room: str, user: str, role: Role = "viewer") -> str:
    return f"/v1/rooms/{room}/ws?token={token(user, role)}"


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives away: another program might get one of those."""
    for _ in range(PORT_TRIES):
        port = random.randint(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"none of {PORT_TRIES} ports is free")


def until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process accepts connections on a port."""
    deadline = time.monotonic() + START_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
