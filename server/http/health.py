"""Is it alive, is it ready, how is it doing."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.api import answer, route


async def healthz(_request: Request) -> Response:
    return answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Ready while it takes newcomers; money may be away, chat goes on."""
    node = request.app.state.node
    parts = {"room_store": node.room_store.up, "bus": node.fanout.up, "wallet_store": node.wallet.up}
    ready = not node.sessions.draining and parts["room_store"] and parts["bus"]
    state = "draining" if node.sessions.draining else "ready" if ready else "waiting"
    return answer({"status": state, **parts}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.node.registry), media_type=CONTENT_TYPE_LATEST)


def routes() -> list[Route]:
    return [
        route("/healthz", healthz, summary="Alive", open=True),
        route("/readyz", readyz, summary="Ready for newcomers", open=True),
        route("/metrics", metrics, summary="Prometheus metrics", open=True),
    ]
