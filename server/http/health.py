"""Whether the node is alive, whether it is ready, and its metrics."""

from collections.abc import Callable

from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.api import answer, route

Parts = Callable[[], dict[str, bool]]
Degraded = Callable[[], dict[str, str]]


class Alive(Struct, frozen=True):
    """The process answers."""

    status: str


class Ready(Struct, frozen=True):
    """Whether the node takes newcomers (`ready`, `draining`, `waiting`), which stores answer, and what is degraded."""

    status: str
    room_store: bool
    bus: bool
    wallet_store: bool
    degraded: dict[str, str]


class _Health:
    def __init__(
        self, parts: Parts, degraded: Degraded, draining: Callable[[], bool], registry: CollectorRegistry
    ) -> None:
        self._parts = parts
        self._degraded = degraded
        self._draining = draining
        self._registry = registry

    async def healthz(self, _request: Request) -> Response:
        return answer(Alive("ok"))

    async def readyz(self, _request: Request) -> Response:
        """Ready while the node takes newcomers. The wallet store may be away: chat goes on without it.

        What is degraded is named but fails nothing: a load balancer that sent nobody here would make it worse.
        """
        parts = self._parts()
        ready = not self._draining() and parts["room_store"] and parts["bus"]
        state = "draining" if self._draining() else "ready" if ready else "waiting"
        return answer(Ready(status=state, **parts, degraded=self._degraded()), 200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        return shown(self._registry)


def shown(registry: CollectorRegistry) -> Response:
    """The metrics as Prometheus reads them."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def routes(parts: Parts, degraded: Degraded, draining: Callable[[], bool], registry: CollectorRegistry) -> list[Route]:
    """The routes. `parts` says by name which store answers, `degraded` what is worse than it should be, and how."""
    health = _Health(parts, degraded, draining, registry)
    return [
        route("/healthz", health.healthz, summary="Alive", gives=Alive, open=True),
        route("/readyz", health.readyz, summary="Ready for newcomers", gives=Ready, statuses=(200, 503), open=True),
        route("/metrics", health.metrics, summary="Prometheus metrics", gives=str, open_here=True),
    ]
