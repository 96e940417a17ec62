"""Runs the program as people do: `python -m server run` in its own processes, watched, and ended by pid."""

import asyncio
import contextlib
import functools
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import httpx
import websockets

from server.settings import DEV_SERVICE_KEY
from server.store import embedded
from tests.resting import Resting
from tests.site import NO_TLS, Viewer, new_gift_id

ROOT = Path(__file__).parents[1]
START_S = 40.0  # a deadline only: the machine may be busy
STOP_S = 20.0
CHILDREN = ("wallet store", "room store", "journal", "node")


def free_port() -> int:
    """A port that nobody listens on, below the range that the system uses for outgoing connections."""
    for _ in range(100):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


async def eventually(found: Callable[[], Any], wait_s: float = START_S, what: str = "it") -> Any:
    """Poll until `found()` (or what it awaits) is true; returns its value. Only for what sends no event."""
    deadline = time.monotonic() + wait_s
    while True:
        value = found()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {wait_s} s"
        await asyncio.sleep(0.01)


def _in_child(parent_pid: int) -> None:
    """The process dies with the test run. `nohup` and a shell's background jobs pass on ignored signals."""
    embedded.die_with_parent(parent_pid)
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(each, signal.SIG_DFL)


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    after_s: float
    rested_s: float  # of that, how long no process of it wanted to run: only timers and others can be waited for


