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
from server.http.api import HttpError, answer, body, query, route, shown
from server.journal.revocations import TooManyRevocations
from server.rooms.revocations import Revocations
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


class NewTokens(Struct, frozen=True, forbid_unknown_fields=True):
    """Who each token is for."""

    tokens: Annotated[tuple[NewToken, ...], Meta(min_length=1, max_length=limits.TOKENS_BATCH_MAX)]


class MadeTokens(Struct, frozen=True):
    """The signed tokens, in the order of the request."""

    tokens: tuple[str, ...]


class Revoke(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens are no longer good: in one room, or everywhere."""

    user_id: PersonId
    room: RoomId | None = None


class Revoked(Struct, frozen=True):
    """Tokens that were minted up to `revoked_ms` are no longer good, nor those that do not say when they were."""

    user_id: str
    room: str | None
    revoked_ms: int


class _Tokens:
    def __init__(self, tokens: Tokens, clock: Clock, revocations: Revocations) -> None:
        self._tokens = tokens
        self._clock = clock
        self._revocations = revocations

    async def make(self, request: Request) -> Response:
        return answer(Token(self._sign(await body(request, NewToken))))

    async def batch(self, request: Request) -> Response:
        """All of them or none."""
        return answer(MadeTokens(tuple(map(self._sign, (await body(request, NewTokens)).tokens))))

    async def revoke(self, request: Request) -> Response:
        asked = await body(request, Revoke)
        try:
            revoked_ms = await self._revocations.revoke(asked.user_id, asked.room)
        except TooManyRevocations:
            raise HttpError(409, "too_many_revocations", "As many are kept as nodes can; none was written.") from None
        return answer(Revoked(asked.user_id, asked.room, revoked_ms))

    async def dev(self, request: Request) -> Response:
        """Development only."""
        asked = query(request, DevToken)
        name = asked.name or asked.user.capitalize()[:NAME_CHARS_MAX]
        return answer(Token(self._sign(NewToken(asked.user, name, asked.role, asked.room, asked.ttl_s))))

    def _sign(self, new: NewToken) -> str:
        name = shown("name", new.name, NAME_CHARS_MAX)
        now_s = self._clock.now_ms() / 1000
        return self._tokens.sign(
            sub=new.sub,
            name=name,
            role=new.role,
            exp_s=now_s + new.ttl_s,
            room=new.room,
            facts=new.facts,
            badges=new.badges,
            iat_s=now_s,
        )


def routes(tokens: Tokens, clock: Clock, revocations: Revocations, development: bool) -> list[Route]:
    endpoints, path = _Tokens(tokens, clock, revocations), "/v1/tokens"
    about = f"Up to {limits.TOKENS_BATCH_MAX} tokens, all or none"
    ends = "Revoke somebody's tokens, and close their sockets"
    found = [
        route(path, endpoints.make, method="POST", summary="A token for one person", body=NewToken, gives=Token),
        route(f"{path}/batch", endpoints.batch, method="POST", summary=about, body=NewTokens, gives=MadeTokens),
        route(f"{path}/revoke", endpoints.revoke, method="POST", summary=ends, body=Revoke, gives=Revoked),
    ]
    if development:
        summary = "A token without a key (development only)"
        found.append(
            route("/dev/token", endpoints.dev, summary=summary, query=DevToken, gives=Token, open=True, shared=False)
        )
    return found
