"""The pages and their files: plain HTML, CSS and ES modules, under a strict content security policy."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

import protocol

WEB = Path(__file__).parents[1] / "web"
CLIENT = Path(protocol.__file__).parent / "web" / "liveroom.js"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a token may stand in the page's address
    "Cache-Control": "no-cache",
}


class Files(StaticFiles):
    """Static files with the pages' headers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        await super().__call__(scope, receive, with_headers)


async def watch(_request: Request) -> Response:
    return FileResponse(WEB / "watch.html", headers=HEADERS)


async def overlay(_request: Request) -> Response:
    return FileResponse(WEB / "overlay.html", headers=HEADERS)


async def client(_request: Request) -> Response:
    return FileResponse(CLIENT, headers=HEADERS, media_type="text/javascript")


async def home(_request: Request) -> Response:
    return RedirectResponse("/watch/demo")


def routes(development: bool) -> list[BaseRoute]:
    found: list[BaseRoute] = [
        Route("/watch/{room}", watch),
        Route("/overlay/{room}", overlay),
        Route("/web/liveroom.js", client),
        Mount("/web", Files(directory=WEB)),
    ]
    return [Route("/", home), *found] if development else found