class Served:
    """A process that serves a port. Its output is kept, and shown when a wait fails."""

    command = "node"
    prefix: tuple[str, ...] = ()  # goes in front of the command line

    def __init__(self, folder: Path, root: Path = ROOT, **environ: str) -> None:
        self.folder = folder
        self.root = root  # the folder whose `server` it runs
        asked = environ.get("LIVEROOM_PORT", "")
        self.port = int(asked) if asked.isdecimal() else free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVEROOM_")}
        self.environ = {**inherited, "LIVEROOM_DATA": str(folder / "data"), **environ}
        self.environ.setdefault("LIVEROOM_PORT", str(self.port))
        self.environ.setdefault("LIVEROOM_METRICS_PORT", "0")  # other programs run beside it
        self.process: subprocess.Popen[bytes] | None = None
        self.viewers: list[Viewer] = []
        self._runs = 0

    # --- starting and ending -----------------------------------------------------------------------------------
    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for anything."""
        self._runs += 1
        with self._output("stdout").open("wb") as out, self._output("stderr").open("wb") as err:
            return self.spawn_to(out, err)

    def spawn_to(self, out: IO[bytes] | int, err: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start the process with these files as its output."""
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "server", self.command],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=functools.partial(_in_child, os.getpid()),
        )
        return self.process

    async def start(self) -> float:
        """Start, and wait until it takes connections. Returns the seconds that this took."""
        began = time.monotonic()
        self.spawn()
        await self.until_ready()
        return time.monotonic() - began

    async def until_ready(self, wait_s: float = START_S) -> None:
        deadline = time.monotonic() + wait_s
        async with self.client() as client:
            while not await _answers(client, "/readyz"):
                assert self.running, f"it ended with {self.process and self.process.returncode}; {self.output()}"
                assert time.monotonic() < deadline, f"not ready after {wait_s} s; {self.output()}"
                await asyncio.sleep(0.02)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def ended(self, wait_s: float = STOP_S) -> Ended:
        """Wait for the process to end."""
        process, began = self.process, time.monotonic()
        assert process is not None
        resting = Resting(process.pid)

        def over() -> bool:
            resting.look()
            return process.poll() is not None

        await eventually(over, wait_s, "the end")
        return Ended(process.returncode, time.monotonic() - began, resting.s)

    async def stop(self, sig: signal.Signals = signal.SIGTERM) -> Ended:
        """Ask it to end. Returns its exit code and how long it took."""
        assert self.running, self.output()
        self.process.send_signal(sig)  # type: ignore[union-attr]
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL this one process."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            await self.ended()

    # --- its output --------------------------------------------------------------------------------------------
    def _output(self, stream: str) -> Path:
        return self.folder / f"{self.command}-{self.port}-{self._runs}.{stream}"

    def _kept(self, stream: str) -> str:
        path = self._output(stream)
        return path.read_text() if path.exists() else ""  # `spawn_to` keeps nothing

    def stdout(self) -> str:
        return self._kept("stdout")

    def stderr(self) -> str:
        return self._kept("stderr")

    def output(self) -> str:
        """The last part of its output, for failure messages."""
        return f"it wrote:\n{self.stdout()[-2_000:]}\n{self.stderr()[-6_000:]}"

    # --- talking to it -----------------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {DEV_SERVICE_KEY}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10, trust_env=False, verify=NO_TLS)

    async def get(self, path: str) -> Any:
        """The JSON of a GET, which must succeed."""
        async with self.client() as client:
            response = await client.get(path)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text[:500]}; {self.output()}"
        return response.json()

    async def post(self, path: str, body: Any = None, *, put: bool = False) -> Any:
        """The JSON of a POST (or PUT), which must succeed."""
        async with self.client() as client:
            response = await client.request("PUT" if put else "POST", path, json=body)
        assert response.status_code in (200, 201), (
            f"{path}: {response.status_code} {response.text[:500]}; {self.output()}"
        )
        return response.json()

    async def coins(self, user: str) -> int:
        """A balance; asks again while the wallet store is away, as the answer says."""
        deadline = time.monotonic() + START_S
        async with self.client() as client:
            while (response := await client.get(f"/v1/wallets/{user}")).status_code == 503:
                assert time.monotonic() < deadline, self.output()
                await asyncio.sleep(0.05)
        return int(response.json()["coins"])

    async def give_coins(self, user: str, coins: int) -> None:
        await self.post(f"/v1/wallets/{user}/topups", {"id": f"t-{new_gift_id()}", "coins": coins, "source": "test"})

    async def put_room(self, room: str, *, live: bool = True, **settings: Any) -> None:
        """Create a room of host `creator`."""
        host = {"user_id": "creator", "name": "Creator"}
        await self.post(f"/v1/rooms/{room}", {"host": host, "title": room, "settings": settings}, put=True)
        if live:
            await self.post(f"/v1/rooms/{room}/start")

    async def token(self, user: str, role: str = "viewer", **more: Any) -> str:
        query = httpx.QueryParams({"user": user, "role": role, **more})
        return str((await self.get(f"/dev/token?{query}"))["token"])

    def path(self, token: str, *, room: str = "demo", since: str | None = None) -> str:
        """The path of a room's socket on this process, without scheme and host."""
        return f"/v1/rooms/{room}/ws?token={token}" + ("" if since is None else f"&since={since}")

    async def join(
        self,
        user: str = "alice",
        role: str = "viewer",
        codec: str = "json",
        since: str | None = None,
        node: "Served | None" = None,
        *,
        room: str = "demo",
    ) -> Viewer:
        """Join a room and read the welcome; on `node`, if one is given."""
        at = node or self
        path = self.path(await at.token(user, role), room=room, since=since)
        connection = await websockets.connect(
            f"ws://127.0.0.1:{at.port}{path}",
            subprotocols=[websockets.Subprotocol(f"liveroom.v1.{codec}")],
            compression=None,
            proxy=None,
            max_size=2**24,
        )
        viewer = Viewer(connection, codec)
        self.viewers.append(viewer)
        await viewer.happened("welcome")
        return viewer

    async def everybody_leaves(self) -> None:
        """Close every socket that was joined here."""
        viewers, self.viewers = self.viewers, []
        for viewer in viewers:
            await viewer.leave()


