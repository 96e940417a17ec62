"""The pages and their files: plain HTML, CSS and ES modules, under a strict content security policy."""

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

import protocol

WEB = Path(__file__).parents[1] / "web"
SHARED = WEB / "shared"
CLIENT = Path(protocol.__file__).parent / "web"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the page's URL may contain a token
    "Cache-Control": "no-cache",
}
TYPES = {".js": "text/javascript", ".ts": "text/plain"}  # the system takes .ts for a video


class Files(StaticFiles):
    """Static files with the pages' headers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        await super().__call__(scope, receive, with_headers)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        if (media_type := TYPES.get(Path(full_path).suffix)) and "content-type" in response.headers:  # a 304 has none
            response.headers["content-type"] = f"{media_type}; charset=utf-8"
        return response


def preloads(folder: Path) -> str:
    """Every module of a page, so that a browser fetches them all at once, and not one after the other."""
    owners = ((WEB, folder), (WEB, SHARED), (CLIENT, CLIENT))
    paths = [path.relative_to(top).as_posix() for top, below in owners for path in sorted(below.rglob("*.js"))]
    return ", ".join(f"</web/{path}>; rel=modulepreload" for path in paths)


def page(folder: Path) -> Route:
    """Serve the folder's index.html at `/<folder>/{room}`, for any room."""
    headers = {**HEADERS, "Link": preloads(folder)}

    async def show(_request: Request) -> Response:
        return FileResponse(folder / "index.html", headers=headers)

    return Route(f"/{folder.name}/{{room}}", show)


async def home(_request: Request) -> Response:
    return RedirectResponse("/watch/demo")


def routes(development: bool) -> list[BaseRoute]:
    """A route for each folder with a page, and for all files. `/web/liveroom.js` comes from the protocol package."""
    found: list[BaseRoute] = [
        *(page(index.parent) for index in sorted(WEB.glob("*/index.html"))),
        Mount("/web/gifts", Files(directory=SHARED / "gifts")),  # catalogues and stored events have these addresses
        Mount("/web", Files(directory=WEB, packages=[("protocol", "web")])),
    ]
    return [Route("/", home), *found] if development else found
