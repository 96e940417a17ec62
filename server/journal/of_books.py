"""The audit of the books: they are verified against themselves and the payouts, as no store has anything of them."""

import msgspec
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.journal.findings import Wrong
from server.journal.heads import START, Heads
from server.journal.paid_out import wrong_payouts
from server.journal.sums import Sums
from server.journal.verify import Verified, verify


class BooksPart:
    """Verifies what is new in the books. After a run it has what was found."""

    def __init__(self, engine: Engine, heads: Heads) -> None:
        self._engine = engine
        self._heads = heads
        self._compared_ms: int | None = None  # when all payouts were compared
        self.begin()

    def begin(self) -> None:
        """Nothing is found yet in a run."""
        self.wrong: list[Wrong] = []
        self.sums = Sums()
        self.failed = ""  # why they could not be verified

    def verify(self, now_ms: int) -> None:
        """Verify what follows the head, and payouts under way; all payouts once a turn. Raises SQLAlchemyError."""
        everything = self._compared_ms is None or abs(now_ms - self._compared_ms) >= limits.AUDIT_TURN_S * 1000
        try:
            with self._engine.connect() as connection:
                found = verify(connection, limits.BOOKS, self._heads.head(limits.BOOKS))
                wrong = wrong_payouts(connection, everything=everything)
        except SQLAlchemyError:
            raise
        except Exception as error:  # the logs are audited all the same
            background.failed("audit-books", error)
            self.failed = f"the audit of the books failed: {error!r}"
            return
        self._compared_ms = now_ms if everything else self._compared_ms
        self.wrong += found.wrong + wrong
        self.sums = found.sums
        if not found.wrong and found.head is not None:
            self._heads.advance(limits.BOOKS, found.head, now_ms)


def look(connection: Connection) -> Verified:
    """Verify all of the books, and compare all payouts. Raises SQLAlchemyError."""
    found = verify(connection, limits.BOOKS, START)
    return msgspec.structs.replace(found, wrong=found.wrong + wrong_payouts(connection, everything=True))
