"""Everything on one machine: embedded stores, journal and nodes, each a child process that is restarted."""

import asyncio
import contextlib
import fcntl
import functools
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import structlog
from rich.console import Console
from rich.markup import escape

from server import background, limits, logs
from server.processes import signals
from server.processes.listening import listen
from server.settings import Settings, Unusable, child_environment
from server.store import embedded, keys
from server.store.client import Store, StoreError
from server.store.embedded import ROOM, WALLET, StoreKind

log = structlog.get_logger()


class Child:
    """One supervised process. When it dies, it is restarted after a growing pause."""

    def __init__(
        self, name: str, command: Callable[[], list[str]], environment: dict[str, str], inherited: tuple[int, ...]
    ) -> None:
        self.name = name
        self.needed = True  # nothing is live without it; False once it was: then it is started again, whatever it says
        self._command = command
        self._environment = environment
        self._inherited = inherited
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.failed_code: int | None = None
        self.stopped_in_order = False

    async def start(self) -> None:
        await self._try_to_spawn()
        self._task = background.forever(self.name, self._keep)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def _try_to_spawn(self) -> None:
        """Start the process. If the system has no room for one now, say so: `_keep` tries again."""
        try:
            await self._spawn()
        except OSError as error:
            self._process = None
            log.warning("child_not_started", child=self.name, error=str(error))

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command(),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops everything in order
            preexec_fn=functools.partial(embedded.die_with_parent, os.getpid()),  # safe: one thread, and only prctl
            pass_fds=self._inherited,
        )

    async def _keep(self) -> None:
        pause_s = limits.RESTART_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = None if self._process is None else await self._process.wait()
            if self._stopping:
                return
            if code == 2 and self.needed:  # it said why in one sentence, and a restart would fail the same way
                self.failed_code = code
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if loop.time() - began > limits.RESTART_S_MAX:
                pause_s = limits.RESTART_S
            if code is not None:
                log.warning("child_died", child=self.name, code=code, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.RESTART_S_MAX)
            if self._stopping:
                return
            await self._try_to_spawn()

    async def stop(self, timeout_s: float) -> None:
        """Ask the process to end. Kill it after `timeout_s`."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            await self._end_keeping()
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                self.stopped_in_order = await process.wait() == 0
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._end_keeping()

    async def _end_keeping(self) -> None:
        await background.end(self._task)


class DataFolder:
    """The data folder, which no other supervisor may use while we or our children run.

    There are two locks. `lock` is the supervisor's: another supervisor is refused at once. The children inherit
    `children.lock`: after a supervisor was killed, the next one waits for the children that it left behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: IO[str] | None = None
        self._children: IO[str] | None = None

    async def take(self) -> None:
        """Lock the folder. Raises Unusable when it is not writable or another server uses it."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._own = (self._path / "lock").open("a+")
            self._children = (self._path / "children.lock").open("a+")
            probe = self._path / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise Unusable(f"The data folder {self._path} cannot be written: {error.strerror}.") from None
        await self._lock(self._own, 0)
        await self._lock(self._children, limits.LEFTOVERS_S_MAX)

    async def _lock(self, file: IO[str], patience_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise Unusable(f"The data folder {self._path} is in use by another Liveroom.") from None
            await asyncio.sleep(limits.STORE_RETRY_S)

    @property
    def held(self) -> tuple[int, ...]:
        """The file descriptors that children inherit."""
        return (self._children.fileno(),) if self._children is not None else ()


class Ready:
    """Whether a child has written to the pipe that it inherits: it does so once it has begun its work."""

    def __init__(self) -> None:
        self._hears = self.tells = -1
        self.ready = False

    def listen(self) -> None:
        """Open the pipe. Children inherit `tells`, also those that are started again."""
        self._hears, self.tells = os.pipe()
        asyncio.get_running_loop().add_reader(self._hears, self._heard)

    def _heard(self) -> None:
        os.read(self._hears, select.PIPE_BUF)
        self.ready = True

    def close(self) -> None:
        if self._hears >= 0:
            asyncio.get_running_loop().remove_reader(self._hears)
            os.close(self._hears)
            os.close(self.tells)


class Supervisor:
    """Starts the children in order, restarts those that die, and stops them in reverse order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = DataFolder(settings.data)
        self._stopping = asyncio.Event()
        self._children: list[Child] = []
        self._nodes: list[Child] = []
        self._stores: list[tuple[StoreKind, Child]] = []
        self._tasks = background.Tasks("supervisor")
        self._journal = Ready()

    async def run(self) -> int:
        """Run until a signal, however far the start is. Return the exit code. Raises Unusable."""
        loop = asyncio.get_running_loop()
        for each in signals.that_stop():
            loop.add_signal_handler(each, self._stopping.set)
        starting, asked = self._tasks.share(self._start()), self._tasks.share(self._stopping.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                await starting
                await asked
        finally:
            await self._tasks.end()
            await self._stop_all()
            self._journal.close()
        return next((child.failed_code for child in self._children if child.failed_code), 0)

    async def _start(self) -> None:
        """Start everything, and say where it is once it is live. Raises Unusable."""
        await self._folder.take()
        for port in self._ports():  # report a taken port before anything starts
            listen(self._settings, port).close()
        if self._settings.metrics_port in self._ports():
            raise Unusable(f"LIVEROOM_METRICS_PORT is {self._settings.metrics_port}, which is a node's port.")
        await self._start_all()
        await self._until_ready()
        for child in self._children:
            child.needed = False
        self._say_where()

    async def _start_all(self) -> None:
        for kind, url in ((WALLET, self._settings.wallet_url), (ROOM, self._settings.room_url)):
            if url is None:
                await self._start_store(kind)
        self._journal.listen()
        await self._start_part(
            "journal", "journal", "--ready-fd", str(self._journal.tells), inherited=(self._journal.tells,)
        )
        if self._settings.workers == 1:
            self._nodes.append(await self._start_part("node", "node"))
            return
        for number in range(self._settings.workers):
            self._nodes.append(await self._start_part("node", f"node {number + 1}", "--worker", str(number)))

    async def _start_part(self, part: str, name: str, *args: str, inherited: tuple[int, ...] = ()) -> Child:
        """Start a part of this program as a separate process."""
        environment = child_environment(keeps_memory=part != "node", PYTHONUNBUFFERED="1")
        line = [sys.executable, "-m", "server", part, *args]
        child = Child(name, lambda: line, environment, (*self._folder.held, *inherited))
        await self._start_child(child)
        return child

    def _ports(self) -> list[int]:
        """The shared port, and each worker's own."""
        own = range(self._settings.workers) if self._settings.workers > 1 else ()
        return [self._settings.port, *(self._settings.port + 1 + worker for worker in own)]

    async def _start_child(self, child: Child) -> None:
        self._children.append(child)
        await child.start()

    async def _start_store(self, kind: StoreKind) -> None:
        socket = embedded.socket_path(kind, self._settings)
        with contextlib.suppress(FileNotFoundError):
            socket.unlink()  # left by a run that was killed; the folder's lock says that it has ended
        whole = embedded.take_mark(kind, self._settings)
        name, environment = f"{kind.name} store", child_environment()
        child = Child(name, lambda: embedded.command(kind, self._settings), environment, self._folder.held)
        await self._start_child(child)
        self._stores.append((kind, child))
        if whole and kind is ROOM:
            await self._say_whole()

    async def _say_whole(self) -> None:
        """Tell the room store that it lost nothing: rooms then keep their epochs, and clients resume without a gap."""
        store = Store("room", self._settings.room_address)
        await store.start()
        try:
            with contextlib.suppress(StoreError):
                await store.wait_up(limits.STORE_START_S)
                await store.call("SET", keys.ROOM_STORE_WHOLE, store.identity)
        finally:
            await store.stop()

    async def _until_ready(self) -> None:
        """Wait until the nodes take newcomers and the journal journals. If they do not, their log says why."""
        loop = asyncio.get_running_loop()
        reported_at = loop.time()
        while True:
            waiting = [] if self._journal.ready else ["journal"]
            waiting += [f"port {port}" for port in self._ports() if not await self._ready(port)]
            if not waiting:
                return
            if loop.time() - reported_at > limits.READY_S:
                reported_at = loop.time()
                log.error("not_live_yet", waits_for=", ".join(waiting), see="the log above")
            await asyncio.sleep(limits.STORE_RETRY_S)

    async def _ready(self, port: int) -> bool:
        try:
            reader, writer = await asyncio.open_connection(_reachable(self._settings.host), port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(1.0):
                status = await reader.readline()
            writer.close()
        except (OSError, TimeoutError):
            return False
        return b" 200 " in status

    async def _stop_all(self) -> None:
        """Stop the nodes first, together, so that the journal and the stores get their last gifts."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.STOP_S_MAX
        await asyncio.gather(*(node.stop(limits.STORE_STOP_S) for node in self._nodes))
        for child in reversed([child for child in self._children if child not in self._nodes]):
            await child.stop(max(0.2, min(deadline - loop.time(), limits.STORE_STOP_S)))
        for kind, child in self._stores:
            if child.stopped_in_order:
                embedded.mark_stopped(kind, self._settings)

    def _say_where(self) -> None:
        console = Console(file=logs.Lines(logs.STDOUT), highlight=False, soft_wrap=True)  # type: ignore[arg-type]
        at = f"http://{_reachable(self._settings.host)}:{self._settings.port}"
        console.print(
            "\n[bold]Liveroom is live[/bold]", f"({self._settings.mode}, data in {escape(str(self._settings.data))})"
        )
        if self._settings.development:
            console.print(f"  watch      {at}/watch/demo       (another viewer: {at}/watch/demo?user=bob)")
            console.print(f"  overlay    {at}/overlay/demo     (an OBS browser source)")
            console.print(f"  API        {at}/v1/openapi.json  (service key: {self._settings.service_key})")
        else:
            console.print(f"  API        {at}/v1/openapi.json")
        console.print("  Ctrl-C stops it; the data stays.\n")


def _reachable(host: str) -> str:
    """The address to connect to from this machine, for one that it listens on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def run(settings: Settings) -> int:
    """Serve until a signal. Return the exit code. Raises Unusable."""

    async def main() -> int:
        return await Supervisor(settings).run()

    return asyncio.run(main())
