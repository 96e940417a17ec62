"""The few HTTP calls that a crowd needs: tokens, rooms, coins."""

import http.client
import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

from loadtest.wire import Address
from protocol.wire import Role

IDLE_S_MAX = 2.0
CLOCK_LATE_MS = 2_000  # the header Date has whole seconds, and a server may renew it once a second


class ApiError(RuntimeError):
    """The server answered with an error."""

    def __init__(self, call: str, status: int, answer: str) -> None:
        super().__init__(f"{call}: {status} {answer}")
        self.status = status


class Api:
    """A server's HTTP API, with the service key. It blocks: call it before the crowd joins, or in a thread."""

    def __init__(self, url: str, service_key: str) -> None:
        self.address = Address.of(url)
        self._headers = {"Authorization": f"Bearer {service_key}", "Content-Type": "application/json"}
        kind = http.client.HTTPSConnection if self.address.tls else http.client.HTTPConnection
        self._connection = kind(self.address.host, self.address.port, timeout=20)
        self._called_at = time.monotonic()
        self._date: str | None = None  # of the last answer

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Returns the decoded answer. Raises ApiError (the server refused), ConnectionError."""
        if time.monotonic() - self._called_at > IDLE_S_MAX:
            self._connection.close()  # servers drop idle connections; the next call opens a new one
        self._called_at = time.monotonic()
        payload = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, payload, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
            self._date = response.headers.get("Date")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next call opens a new one
            raise ConnectionError(f"{method} {path}: {error}") from error
        if response.status >= 400:
            raise ApiError(f"{method} {path}", response.status, answer.decode(errors="replace")[:300])
        return json.loads(answer)

    def clock_ms(self) -> int:
        """The server's time, or up to CLOCK_LATE_MS later; ours if it says none. Raises ApiError, ConnectionError."""
        self.call("GET", "/healthz")
        said = parsedate_to_datetime(self._date) if self._date else None
        return int(said.timestamp() * 1000) + CLOCK_LATE_MS if said else time.time_ns() // 1_000_000

    def version(self) -> str:
        """The server's version. Raises ApiError, ConnectionError."""
        return str(self.call("GET", "/v1/openapi.json")["info"]["version"])

    def token(self, user: str, role: Role, room: str | None = None) -> str:
        asked = {"sub": user, "name": user.capitalize(), "role": role, "ttl_s": 3600}
        return str(self.call("POST", "/v1/tokens", asked | ({"room": room} if room else {}))["token"])

    def open_room(self, room: str) -> None:
        """Create a room of host `creator`, and start it."""
        self.call("PUT", f"/v1/rooms/{room}", {"host": {"user_id": "creator", "name": "Creator"}, "title": "Load test"})
        self.call("POST", f"/v1/rooms/{room}/start")

    def end_room(self, room: str) -> None:
        self.call("POST", f"/v1/rooms/{room}/end")

    def top_up(self, user: str, coins: int, topup_id: str) -> None:
        self.call("POST", f"/v1/wallets/{user}/topups", {"id": topup_id, "coins": coins, "source": "loadtest"})

    def coins(self, user: str) -> int:
        return int(self.call("GET", f"/v1/wallets/{user}")["coins"])

    def close(self) -> None:
        self._connection.close()
