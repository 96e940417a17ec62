"""Tokens over HTTP: the host platform asks for one per person and room; in development anybody may."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import Name, RoomId, UserId
from protocol.wire import Role
from server import limits
from server.http.api import HttpError, answer, body, route


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """Who the token is for."""

    sub: UserId
    name: Name
    role: Role
    room: RoomId | None = None
    ttl_s: Annotated[int, Meta(ge=1, le=limits.TOKEN_TTL_S_MAX)] = 3600


def _sign(request: Request, new: NewToken) -> Response:
    node = request.app.state.node
    exp_s = node.clock.now_ms() / 1000 + new.ttl_s
    token = node.tokens.sign(sub=new.sub, name=new.name, role=new.role, exp_s=exp_s, room=new.room)
    return answer({"token": token})


async def make_token(request: Request) -> Response:
    return _sign(request, await body(request, NewToken))


async def dev_token(request: Request) -> Response:
    """Development only: `user`, and maybe `name`, `role`, `room`, `ttl_s`."""
    asked: dict[str, object] = {"role": "viewer", **dict(request.query_params)}
    asked["sub"] = asked.pop("user", "")
    asked.setdefault("name", str(asked["sub"]).capitalize())
    try:
        new = msgspec.convert(asked, NewToken, strict=False)
    except msgspec.ValidationError as error:
        raise HttpError(400, "bad_request", str(error)) from None
    return _sign(request, new)


def routes(development: bool) -> list[Route]:
    made = [route("/v1/tokens", make_token, method="POST", summary="A token for one person", body=NewToken)]
    if development:
        made.append(route("/dev/token", dev_token, summary="A token without a key (development only)", open=True))
    return made
