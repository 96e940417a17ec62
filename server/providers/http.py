"""A provider over HTTP, shaped like Stripe's API: idempotency keys, objects with a status, signed webhooks.

A payout is `POST <base>/v1/payouts` with `Idempotency-Key`, and is asked for by that key: `GET <base>/v1/payouts?key=`.
What the answer does not say surely is UNKNOWN: a timeout, a 5xx, an answer that nobody can read, "duplicate", and "not
found" (a service that has just taken it may not find it yet).
"""

import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from server.providers import bounds
from server.providers.interface import BadWebhook, Instruction, Outcome, Standing, Told

# The statuses of a payout. A word that is new says that the provider has it: it stays under way.
STATUSES = {
    "paid": Standing.PAID,
    "failed": Standing.FAILED,
    "canceled": Standing.FAILED,
    "returned": Standing.RETURNED,
}
# Answers of who has surely not looked at the payout: who we are, or how often we ask, was wrong.
_NOT_TAKEN = (401, 403, 429)
_REFUSED = (400, 402, 422)  # it looked, and will not pay


class Shown(Struct, frozen=True, kw_only=True):
    """A payout as the provider shows it."""

    id: str
    status: str
    amount: int
    currency: str
    key: str = ""
    failure_code: str = ""
    retryable: bool = False
    updated_ms: int = 0


class _Page(Struct, frozen=True):
    data: list[Shown]


class _Fault(Struct, frozen=True):
    code: str = ""


class _Error(Struct, frozen=True):
    error: _Fault = _Fault()


class _Event(Struct, frozen=True):
    id: str
    data: Shown


class NotConnected(Exception):
    """No connection was made, so nothing was sent."""


