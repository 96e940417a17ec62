"""Creators over HTTP: what they have earned."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.api import answer, route, user_id_of
from server.journal.earnings import Earnings, Figures


def routes(earnings: Earnings) -> list[Route]:
    async def show(request: Request) -> Response:
        return answer(await earnings.of(user_id_of(request)))

    return [route("/v1/creators/{user}/earnings", show, summary="A creator's diamonds", gives=Figures)]
