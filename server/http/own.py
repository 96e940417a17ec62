"""Own figures: people reach theirs with their own token, and the service key reaches everybody's."""

from collections.abc import Collection
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from server.clock import Clock
from server.http.api import Endpoint, HttpError, bearer, route, user_id_of
from server.rooms.revocations import Revocations
from server.tokens import BadToken, Tokens

CREATORS = ("host",)
VIEWERS = ("viewer", "moderator", "host")


class Own:
    """Makes routes under `/{user}/` that this user may read, too."""

    def __init__(self, tokens: Tokens, revocations: Revocations, clock: Clock) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self._clock = clock

    def route(self, path: str, endpoint: Endpoint, roles: Collection[str], **more: Any) -> Route:
        """A route for the service key, and for tokens of these roles whose `sub` is the user of the path."""
        return route(path, endpoint, also=lambda request: self._check(request, roles), **more)

    def _check(self, request: Request, roles: Collection[str]) -> None:
        """Raises HttpError unless the token is good, and this person's own."""
        try:
            claims = self._tokens.check(bearer(request), self._clock.now_ms() / 1000)
        except BadToken:
            raise HttpError(401, "unauthorized", "Neither the service key nor a good token.") from None
        if self._revocations.hold(claims.sub, claims.room or "", claims.minted_ms):
            raise HttpError(403, "revoked", "This token was revoked.")
        if claims.role not in roles or claims.sub != user_id_of(request):
            raise HttpError(403, "not_yours", "With a token one sees only what is one's own.")
