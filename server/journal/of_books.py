"""The audit of the books: they are verified against themselves, as no store has anything of them."""

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.journal.findings import Wrong
from server.journal.heads import START, Heads
from server.journal.sums import Sums
from server.journal.verify import Verified, verify


class BooksPart:
    """Verifies what is new in the books. After a run it has what was found."""

    def __init__(self, engine: Engine, heads: Heads) -> None:
        self._engine = engine
        self._heads = heads
        self.begin()

    def begin(self) -> None:
        """Nothing is found yet in a run."""
        self.wrong: list[Wrong] = []
        self.sums = Sums()
        self.failed = ""  # why they could not be verified

    def verify(self, now_ms: int) -> None:
        """Verify what follows the head. Raises SQLAlchemyError."""
        try:
            with self._engine.connect() as connection:
                found = verify(connection, limits.BOOKS, self._heads.head(limits.BOOKS))
        except SQLAlchemyError:
            raise
        except Exception as error:  # the logs are audited all the same
            background.failed("audit-books", error)
            self.failed = f"the audit of the books failed: {error!r}"
            return
        self.wrong += found.wrong
        self.sums = found.sums
        if not found.wrong and found.head is not None:
            self._heads.advance(limits.BOOKS, found.head, now_ms)


def look(connection: Connection) -> Verified:
    """Verify all of the books. Raises SQLAlchemyError."""
    return verify(connection, limits.BOOKS, START)
