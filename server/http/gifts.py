"""The gift catalogue over HTTP."""

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.gifts import Gift
from server.catalogue import Catalogue
from server.http.api import HttpError, answer, route
from server.settings import Unusable


class CatalogueShown(Struct, frozen=True):
    """Which catalogue this node has now."""

    version: str
    gifts: int


def routes(catalogue: Catalogue) -> list[Route]:
    async def show(_request: Request) -> Response:
        return answer(catalogue.gifts, headers={"Cache-Control": "max-age=60", "ETag": f'"{catalogue.version}"'})

    async def reload(_request: Request) -> Response:
        try:
            catalogue.reload()
        except Unusable as error:
            raise HttpError(409, "bad_catalogue", f"{error} The old catalogue stays.") from None
        return answer(CatalogueShown(catalogue.version, len(catalogue.gifts)))

    return [
        route("/v1/gifts", show, summary="The gift catalogue", gives=list[Gift], open=True),
        route(
            "/v1/catalogue/reload",
            reload,
            method="POST",
            summary="Read the catalogue's file again",
            gives=CatalogueShown,
        ),
    ]
