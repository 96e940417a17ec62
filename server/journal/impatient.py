"""A PostgreSQL connection that never waits for ever: one that stays silent is closed, and its caller gets an error.

The server's own timeouts end a statement that is slow or waits for a lock. They cannot end one on a server that was
stopped, or whose host is gone: only the client can.
"""

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

from server import limits


class ImpatientConnection(psycopg.Connection[Any]):
    """psycopg's connection with a bound on each wait; `patience_s` is set with each transaction."""

    patience_s: float = limits.SQL_PING_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Raises OperationalError after `patience_s` of silence; the connection is closed then."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()  # what it was at is unknown: nobody may use it again
            raise psycopg.OperationalError(f"no answer in {self.patience_s:g} s") from None
