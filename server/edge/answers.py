"""Answers that go out without the app: to requests that it never gets to see. Errors have the form of all others."""

import json
from http import HTTPStatus


def error_body(reason: str, message: str) -> str:
    """The JSON of an error, as in protocol/README.md."""
    return json.dumps({"error": {"reason": reason, "message": message}}, separators=(",", ":"))


def error_answer(status: HTTPStatus, reason: str, message: str, *more: str, connection: str = "close") -> bytes:
    """A whole HTTP answer with an error, after which the connection ends. `more` has further header lines."""
    body = error_body(reason, message)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Connection: {connection}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return "\r\n".join([*lines, "", body]).encode()
