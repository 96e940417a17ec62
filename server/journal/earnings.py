"""A creator's earnings, from their days and the books: credits ripen, and a reversal follows its gift's maturity.

They can be read as of any entry or day of the past: then later gifts, reversals and payouts are left out.
"""

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, func, select

from server import limits
from server.clock import Clock
from server.entries import GIFT, KINDS
from server.journal.database import ask, reading
from server.journal.derived import is_entry_of_part
from server.journal.moments import Moment
from server.journal.tables import creator_days, entries, legs, reversal_parts


class Ripening(Struct, frozen=True):
    """So many diamonds are no longer pending from this time on."""

    at_ms: int
    diamonds: int


class Figures(Struct, frozen=True):
    """A creator's diamonds.

    `credited - taken_back + adjusted == pending + available + held + paid - debt`. `adjusted` is what operators
    decided: corrections, and debt that the house took over. `ripens` splits `pending` by when it is ripe.
    """

    user_id: str
    pending: int
    available: int
    held: int
    paid: int
    debt: int
    credited: int
    taken_back: int
    adjusted: int = 0
    ripens: list[Ripening] = []  # msgspec copies it


class Booked(Struct, frozen=True):
    """What the books say of a creator."""

    held: int = 0
    paid: int = 0
    adjusted: int = 0


class Earnings:
    """Reads earnings. SQL runs in threads."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def of(self, user_id: str, as_of: Moment | None = None) -> Figures:
        """The earnings of one creator, now or as of a moment. Raises SQLAlchemyError."""
        return await ask(self._read, user_id, as_of)

    def _read(self, user_id: str, as_of: Moment | None) -> Figures:
        with reading(self._engine).connect() as connection:
            return read(connection, user_id, self._clock.now_ms(), as_of)


def read(connection: Connection, user_id: str, now_ms: int, as_of: Moment | None = None) -> Figures:
    """The earnings as a transaction sees them. Who decides by them has locked the books (`pen.lock`).

    Raises SQLAlchemyError.
    """
    days = _days(connection, user_id) if as_of is None else _days_at(connection, user_id, as_of)
    first = first_unripe_day(now_ms if as_of is None else as_of.at_ms)
    unripe = {day: credited - taken for day, (credited, taken) in days.items() if day >= first and credited != taken}
    credited, taken_back = (sum(each[at] for each in days.values()) for at in (0, 1))
    ripens = [Ripening(ripe_at_ms(day), diamonds) for day, diamonds in sorted(unripe.items())]
    found = figures(user_id, credited, taken_back, sum(unripe.values()), booked(connection, user_id, as_of))
    return msgspec.structs.replace(found, ripens=ripens)


def _days(connection: Connection, user_id: str) -> dict[int, tuple[int, int]]:
    """By day: what its gifts brought, and what was taken of them."""
    day = creator_days.c
    query = select(day.gift_day, day.credited, day.taken_back).where(day.creator == user_id)
    return {number: (credited, taken) for number, credited, taken in connection.execute(query)}


def _days_at(connection: Connection, user_id: str, at: Moment) -> dict[int, tuple[int, int]]:
    """The same as of a moment: whole days as they are kept, the gifts of its own day, and the reversals until then."""
    days = {number: credited for number, (credited, _) in _days(connection, user_id).items() if number < at.first_day}
    if not at.ends_a_day:
        start = at.day * limits.DAY_MS
        of = entries.c.creator_id == user_id, entries.c.kind == GIFT.name, entries.c.at_ms >= start, at.includes()
        sum_ = func.coalesce(func.sum(entries.c.diamonds), 0)
        days[at.day] = int(connection.execute(select(sum_).where(*of)).scalar_one())
    part = reversal_parts.c
    query = select(part.gift_day, func.sum(part.diamonds)).join(entries, is_entry_of_part())
    query = query.where(part.creator == user_id, at.includes()).group_by(part.gift_day)
    taken = {number: int(diamonds) for number, diamonds in connection.execute(query)}
    return {number: (days.get(number, 0), taken.get(number, 0)) for number in days.keys() | taken.keys()}


def booked(connection: Connection, user_id: str, as_of: Moment | None = None) -> Booked:
    """What the books say of a creator, now or as of a moment. Raises SQLAlchemyError."""
    held = f"held:{user_id}"
    query = (
        select(entries.c.kind, legs.c.account, func.sum(legs.c.amount))
        .join(legs, (legs.c.partition == limits.BOOKS) & (legs.c.epoch == entries.c.epoch) & (legs.c.n == entries.c.n))
        .where(entries.c.partition == limits.BOOKS, entries.c.creator_id == user_id)
        .where(legs.c.asset == "diamonds", legs.c.account.in_([held, f"creator:{user_id}"]))
        .group_by(entries.c.kind, legs.c.account)
    )
    if as_of is not None:
        query = query.where(as_of.includes())
    sums = {"held": 0, "paid": 0, "adjusted": 0}
    for kind, account, amount in connection.execute(query):
        if account == held:
            sums["held"] += int(amount)
        if KINDS[kind].pays:
            sums["paid"] -= int(amount)
        else:
            sums["adjusted"] += int(amount)  # a hold and a release move nothing between the two
    return Booked(**sums)


def first_unripe_day(now_ms: int) -> int:
    """The oldest day with a gift that may still be younger than its maturity. A day ripens as a whole."""
    return (now_ms - limits.MATURITY_MS) // limits.DAY_MS


def ripe_at_ms(day: int) -> int:
    """When the gifts of a day are ripe."""
    return (day + 1) * limits.DAY_MS + limits.MATURITY_MS


def figures(user_id: str, credited: int, taken_back: int, unripe: int, of_books: Booked) -> Figures:
    """Split what is left of the credits. `unripe` is net: what was taken of unripe gifts is not in it."""
    held, paid, adjusted = of_books.held, of_books.paid, of_books.adjusted
    rest = credited - taken_back - unripe + adjusted - held - paid
    return Figures(user_id, unripe, max(0, rest), held, paid, max(0, -rest), credited, taken_back, adjusted)
