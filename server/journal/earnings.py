"""A creator's earnings, from the creator's days: credits ripen, and a reversal follows its gift's maturity."""

from msgspec import Struct
from sqlalchemy import Engine, case, func, select

from server import limits
from server.clock import Clock
from server.journal.database import ask, reading
from server.journal.tables import creator_days


class Figures(Struct, frozen=True):
    """A creator's diamonds: `credited - taken_back == pending + available + held + paid - debt`.

    `held` and `paid` are 0 until payouts exist.
    """

    user_id: str
    pending: int
    available: int
    held: int
    paid: int
    debt: int
    credited: int
    taken_back: int


class Earnings:
    """Reads earnings. SQL runs in threads."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def of(self, user_id: str) -> Figures:
        """The earnings of one creator. Raises SQLAlchemyError."""
        credited, taken_back, unripe = await ask(self._read, user_id)
        return figures(user_id, credited, taken_back, unripe)

    def _read(self, user_id: str) -> tuple[int, int, int]:
        days = creator_days.c
        net = days.credited - days.taken_back
        first = first_unripe_day(self._clock.now_ms())
        sums = (days.credited, days.taken_back, case((days.gift_day >= first, net), else_=0))
        query = select(*(func.coalesce(func.sum(each), 0) for each in sums)).where(days.creator == user_id)
        with reading(self._engine).connect() as connection:
            credited, taken_back, unripe = connection.execute(query).one()
        return int(credited), int(taken_back), int(unripe)


def first_unripe_day(now_ms: int) -> int:
    """The oldest day with a gift that may still be younger than its maturity. A day ripens as a whole."""
    return (now_ms - limits.MATURITY_MS) // limits.DAY_MS


def figures(user_id: str, credited: int, taken_back: int, unripe: int, *, held: int = 0, paid: int = 0) -> Figures:
    """Split what is left of the credits. `unripe` is net: what was taken of unripe gifts is not in it."""
    rest = credited - taken_back - unripe - held - paid
    return Figures(user_id, unripe, max(0, rest), held, paid, max(0, -rest), credited, taken_back)
