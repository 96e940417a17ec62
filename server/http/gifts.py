"""The gift catalogue over HTTP."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.api import answer, route


async def catalogue(request: Request) -> Response:
    return answer(list(request.app.state.node.catalogue.values()), headers={"Cache-Control": "max-age=60"})


def routes() -> list[Route]:
    return [route("/v1/gifts", catalogue, summary="The gift catalogue", open=True)]
