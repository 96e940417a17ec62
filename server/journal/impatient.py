"""A PostgreSQL connection with bounded waits: when the server stays silent, it closes and its caller gets an error.

The server's own timeouts end a statement that is slow or waits for a lock. Only the client can end a statement on a
server that was stopped, or whose host is gone.
"""

import time
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

from server import limits


class ImpatientConnection(psycopg.Connection[Any]):
    """psycopg's connection with a bound on each wait. Each transaction sets `patience_s`."""

    patience_s: float = limits.SQL_PING_S

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._heard_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """How long the server has not answered on it."""
        return time.monotonic() - self._heard_s

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Close the connection after `patience_s` of silence. Raises OperationalError then."""
        try:
            answer = super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()  # its state is unknown: nobody may use it again
            raise psycopg.OperationalError(f"no answer in {self.patience_s:g} s") from None
        self._heard_s = time.monotonic()
        return answer
