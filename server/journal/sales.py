"""What viewers paid for coins, by currency and region, as far as the platform told the price of a top-up."""

from collections import Counter
from collections.abc import Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, and_, select

from server import limits
from server.entries import CHARGEBACK, TOPUP
from server.journal.tables import entries


class _Sale(Struct, frozen=True):
    currency: str
    minor: int
    region: str = ""


class _Body(Struct, frozen=True):
    sale: _Sale | None = None


class Income(Struct, frozen=True):
    """Sales of a period in minor units, and what was charged back in it. `coins` were sold for it."""

    currency: str  # empty where nobody told a price
    region: str  # empty where nobody told it
    coins: int
    sold: int
    charged_back: int


_BODY = msgspec.json.Decoder(_Body)
_NOTHING = _Sale("", 0)


def income(connection: Connection, since_ms: int, until_ms: int) -> list[Income]:
    """The income of `since_ms <= time < until_ms`, by currency and region. Raises SQLAlchemyError."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for sale, coins in _sold(connection, since_ms, until_ms):
        sums.setdefault((sale.currency, sale.region), Counter()).update(coins=coins, sold=sale.minor)
    for sale in _charged_back(connection, since_ms, until_ms):
        sums.setdefault((sale.currency, sale.region), Counter()).update(charged_back=sale.minor)
    return [Income(*of, each["coins"], each["sold"], each["charged_back"]) for of, each in sorted(sums.items())]


def _sold(connection: Connection, since_ms: int, until_ms: int) -> Iterator[tuple[_Sale, int]]:
    within = entries.c.at_ms >= since_ms, entries.c.at_ms < until_ms
    query = select(entries.c.body, entries.c.coins).where(entries.c.kind == TOPUP.name, *within)
    for body, coins in connection.execute(query, execution_options={"yield_per": limits.AUDIT_ROWS}):
        yield _BODY.decode(body).sale or _NOTHING, coins


def _charged_back(connection: Connection, since_ms: int, until_ms: int) -> Iterator[_Sale]:
    topup, back = entries.alias(), entries
    same = and_(topup.c.ref == back.c.ref, topup.c.user_id == back.c.user_id, topup.c.kind == TOPUP.name)
    within = back.c.at_ms >= since_ms, back.c.at_ms < until_ms
    query = select(topup.c.body).select_from(back.join(topup, same)).where(back.c.kind == CHARGEBACK.name, *within)
    for (body,) in connection.execute(query):
        yield _BODY.decode(body).sale or _NOTHING