class HttpProvider:
    """Talks to one service. `secrets` sign webhooks: the newest, and while it is rotated the one before."""

    def __init__(
        self,
        name: str,
        base: str,
        api_key: str,
        secrets: Sequence[str] = (),
        *,
        answer_s: float = bounds.ANSWER_S,
    ) -> None:
        self.name = name
        self._base = urlsplit(base)
        self._api_key = api_key
        self._secrets = [secret.encode() for secret in secrets]
        self._answer_s = answer_s

    def submit(self, batch: Sequence[Instruction]) -> dict[str, Outcome]:
        """Send each payout, once."""
        return {each.key: self._submit(each) for each in batch}

    def look_up(self, batch: Sequence[Instruction]) -> dict[str, Outcome]:
        """Ask for each payout by its key."""
        return {each.key: self._look_up(each) for each in batch}

    def webhook(self, headers: Mapping[str, str], body: bytes, now_ms: int) -> list[Told]:
        """Check the signature `t=<s>,v1=<hex of HMAC-SHA256 over "t.body">`, and read the event."""
        self._check(headers.get("payout-signature", ""), body, now_ms)
        try:
            event = msgspec.json.decode(body, type=_Event)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise BadWebhook(f"it is not an event: {error}") from None
        if not (event.id and event.data.key):
            raise BadWebhook("it names no payout of ours")
        return [Told(event.id[: bounds.REF_CHARS_MAX], event.data.key, _of(event.data))]

    # --- requests ------------------------------------------------------------------------------------------------
    def _submit(self, instruction: Instruction) -> Outcome:
        asked = {
            "amount": instruction.amount,
            "currency": instruction.currency,
            "destination": msgspec.to_builtins(instruction.payee),
            "statement": instruction.text,
            "key": instruction.key,
        }
        try:
            status, answer = self._ask("POST", "/v1/payouts", asked, instruction.key)
        except NotConnected as why:
            return Outcome(Standing.NOT_SENT, reason=str(why))
        except (OSError, http.client.HTTPException) as error:
            return Outcome(Standing.UNKNOWN, reason=f"no answer: {type(error).__name__}")
        if status in (200, 201, 202):
            return _shown(answer, instruction)
        code = _code(answer)
        if status in _NOT_TAKEN:
            return Outcome(Standing.NOT_SENT, reason=code or f"status {status}")
        if status in _REFUSED and code and "duplicate" not in code:
            return Outcome(Standing.FAILED, reason=code, retryable="account" in code)
        return Outcome(Standing.UNKNOWN, reason=code or f"status {status}")

    def _look_up(self, instruction: Instruction) -> Outcome:
        try:
            status, answer = self._ask("GET", f"/v1/payouts?key={quote(instruction.key)}")
        except (NotConnected, OSError, http.client.HTTPException) as error:
            return Outcome(Standing.UNKNOWN, reason=f"no answer: {type(error).__name__}")
        if status != 200:
            return Outcome(Standing.UNKNOWN, reason=f"status {status}")
        try:
            found = msgspec.json.decode(answer, type=_Page).data
        except (msgspec.DecodeError, RecursionError, ValueError):
            return Outcome(Standing.UNKNOWN, reason="an answer that nobody can read")
        if len(found) != 1:
            return Outcome(Standing.UNKNOWN, reason=f"{len(found)} payouts have the key")
        return _checked(found[0], instruction)

    def _ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, bytes]:
        """One request on a connection of its own. Nothing is sent twice. Raises NotConnected, and what says nothing."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        connection = self._connected()
        ended = threading.Timer(self._answer_s, _cut, [connection])  # a byte now and then does not count
        ended.start()
        try:
            connection.request(method, self._base.path.rstrip("/") + path, data, headers)
            answer = connection.getresponse()
            read = answer.read(bounds.ANSWER_BYTES_MAX + 1)
            if len(read) > bounds.ANSWER_BYTES_MAX:
                raise http.client.HTTPException("the answer is too long")
            return answer.status, read
        finally:
            ended.cancel()
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        """Raises NotConnected: until then no byte of a request has left."""
        host, port, timeout = self._base.hostname or "", self._base.port, self._answer_s
        if self._base.scheme == "https":
            context = ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            made = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise NotConnected(f"nobody answers there: {type(error).__name__}") from None
        return made

    def _check(self, signature: str, body: bytes, now_ms: int) -> None:
        """Raises BadWebhook."""
        parts = [part.partition("=") for part in signature.split(",")]
        stamps = [value for name, _, value in parts if name.strip() == "t"]
        given = [value.strip() for name, _, value in parts if name.strip() == "v1"]
        if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdecimal() and len(stamps[0]) <= 12):
            raise BadWebhook("it has no signature")
        if abs(int(stamps[0]) * 1000 - now_ms) > bounds.WEBHOOK_OLD_MS:
            raise BadWebhook("its signature is too old")
        for secret in self._secrets:
            right = hmac.new(secret, f"{stamps[0]}.".encode() + body, hashlib.sha256).hexdigest()
            if any(hmac.compare_digest(right.encode(), each.encode()) for each in given):
                return
        raise BadWebhook("its signature is wrong")


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it may just have been closed
        connection.sock.shutdown(socket.SHUT_RDWR)


def _shown(answer: bytes, instruction: Instruction) -> Outcome:
    try:
        return _checked(msgspec.json.decode(answer, type=Shown), instruction)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return Outcome(Standing.UNKNOWN, reason="an answer that nobody can read")


def _checked(shown: Shown, instruction: Instruction) -> Outcome:
    """What it says of this payout, if it is this one."""
    if (shown.amount, shown.currency.upper()) != (instruction.amount, instruction.currency):
        return Outcome(Standing.UNKNOWN, reason="the provider shows another amount")
    if shown.key and shown.key != instruction.key:
        return Outcome(Standing.UNKNOWN, reason="the provider shows another payout")
    return _of(shown)


def _of(shown: Shown) -> Outcome:
    standing = STATUSES.get(shown.status, Standing.PENDING)
    ref, reason = shown.id[: bounds.REF_CHARS_MAX], shown.failure_code[: bounds.REASON_CHARS_MAX]
    return Outcome(standing, ref, reason, shown.retryable, max(0, shown.updated_ms))


def _code(answer: bytes) -> str:
    try:
        return msgspec.json.decode(answer, type=_Error).error.code[: bounds.REASON_CHARS_MAX]
    except (msgspec.DecodeError, RecursionError, ValueError):
        return ""
