"""Tokens say who somebody is, signed (JWT, RFC 7519). Only HS256 is accepted, so a header cannot choose another.

We check them ourselves: everybody who joins brings one, and PyJWT takes eight times as long (tests/test_tokens.py
holds us to its verdicts, `python -m loadtest bench joins` shows the cost).
"""

import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

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


Moment = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Badge = Annotated[str, Meta(min_length=1, max_length=limits.BADGE_CHARS_MAX)]
Badges = Annotated[tuple[Badge, ...], Meta(max_length=limits.BADGES_MAX)]


class Facts(Struct, frozen=True, omit_defaults=True):
    """What the host platform knows of somebody, so that no rule has to ask for it. Times are Unix ms."""

    follower_since_ms: Moment | None = None
    account_since_ms: Moment | None = None
    club_since_ms: Moment | None = None
    region: Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)")] | None = None
    adult: bool = False
    level: Annotated[int, Meta(ge=0, le=1_000)] = 0


NO_FACTS = Facts()


class Claims(Struct, frozen=True):
    """What a token says."""

    sub: PersonId
    name: Name
    role: Role
    exp: Annotated[float, Meta(gt=0)]
    room: RoomId | None = None
    facts: Facts = NO_FACTS
    badges: Badges = ()
    iat: Annotated[float, Meta(ge=0, le=2**43)] | None = None

    @property
    def minted_ms(self) -> int | None:
        """When it was made, as far as it says so."""
        return None if self.iat is None else int(self.iat * 1000)


class _Signed(Claims, frozen=True):
    nbf: float = 0.0  # not before, in seconds


class _Header(Struct, frozen=True):
    alg: Literal["HS256"]
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")
_SIGNED = msgspec.json.Decoder(_Signed)
_NOT_VALID = "the token is not valid"


class Tokens:
    """Signs and checks tokens with one secret. `now_s` is the wall clock in seconds."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._key = secret.encode()

    def sign(
        self,
        *,
        sub: str,
        name: str,
        role: Role,
        exp_s: float,
        room: str | None = None,
        facts: Facts = NO_FACTS,
        badges: Sequence[str] = (),
        iat_s: float | None = None,
    ) -> str:
        claims: dict[str, Any] = {"sub": sub, "name": name, "role": role, "exp": int(exp_s)}
        said = {"room": room, "facts": msgspec.to_builtins(facts), "badges": list(badges)}
        said["iat"] = iat_s and round(iat_s, 3)  # so that a token which follows a revocation is good at once
        claims |= {name: value for name, value in said.items() if value}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def mask(self, *parts: str) -> str:
        """A name for what nobody may know, the same on every node of the site."""
        said = "\x1f".join(parts).encode()
        return hashlib.blake2b(said, key=self._key[:64], digest_size=16).hexdigest()

    def check(self, token: str, now_s: float) -> Claims:
        """The claims of a good token. Raises BadToken."""
        if len(token) > limits.TOKEN_BYTES_MAX:
            raise BadToken("the token is too long")
        parts = _TOKEN.fullmatch(token)
        if parts is None or not _header_is_ours(parts[1]):
            raise BadToken(_NOT_VALID)
        signature = hmac.digest(self._key, token[: parts.end(2)].encode(), "sha256")
        if not hmac.compare_digest(base64.urlsafe_b64encode(signature)[:-1], parts[3].encode()):
            raise BadToken(_NOT_VALID)
        try:
            claims = _SIGNED.decode(_decoded(parts[2]))
        except (ValueError, RecursionError):
            raise BadToken(_NOT_VALID) from None
        if claims.nbf > now_s:
            raise BadToken(_NOT_VALID)
        if claims.exp <= now_s:
            raise ExpiredToken("the token has expired")
        return Claims(
            claims.sub,
            _shown_name(claims),
            claims.role,
            claims.exp,
            claims.room,
            claims.facts,
            claims.badges,
            claims.iat,
        )


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@functools.lru_cache(maxsize=16)  # an issuer's tokens all have the same
def _header_is_ours(part: str) -> bool:
    """Whether it names HS256, and asks for no extension that we would have to understand (RFC 7515, 4.1.11)."""
    try:
        return msgspec.json.decode(_decoded(part), type=_Header).crit is msgspec.UNSET
    except (ValueError, RecursionError):
        return False


def _shown_name(claims: Claims) -> str:
    """The name as others see it; the user id for a name of which they would see nothing."""
    try:
        return clean(claims.name, NAME_CHARS_MAX)
    except NotSeen:
        return claims.sub
