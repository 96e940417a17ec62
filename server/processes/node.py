"""The node process: uvicorn with our handshake, and a stop that tells every socket before anything is closed."""

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from types import FrameType

import structlog
import uvicorn

from server import background, limits
from server.app import Node, create_app
from server.edge.halfopen import HalfOpen
from server.edge.handshake import LiveroomWebSocket
from server.edge.patience import PatientHttp, reap
from server.processes import signals
from server.processes.listening import listen
from server.settings import Settings, Unusable

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn's server, which would send 1012 to everybody at once. Here a signal first starts the drain."""

    def __init__(self, config: uvicorn.Config, node: Node) -> None:
        super().__init__(config)
        self._node = node
        HalfOpen.of(self.server_state).exempt(node.settings.trusted_proxies)
        self._tasks = background.Tasks("node-drain")
        self._drain: asyncio.Task[None] | None = None
        self.unusable: str | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._node.leave()
        if not self.started:
            self.should_exit = True
        elif self._drain is None:
            self._drain = self._tasks.spawn(self._drain_then_exit())
        elif sig == signal.SIGINT:
            self.force_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but a node that can never serve ends again. `unusable` says why."""
        await super().startup(sockets)
        self.unusable = None if self.should_exit else self._node.refused
        self.should_exit = self.should_exit or self.unusable is not None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal, and then end the process: its threads may still wait for SQL."""
        await super().serve(sockets)
        if self.unusable is None:
            signals.end(0)

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second, but every REAP_EVERY_S it also closes requests that never end."""
        if counter % int(limits.REAP_EVERY_S * 10) == 0:
            reaped = reap(list(self.server_state.connections), asyncio.get_running_loop().time())
            if reaped:
                log.info("requests_reaped", count=reaped)
        return await super().on_tick(counter)

    async def _drain_then_exit(self) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.DRAIN_S_MAX):
                    await self._node.sessions.drain()
        finally:  # even if the drain fails, because a second signal does not start another
            self.should_exit = True


def raise_file_limit() -> None:
    """Allow this process as many sockets as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def uvicorn_config(node: Node) -> uvicorn.Config:
    """How uvicorn serves a node."""
    return uvicorn.Config(
        create_app(node),
        ws=LiveroomWebSocket,
        http=PatientHttp,
        loop="uvloop",
        proxy_headers=False,  # edge/proxies.py says whom to believe
        timeout_keep_alive=limits.KEEP_ALIVE_S,
        ws_ping_interval=None,  # the wheel pings
        ws_ping_timeout=None,
        ws_per_message_deflate=False,  # never a deflate context per socket
        access_log=False,  # URLs contain tokens
        log_config=None,  # the root logger has our handler
        log_level="warning",
        timeout_graceful_shutdown=int(limits.DRAIN_S_MAX) or 1,
        lifespan="on",
        backlog=limits.BACKLOG,
    )


def run(settings: Settings) -> None:
    """Serve until a signal. Raises Unusable."""
    raise_file_limit()
    node = Node(settings)
    config = uvicorn_config(node)
    listeners = [listen(settings, shared=settings.worker is not None)]
    if settings.own_port is not None:
        listeners.append(listen(settings, settings.own_port))
    node.sessions.crowd.watch(tuple(listeners))
    listeners += [each.dup() for each in tuple(listeners) for _ in range(limits.ACCEPTS_PER_TURN - 1)]
    gc.collect()
    gc.freeze()  # everything loaded so far stays, so full collections can skip it
    gc.set_threshold(50_000, 50, 100)
    server = Server(config, node)
    for each in signals.that_stop():  # uvicorn handles two of them
        signal.signal(each, server.handle_exit)
    server.run(sockets=listeners)
    if server.unusable is not None:
        raise Unusable(server.unusable)
