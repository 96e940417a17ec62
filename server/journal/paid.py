"""What the coins that a wallet has left were bought for: its lots know their top-ups, and these their price."""

from collections import defaultdict
from fractions import Fraction

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, select

from server.currencies import EXPONENTS
from server.entries import Sale
from server.journal import folding
from server.journal.asof import chunks
from server.journal.database import reading
from server.journal.lots import Lot
from server.journal.tables import topups


class Part(Struct, frozen=True):
    """So many of the coins were paid with so much of a currency: `minor` units, rounded down."""

    currency: str
    exponent: int
    coins: int
    minor: int


class Paid(Struct, frozen=True):
    """What a wallet's journaled coins were paid with. `unknown` coins are those of which no price was told."""

    user_id: str
    coins: int
    unknown: int
    parts: list[Part]


def of_wallet(engine: Engine, user_id: str) -> Paid:
    """What a wallet's coins were paid with, by currency. Raises SQLAlchemyError."""
    lots = [lot for lot in folding.fold(engine, user_id).lots.lots.values() if lot.left]
    sales = _sales(engine, [lot.topup_id for lot in lots])
    known = [(lot, sales[lot.topup_id]) for lot in lots if lot.topup_id in sales]
    coins = sum(lot.left for lot in lots)
    return Paid(user_id, coins, coins - sum(lot.left for lot, _ in known), _parts(known))


def _parts(known: list[tuple[Lot, Sale]]) -> list[Part]:
    coins: defaultdict[str, int] = defaultdict(int)
    worth: defaultdict[str, Fraction] = defaultdict(Fraction)
    for lot, sale in known:
        coins[sale.currency] += lot.left
        worth[sale.currency] += Fraction(sale.minor * lot.left, lot.coins)
    return [Part(each, EXPONENTS[each], coins[each], int(worth[each])) for each in sorted(coins)]


def _sales(engine: Engine, topup_ids: list[str]) -> dict[str, Sale]:
    found: dict[str, Sale] = {}
    query = select(topups.c.id, topups.c.sale).where(topups.c.sale.is_not(None))
    with reading(engine).connect() as connection:
        for some in chunks(topup_ids):
            for row in connection.execute(query.where(topups.c.id.in_(some))):
                found[row.id] = msgspec.json.decode(row.sale, type=Sale)
    return found
