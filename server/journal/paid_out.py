"""Compares payouts with the books: each row with the entries of its steps, and its money with the terms that it names.

A row that somebody changed by hand would send other money than was booked, or send it twice. A finding freezes the
books, as those of the books themselves, so nothing leaves; and a payout is compared once more when it leaves.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, TextClause, and_, select, text

from server import limits
from server.entries import HOLD, PAID, RELEASE, RETURN, Body
from server.journal.findings import Wrong
from server.journal.payouts import OPEN, payouts
from server.journal.tables import entries, rate_cards
from server.rates import Card, Rates

_UNDER_WAY = frozenset({HOLD.name})
_OFF = frozenset({HOLD.name, RELEASE.name})
_BOOKED = {
    **dict.fromkeys(("requested", "reviewing", "approved", "submitted", "unknown"), _UNDER_WAY),
    **dict.fromkeys(("rejected", "cancelled", "failed"), _OFF),
    "paid": frozenset({HOLD.name, PAID.name}),
    "returned": frozenset({HOLD.name, PAID.name, RETURN.name}),
}
_KINDS = (HOLD.name, RELEASE.name, PAID.name, RETURN.name)
_OF_BOOKS = (entries.c.partition == limits.BOOKS, entries.c.kind.in_(_KINDS), entries.c.user_id == "")
_MONEY = ("currency", "net", "fee", "withheld")
_BODY = msgspec.json.Decoder(Body)


Which = Sequence[ColumnElement[bool] | TextClause]


class _Payout(Struct, frozen=True):
    """What of a payout's row follows from the books and its terms."""

    id: str
    creator: str
    state: str
    diamonds: int
    rate: str
    currency: str
    gross: int
    fee: int
    withheld: int
    net: int
    tax: str
    provider: str


class _Entry(Struct, frozen=True):
    kind: str
    creator_id: str | None
    diamonds: int
    body: str


def wrong_payouts(connection: Connection, *, everything: bool) -> list[Wrong]:
    """Compare those whose diamonds are held, or everything; the first that are wrong. Raises SQLAlchemyError."""
    which: Which = () if everything else (text(f"payouts.{OPEN}"),)
    with closing(_wrong(connection, which, everything=everything)) as found:
        return [Wrong(limits.BOOKS, f"payout {id}", what) for id, what in islice(found, limits.AUDIT_WRONG_MAX)]


def wrong_payout(connection: Connection, id: str) -> str:
    """What is wrong with one payout, or ''. Raises SQLAlchemyError."""
    rows = connection.execute(_with_entries((payouts.c.id == id,))).all()
    return next((what for _, what in [*_about_rows(connection, rows)]), "")


def _wrong(connection: Connection, which: Which, *, everything: bool) -> Generator[tuple[str, str]]:
    with connection.execute(_with_entries(which).execution_options(yield_per=limits.AUDIT_ROWS)) as rows:
        yield from _about_rows(connection, rows)
    for row in connection.execute(_HELD_BY_NOBODY) if everything else ():  # it reads all steps of all payouts
        yield row.ref, "the books hold diamonds for it, but there is no such payout"


def _about_rows(connection: Connection, rows: Iterable[Row[Any]]) -> Iterator[tuple[str, str]]:
    cards: dict[str, Card | None] = {}
    for id, some in groupby(rows, key=lambda row: str(row[0])):
        of_one: list[Row[Any]] = list(some)
        width = len(_Payout.__struct_fields__)
        payout = _Payout(*of_one[0][:width])
        if what := _about(connection, payout, [_Entry(*row[width:]) for row in of_one if row[width]], cards):
            yield id, what


def _about(connection: Connection, payout: _Payout, booked: Sequence[_Entry], cards: dict[str, Card | None]) -> str:
    """What is wrong with a payout, or ''."""
    wanted = _BOOKED.get(payout.state)
    if wanted is None:
        return f"its state is {payout.state}"
    kinds = {entry.kind for entry in booked}
    if kinds != wanted:
        return f"it is {payout.state}, but the books have {', '.join(sorted(kinds)) or 'nothing'} of it"
    differences = (_differs(payout, entry) for entry in booked)
    return next((what for what in differences if what), "") or _about_money(connection, payout, cards)


def _differs(payout: _Payout, entry: _Entry) -> str:
    """In what a payout differs from the entry of one of its steps, or ''."""
    try:
        about = _BODY.decode(entry.body)
    except msgspec.DecodeError as error:
        return f"its {entry.kind} cannot be read: {error}"
    pairs = [(name, getattr(payout, name), getattr(about, name)) for name in ("creator", "diamonds", "rate")]
    if about.money is not None:
        pairs += [(name, getattr(payout, name), getattr(about.money, name)) for name in _MONEY]
        pairs += [("provider", payout.provider, about.provider)]
    return next((f"{name} is {ours}, but {booked} in the books" for name, ours, booked in pairs if ours != booked), "")


def _about_money(connection: Connection, payout: _Payout, cards: dict[str, Card | None]) -> str:
    """In what its amounts differ from its terms, or ''. A card that SQL does not have says nothing."""
    rates = _rates(connection, payout.rate, cards)
    if rates is None:
        return ""
    cut = rates.deducted(rates.money_of(payout.diamonds).amount, payout.tax)
    due = {"currency": rates.currency, **cut._asdict()}
    pairs = ((name, getattr(payout, name), right) for name, right in due.items())
    return next((f"{name} is {ours}, but {right} by its terms" for name, ours, right in pairs if ours != right), "")


def _rates(connection: Connection, terms: str, cards: dict[str, Card | None]) -> Rates | None:
    version, _, region = terms.partition("/")
    if version not in cards:
        body = connection.execute(select(rate_cards.c.body).where(rate_cards.c.version == version)).scalar()
        cards[version] = None if body is None else msgspec.json.decode(body, type=Card)
    card = cards[version]
    return None if card is None else card.regions.get(region)


def _with_entries(which: Which) -> Select[Any]:
    mine = [payouts.c[name] for name in _Payout.__struct_fields__]
    booked = [entries.c[name] for name in _Entry.__struct_fields__]
    query = select(*mine, *booked).outerjoin_from(payouts, entries, and_(entries.c.ref == payouts.c.id, *_OF_BOOKS))
    return query.where(*which).order_by(payouts.c.id)


_HELD_BY_NOBODY = (
    select(entries.c.ref)
    .outerjoin_from(entries, payouts, payouts.c.id == entries.c.ref)
    .where(*_OF_BOOKS, payouts.c.id.is_(None))
    .distinct()
    .order_by(entries.c.ref)
)
