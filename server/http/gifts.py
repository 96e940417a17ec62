"""The gift catalogue over HTTP."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.gifts import Gift
from server.http.api import answer, route


def routes(catalogue: Mapping[str, Gift]) -> list[Route]:
    async def show(_request: Request) -> Response:
        return answer(list(catalogue.values()), headers={"Cache-Control": "max-age=60"})

    return [route("/v1/gifts", show, summary="The gift catalogue", gives=list[Gift], open=True)]
