"""Tokens say who somebody is, signed (JWT, RFC 7519). Only HS256 is accepted, so a header cannot choose another."""

from typing import Annotated, Any

import jwt
import msgspec
from msgspec import Meta, Struct

from protocol.ids import NAME_CHARS_MAX, Name, PersonId, RoomId
from protocol.wire import Role
from server import limits
from server.text import NotSeen, clean


class BadToken(Exception):
    """The token was not issued by us, or has expired. The text says which."""


class ExpiredToken(BadToken):
    """It was good before."""


class Claims(Struct, frozen=True):
    """What a token says."""

    sub: PersonId
    name: Name
    role: Role
    exp: Annotated[float, Meta(gt=0)]
    room: RoomId | None = None


class Tokens:
    """Signs and checks tokens with one secret. `now_s` is the wall clock in seconds."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def sign(self, *, sub: str, name: str, role: Role, exp_s: float, room: str | None = None) -> str:
        claims: dict[str, Any] = {"sub": sub, "name": name, "role": role, "exp": int(exp_s)}
        if room is not None:
            claims["room"] = room
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def check(self, token: str, now_s: float) -> Claims:
        """The claims of a good token. Raises BadToken."""
        if len(token) > limits.TOKEN_BYTES_MAX:
            raise BadToken("the token is too long")
        try:
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={
                    "require": ["exp", "sub"],
                    "verify_exp": False,
                    "verify_aud": False,
                    "verify_iat": False,
                },
            )
            claims = msgspec.convert(payload, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, RecursionError):
            raise BadToken("the token is not valid") from None
        if claims.exp <= now_s:
            raise ExpiredToken("the token has expired")
        return msgspec.structs.replace(claims, name=_shown_name(claims))


def _shown_name(claims: Claims) -> str:
    """The name as others see it; the user id for a name of which they would see nothing."""
    try:
        return clean(claims.name, NAME_CHARS_MAX)
    except NotSeen:
        return claims.sub
