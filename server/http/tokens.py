"""Tokens over HTTP: the host platform requests one per person and room; in development anybody may."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import NAME_CHARS_MAX, Name, PersonId, RoomId
from protocol.wire import Role
from server import limits
from server.clock import Clock
from server.http.api import HttpError, answer, body, route, shown
from server.tokens import Tokens


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """Who the token is for."""

    sub: PersonId
    name: Name
    role: Role
    room: RoomId | None = None
    ttl_s: Annotated[int, Meta(ge=1, le=limits.TOKEN_TTL_S_MAX)] = 3600


class _Tokens:
    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def make(self, request: Request) -> Response:
        return self._sign(await body(request, NewToken))

    async def dev(self, request: Request) -> Response:
        """Development only. The query has `user`, and optionally `name`, `role`, `room`, `ttl_s`."""
        asked: dict[str, object] = {"role": "viewer", **dict(request.query_params)}
        asked["sub"] = asked.pop("user", "")
        asked.setdefault("name", str(asked["sub"]).capitalize())
        try:
            new = msgspec.convert(asked, NewToken, strict=False)
        except msgspec.ValidationError as error:
            raise HttpError(400, "bad_request", str(error)) from None
        return self._sign(new)

    def _sign(self, new: NewToken) -> Response:
        name = shown("name", new.name, NAME_CHARS_MAX)
        exp_s = self._clock.now_ms() / 1000 + new.ttl_s
        token = self._tokens.sign(sub=new.sub, name=name, role=new.role, exp_s=exp_s, room=new.room)
        return answer({"token": token})


def routes(tokens: Tokens, clock: Clock, development: bool) -> list[Route]:
    endpoints = _Tokens(tokens, clock)
    found = [route("/v1/tokens", endpoints.make, method="POST", summary="A token for one person", body=NewToken)]
    if development:
        found.append(route("/dev/token", endpoints.dev, summary="A token without a key (development only)", open=True))
    return found
