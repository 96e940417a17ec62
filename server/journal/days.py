"""Each creator's days: what a day's gifts brought, and what journaled reversals took of them.

The drain adds to them in the transaction that writes the rows, so that earnings are read in as many rows as days.
"""

from msgspec import Struct
from sqlalchemy import Connection

from server import limits
from server.entries import GIFT, Kind
from server.journal import parts
from server.journal.books import LogEntry
from server.journal.bulk import add_many
from server.journal.derived import derive_order
from server.journal.tables import creator_days


class Order(Struct, frozen=True):
    """A reversal's entry: its kind, its id, and whose wallet it moved."""

    kind: str
    id: str
    user_id: str


class Days:
    """What some entries add to the days of creators."""

    def __init__(self) -> None:
        self._added: dict[tuple[str, int, int], list[int]] = {}  # by the table's key: credited, taken back, gifts
        self._reversals: list[Order] = []

    def note(self, entry: LogEntry, kind: Kind) -> None:
        """Take note of an entry that the batch journals."""
        about = entry.about
        if kind is GIFT and about.creator is not None:
            day = self._day(about.creator, entry.at_ms // limits.DAY_MS, about.ripens_after_days)
            day[0] += about.diamonds
            day[2] += 1
        elif kind.reverses:
            self._reversals.append(Order(about.kind, about.id, about.viewer))

    def write(self, connection: Connection) -> None:
        """Add them, in the transaction that has written the entries. Raises SQLAlchemyError.

        A reversal's parts were written when it was decided. A database that was restored from a backup may lack them.
        """
        for order in self._reversals:
            rows = parts.of_order(connection, order.user_id, order.kind, order.id)
            if not rows:
                rows = derive_order(connection, order.user_id, order.kind, order.id)
                parts.insert(connection, rows)
            for row in rows:
                self._day(row.creator, row.gift_day, row.maturity_days)[1] += row.diamonds
        add_many(connection, creator_days, [(*key, *added) for key, added in self._added.items()])

    def _day(self, creator: str, day: int, maturity_days: int) -> list[int]:
        return self._added.setdefault((creator, day, maturity_days), [0, 0, 0])
