"""How a client connects: to which address, with which token, and how long it waits before it comes back."""

import asyncio
import inspect
import json
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit

from protocol.closes import Close

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 20.0
STEADY_S = 5.0  # a connection that lived this long was good: the pauses start again from the shortest
REFRESH_EARLY_S = 60.0
RETRY_AFTER_MS_MAX = 3_600_000  # no server is asked less often than once an hour

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_OF_STATUS = {401: Close.BAD_TOKEN, 403: Close.WRONG_ROOM, 404: Close.NO_SUCH_ROOM}  # what a proxy passed on
_CHANCE = secrets.SystemRandom()

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]


class Refused(Exception):
    """A command was not carried out, or may not have been: `reason` says why, `fields` has what else the server said.

    Four reasons are our own. `not_connected`: it was never sent. `timeout` and `connection_lost`: nobody knows.
    `closed`: the client is out for good. A gift's `id` may be used again: it is paid once.
    """

    def __init__(self, reason: str, *, id: str | None = None, **fields: object) -> None:
        super().__init__(f"{reason}: {fields['message']}" if fields.get("message") else reason)
        self.reason = reason
        self.id = id
        self.fields = fields

    @property
    def retry_after_ms(self) -> int | None:
        after = self.fields.get("retry_after_ms")
        return after if isinstance(after, int) else None


class End(NamedTuple):
    """How a connection ended: the close code, and how long the server asks us to stay away."""

    code: int
    away_s: float = 0.0


def socket_address(base: str, room: str, query: str) -> str:
    """The address of a room's socket. A path in `base` is kept. Raises ValueError."""
    parts = urlsplit(base)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise ValueError(f"not an address: {base} (it begins with https://, or wss://)")
    path = f"{parts.path.rstrip('/')}/v1/rooms/{quote(room, safe='')}/ws"
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}?{query}{'&' if query else ''}refusals=close"


def end_of_close(code: int | None, reason: str) -> End:
    """What a close frame says, or the lack of one."""
    name, _, ms = reason.partition("=")
    asked = int(ms) if name == "retry_after_ms" and ms.isdecimal() and len(ms) < 10 else 0
    return End(code or 1006, min(asked, RETRY_AFTER_MS_MAX) / 1000)


def end_of_status(status: int, retry_after: str | None) -> End:
    """What an answer before the upgrade says: a proxy's, or that of a server which knows no `refusals=close`."""
    asked = int(retry_after) if retry_after and retry_after.isdecimal() and len(retry_after) < 6 else 0
    return End(_OF_STATUS.get(status, 1006), min(asked * 1000, RETRY_AFTER_MS_MAX) / 1000)


def reason_of(code: int) -> str:
    """Why a client is out for good, in a word."""
    names = (close.name.lower() for close in Close if close == code)
    return next(names, "ended_by_server")


class Backoff:
    """How long to wait before the next attempt: longer after each failure, and random."""

    def __init__(self) -> None:
        self._attempt = 0

    def next_s(self) -> float:
        """Full jitter: a thousand clients that lost the same node must not come back in step."""
        longest = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0**self._attempt)
        self._attempt = min(self._attempt + 1, 10)
        return _CHANCE.random() * longest

    def lived(self, seconds: float) -> None:
        """A connection was lost that lived so long."""
        if seconds > STEADY_S:
            self._attempt = 0


class Tokens:
    """A fixed token, or a function that gives one; the last one is used until it may be the cause of a refusal."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token: str | None = None
        self._renewed = False

    @property
    def renewable(self) -> bool:
        return not isinstance(self._source, str)

    async def current(self) -> str:
        """The token to connect with. Raises what the function raises."""
        if self._token is None:
            self._token = await self.newer()
        return self._token

    async def newer(self) -> str:
        """Ask for another one. A function that is not a coroutine runs in a thread: it may block."""
        source = self._source
        if isinstance(source, str):
            return source
        given = source() if inspect.iscoroutinefunction(source) else await asyncio.to_thread(source)
        return await given if inspect.isawaitable(given) else given

    def take(self, token: str) -> None:
        """This one was accepted in place of the last."""
        self._token = token

    def forget(self) -> None:
        """Ask again before the next attempt."""
        if self.renewable:
            self._token = None

    def renews(self, code: int) -> bool:
        """Whether a token that was not accepted is replaced: once, until a welcome comes."""
        if code != Close.BAD_TOKEN or not self.renewable or self._renewed:
            return False
        self._renewed = True
        self.forget()
        return True

    def accepted(self) -> None:
        """A welcome came."""
        self._renewed = False

    def refresh_in_s(self, now_ms: int) -> float | None:
        """When to replace the token on its socket, by its own claim; None if it does not say, or cannot be replaced."""
        expires = _expires_s(self._token or "")
        if expires is None or not self.renewable:
            return None
        left = expires - now_ms / 1000
        return max(BACKOFF_MIN_S, left - min(REFRESH_EARLY_S, left / 5))


def _expires_s(token: str) -> float | None:
    try:
        claims = token.split(".")[1]
        return float(json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None
