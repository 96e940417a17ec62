"""A creator's earnings, from their days and the books: credits ripen, and a reversal follows its gift's maturity.

They can be read as of any entry or day of the past: then later gifts, reversals and payouts are left out.
"""

from collections import Counter

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, func, select, text

from server import limits
from server.clock import Clock
from server.entries import GIFT, KINDS, Body
from server.journal.database import ask, reading
from server.journal.derived import is_entry_of_part
from server.journal.maturity import MaturityDays, is_ripe, ripe_at_ms, ripe_day
from server.journal.moments import Moment
from server.journal.tables import OF_BOOKS, creator_days, entries, reversal_parts

_BODY = msgspec.json.Decoder(Body)
_OF_BOOKS = text(f"entries.{OF_BOOKS}")  # as the index entries_of_books says it


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
    at_ms = now_ms if as_of is None else as_of.at_ms
    unripe: Counter[int] = Counter()  # diamonds by ripe_day
    for (day, maturity), (credited, taken) in days.items():
        if not is_ripe(ripe_day(day, maturity), at_ms):
            unripe[ripe_day(day, maturity)] += credited - taken
    credited, taken_back = (sum(each[at] for each in days.values()) for at in (0, 1))
    ripens = [Ripening(ripe_at_ms(day), diamonds) for day, diamonds in sorted(unripe.items()) if diamonds]
    found = figures(user_id, credited, taken_back, unripe.total(), booked(connection, user_id, as_of))
    return msgspec.structs.replace(found, ripens=ripens)


Days = dict[tuple[int, int], tuple[int, int]]  # by day and maturity: what its gifts brought, and what was taken of them


def _days(connection: Connection, user_id: str) -> Days:
    day = creator_days.c
    query = select(day.gift_day, day.maturity_days, day.credited, day.taken_back).where(day.creator == user_id)
    return {(number, maturity): (brought, taken) for number, maturity, brought, taken in connection.execute(query)}


def _days_at(connection: Connection, user_id: str, at: Moment) -> Days:
    """The same as of a moment: whole days as they are kept, the gifts of its own day, and the reversals until then."""
    days = {key: brought for key, (brought, _) in _days(connection, user_id).items() if key[0] < at.first_day}
    if not at.ends_a_day:
        start = at.day * limits.DAY_MS
        of = entries.c.creator_id == user_id, entries.c.kind == GIFT.name, entries.c.at_ms >= start, at.includes()
        gift = select(MaturityDays().label("maturity_days"), entries.c.diamonds).where(*of).subquery()
        query = select(gift.c.maturity_days, func.sum(gift.c.diamonds)).group_by(gift.c.maturity_days)
        days |= {(at.day, maturity): int(diamonds) for maturity, diamonds in connection.execute(query)}
    part = reversal_parts.c
    # Not a join: SQLite would go through all entries until then.
    journaled = select(entries.c.n).where(is_entry_of_part(), at.includes()).exists()
    key = part.gift_day, part.maturity_days
    sums = select(*key, func.sum(part.diamonds)).where(part.creator == user_id, journaled).group_by(*key)
    taken = {(number, maturity): int(diamonds) for number, maturity, diamonds in connection.execute(sums)}
    return {each: (days.get(each, 0), taken.get(each, 0)) for each in days.keys() | taken.keys()}


def booked(connection: Connection, user_id: str, as_of: Moment | None = None) -> Booked:
    """What the books say of a creator, now or as of a moment. Raises SQLAlchemyError.

    An entry says what its postings are. To join it with these, SQLite would read those of everybody.
    """
    entry = entries.c
    query = select(entry.kind, entry.body, entry.at_ms, entry.epoch, entry.n)
    query = query.where(_OF_BOOKS, entry.creator_id == user_id)  # no time: SQLite would take the index of all gifts
    held, own = f"held:{user_id}", f"creator:{user_id}"
    sums = {"held": 0, "paid": 0, "adjusted": 0}
    for name, body, at_ms, epoch, n in connection.execute(query):
        if as_of is not None and not as_of.has(at_ms, (limits.BOOKS, epoch, n)):
            continue
        kind = KINDS[name]
        assert kind.stored is not None
        for asset, account, amount in kind.stored(_BODY.decode(body), ""):
            if asset == "diamonds" and account in (held, own):
                sums["held"] += amount if account == held else 0
                sums["paid"] -= amount if kind.pays else 0
                sums["adjusted"] += 0 if kind.pays else amount  # a hold moves nothing between the two
    return Booked(**sums)


def figures(user_id: str, credited: int, taken_back: int, unripe: int, of_books: Booked) -> Figures:
    """Split what is left of the credits. `unripe` is net: what was taken of unripe gifts is not in it."""
    held, paid, adjusted = of_books.held, of_books.paid, of_books.adjusted
    rest = credited - taken_back - unripe + adjusted - held - paid
    return Figures(user_id, unripe, max(0, rest), held, paid, max(0, -rest), credited, taken_back, adjusted)
