"""Creators over HTTP: what they have earned."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.api import answer, route, user_id_of


async def earnings(request: Request) -> Response:
    return answer(await request.app.state.node.earnings.of(user_id_of(request)))


def routes() -> list[Route]:
    return [route("/v1/creators/{user}/earnings", earnings, summary="A creator's diamonds: pending, available, debt")]
