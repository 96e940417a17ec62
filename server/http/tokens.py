"""Tokens over HTTP: the host platform requests one per person and room; in development anybody may."""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import NAME_CHARS_MAX, Name, PersonId, RoomId
from protocol.wire import Role
from server import limits
from server.clock import Clock
from server.http.api import answer, body, query, route, shown
from server.tokens import NO_FACTS, Badges, Facts, Tokens


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """Who the token is for."""

    sub: PersonId
    name: Name
    role: Role
    room: RoomId | None = None
    ttl_s: Annotated[int, Meta(ge=1, le=limits.TOKEN_TTL_S_MAX)] = 3600
    facts: Facts = NO_FACTS
    badges: Badges = ()


class DevToken(Struct, frozen=True, forbid_unknown_fields=True):
    """Who a development token is for. `name` is made from `user` unless it is given."""

    user: PersonId
    name: Name | None = None
    role: Role = "viewer"
    room: RoomId | None = None
    ttl_s: Annotated[int, Meta(ge=1, le=limits.TOKEN_TTL_S_MAX)] = 3600


class Token(Struct, frozen=True):
    """A signed token (JWT)."""

    token: str


class _Tokens:
    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def make(self, request: Request) -> Response:
        return self._sign(await body(request, NewToken))

    async def dev(self, request: Request) -> Response:
        """Development only."""
        asked = query(request, DevToken)
        name = asked.name or asked.user.capitalize()[:NAME_CHARS_MAX]
        return self._sign(NewToken(asked.user, name, asked.role, asked.room, asked.ttl_s))

    def _sign(self, new: NewToken) -> Response:
        name = shown("name", new.name, NAME_CHARS_MAX)
        now_s = self._clock.now_ms() / 1000
        token = self._tokens.sign(
            sub=new.sub,
            name=name,
            role=new.role,
            exp_s=now_s + new.ttl_s,
            room=new.room,
            facts=new.facts,
            badges=new.badges,
            iat_s=now_s,
        )
        return answer(Token(token))


def routes(tokens: Tokens, clock: Clock, development: bool) -> list[Route]:
    endpoints = _Tokens(tokens, clock)
    found = [
        route("/v1/tokens", endpoints.make, method="POST", summary="A token for one person", body=NewToken, gives=Token)
    ]
    if development:
        summary = "A token without a key (development only)"
        found.append(
            route("/dev/token", endpoints.dev, summary=summary, query=DevToken, gives=Token, open=True, shared=False)
        )
    return found
