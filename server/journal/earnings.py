"""A creator's earnings, from the journal: credits ripen, and reversals take the unripe ones first."""

from msgspec import Struct
from sqlalchemy import Engine, func, select

from server import limits
from server.clock import Clock
from server.entries import GIFT
from server.journal.database import ask, reading
from server.journal.tables import TAKEN_BACK, entries, postings


class Figures(Struct, frozen=True):
    """A creator's diamonds. Reversals beyond the rest are `debt`; `held` and `paid` are 0 until payouts exist."""

    user_id: str
    pending: int
    available: int
    held: int
    paid: int
    debt: int


class Earnings:
    """Reads earnings. SQL runs in threads."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def of(self, user_id: str) -> Figures:
        """The earnings of one creator. Raises SQLAlchemyError."""
        credited, unripe, reversed_ = await ask(self._read, user_id)
        return figures(user_id, credited, unripe, reversed_)

    def _read(self, user_id: str) -> tuple[int, int, int]:
        gifts = select(func.coalesce(func.sum(entries.c.diamonds), 0)).where(
            entries.c.kind == GIFT.name, entries.c.creator_id == user_id
        )
        ripe_before_ms = self._clock.now_ms() - limits.MATURITY_MS
        taken = select(func.coalesce(func.sum(postings.c.amount), 0)).where(
            postings.c.account == f"creator:{user_id}", TAKEN_BACK
        )
        with reading(self._engine).connect() as connection:
            credited = int(connection.execute(gifts).scalar_one())
            unripe = int(connection.execute(gifts.where(entries.c.at_ms > ripe_before_ms)).scalar_one())
            reversed_ = -int(connection.execute(taken).scalar_one())
        return credited, unripe, reversed_


def figures(user_id: str, credited: int, unripe: int, reversed_: int) -> Figures:
    """Split the credits: reversals take the pending part first, then the available part; the rest is debt."""
    pending = max(0, unripe - reversed_)
    rest = reversed_ - (unripe - pending)
    available = credited - unripe - rest
    return Figures(user_id, pending, max(0, available), held=0, paid=0, debt=max(0, -available))
