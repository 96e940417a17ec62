"""The journal process's metrics, on a port of its own: how far it is behind, its audits, and what its tasks raise."""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog
import uvicorn
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import background, limits, metrics
from server.clock import Clock
from server.edge.patience import PatientHttp, reap
from server.http.health import shown
from server.journal.drain import Drain
from server.journal.watch import AuditWatch
from server.payouts.runner import ALARMED
from server.processes.listening import listen
from server.rooms.history import History
from server.settings import Settings, Unusable

log = structlog.get_logger()


class Figures:
    """Serves `GET /metrics`. Without its port the journal goes on all the same: money must not wait for figures."""

    def __init__(self, drain: Drain, history: History, engine: Engine, clock: Clock) -> None:
        self._watch = AuditWatch(engine, clock)
        self.registry = metrics.registry(self._readings(drain, history), background.FAILURES, ALARMED)
        self._server: _Server | None = None
        self._tasks = background.Tasks("metrics")

    def _readings(self, drain: Drain, history: History) -> metrics.Readings:
        read = metrics.Readings()
        read.gauge("drain_lag_ms", "How long ago SQL last had the whole log.", lambda: drain.lag_s * 1000)
        read.counter("drain_entries", "Ledger entries moved to SQL.", lambda: drain.journaled)
        read.gauge("drain_partitions_frozen", "Partitions with entries that do not fit.", lambda: len(drain.stuck))
        read.gauge("drain_partitions_unread", "Partitions whose log cannot be read.", lambda: len(drain.unread))
        read.gauge("drain_partitions_waiting", "Partitions that no node has opened yet.", lambda: drain.waiting)
        read.counter("gifts_retold", "Gifts that no node had shown.", lambda: drain.retold)
        read.counter(
            "gifts_of_another_broadcast",
            "Gifts that were not shown because the next broadcast had begun.",
            lambda: history.other_broadcast,
        )
        self._watch.register(read)
        return read

    async def start(self, settings: Settings) -> None:
        """Listen, unless the port is taken or 0."""
        await self._watch.start()
        if settings.metrics_port == 0:
            return
        try:
            listener = listen(settings, settings.metrics_port)
        except Unusable as unusable:
            log.error("metrics_not_served", why=str(unusable))
            return

        async def answer(_request: Request) -> Response:
            return shown(self.registry)

        app = Starlette(routes=[Route("/metrics", answer)])
        config = uvicorn.Config(
            app, http=PatientHttp, ws="none", access_log=False, log_level="warning", log_config=None, lifespan="off"
        )
        self._server = _Server(config)
        self._tasks.spawn(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.should_exit = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.CLOSE_LINGER_S):
                    await self._tasks.wait()
        await self._tasks.end()
        await self._watch.stop()


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the journal and closes requests that never end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % int(limits.REAP_EVERY_S * 10) == 0:
            reap(list(self.server_state.connections), asyncio.get_running_loop().time())
        return await super().on_tick(counter)