class Program(Served):
    """`python -m server run` on a data folder of its own: the supervisor and everything below it."""

    command = "run"

    def __init__(self, root: Path = ROOT, **environ: str) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="lr-", dir="/tmp")), root, **environ)
        self.data = Path(self.environ["LIVEROOM_DATA"])
        self._nodes: list[Served] = []

    def processes(self) -> dict[int, str]:
        """Every process of this data folder by pid, even orphans; the supervisor is called `run`."""
        root = self.root.resolve()
        return {pid: name for pid in _pids() if (name := _name_of(pid, self.data, root)) is not None}

    def children(self) -> dict[str, int]:
        """What runs below the supervisor, by name."""
        return {name: pid for pid, name in self.processes().items() if name != "run"}

    async def kill_child(self, name: str) -> int:
        """SIGKILL one of CHILDREN, and wait until it is gone. Returns its old pid."""
        pid = self.children()[name]
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: pid not in self.processes(), what=f"the end of {name}")
        return pid

    async def child_again(self, name: str, old_pid: int) -> int:
        """Wait until the supervisor has restarted this child. Returns its pid."""

        def restarted() -> int | None:
            pid = self.children().get(name)
            return pid if pid != old_pid else None

        return int(await eventually(restarted, what=f"a new {name}; {self.output()}"))

    async def kill_tree(self) -> None:
        """SIGKILL the supervisor and everything below it at once."""
        pids = list(self.processes())
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            await self.ended()
        await self.all_gone()

    async def all_gone(self, wait_s: float = STOP_S) -> None:
        """Wait until no process of this data folder is left."""
        await eventually(lambda: not self.processes(), wait_s, f"the end of all ({self.processes()})")

    async def second_node(self) -> Served:
        """Run `python -m server node` on the same stores and journal, on its own port, and wait until it is ready."""
        node = Served(
            self.folder,
            self.root,
            LIVEROOM_WALLET_URL=f"unix://{self.data / 'wallet.sock'}",
            LIVEROOM_ROOM_URL=f"unix://{self.data / 'room.sock'}",
            LIVEROOM_JOURNAL_URL=f"sqlite:///{self.data / 'journal.sqlite3'}",
            LIVEROOM_DATA=str(self.folder / "no-data"),
        )
        self._nodes.append(node)
        await node.start()
        return node

    async def journaled(self, user: str, refs: set[str], wait_s: float = START_S) -> list[dict[str, Any]]:
        """Wait until the journal has these gifts and top-ups of a user. Returns all entries, newest first."""
        deadline = time.monotonic() + wait_s
        while True:
            entries = await self.entries(user)
            if refs <= {entry["ref"] for entry in entries}:
                return entries
            assert time.monotonic() < deadline, f"not journaled: {refs - {e['ref'] for e in entries}}; {self.output()}"
            await asyncio.sleep(0.1)

    async def entries(self, user: str) -> list[dict[str, Any]]:
        """All journal entries of a wallet."""
        found: list[dict[str, Any]] = []
        before = ""
        for _ in range(100):
            page = await self.get(f"/v1/wallets/{user}/entries{before}")
            found += page["entries"]
            if page["next"] is None:
                return found
            before = f"?{page['next']}"
        raise AssertionError("more pages than a test makes")

    async def discard(self) -> None:
        """End everything that still runs, and delete the folder."""
        await self.everybody_leaves()
        for node in self._nodes:
            await node.kill()
        await self.kill_tree()
        shutil.rmtree(self.folder)


async def _answers(client: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await client.get(path)).status_code == 200
    except httpx.TransportError:
        return False


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _name_of(pid: int, data: Path, root: Path) -> str | None:
    """What a living process of this data folder is; None for other processes. It runs in `root`, or is a store."""
    proc = f"/proc/{pid}"
    try:
        at = os.readlink(f"{proc}/cwd")  # this is enough for most processes; one that has ended has none
        if os.path.dirname(at) == str(data):  # a store: its process title overwrites its environment
            return f"{os.path.basename(at)} store"
        if at != str(root):
            return None
        environ = Path(proc, "environ").read_bytes().split(b"\0")
        words = Path(proc, "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    if os.fsencode(f"LIVEROOM_DATA={data}") not in environ:
        return None
    if "server" in words:
        return words[words.index("server") + 1]
    return words[0].rpartition("/")[2]  # just forked, or not part of the program


def rss_bytes(pid: int) -> int:
    """The memory that a process uses."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")
