"""The trial balance: what each account had before a time and has after it, in each asset. Together they are zero.

Viewers, creators and held diamonds are one line each; the house's accounts and those of providers have their own.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from msgspec import Struct
from sqlalchemy import Connection, and_, case, func, literal, select

from server.entries import CREATOR, KINDS, VIEWER
from server.journal.tables import entries, legs

OWNERS = {VIEWER: "viewers", CREATOR: "creators", "held": "held"}  # each one's account is not the reader's concern


class Line(Struct, frozen=True):
    """An account's balance before a period, what the period moved, and the balance after it."""

    asset: str
    account: str
    before: int
    moved: int

    @property
    def after(self) -> int:
        return self.before + self.moved


def lines(connection: Connection, since_ms: int, until_ms: int) -> list[Line]:
    """The balances of all accounts around `since_ms <= time < until_ms`, by asset. Raises SQLAlchemyError."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    found = chain(_made(connection, since_ms, until_ms), _stored(connection, since_ms, until_ms))
    for asset, account, before, moved in found:
        owner, _, _ = account.partition(":")
        sums.setdefault((asset, OWNERS.get(owner, account)), Counter()).update(before=before, moved=moved)
    return [Line(*of, each["before"], each["moved"]) for of, each in sorted(sums.items())]


def out_of_balance(found: list[Line]) -> dict[str, int]:
    """The assets whose accounts do not sum to zero, and to what."""
    sums: Counter[str] = Counter()
    for line in found:
        sums[line.asset] += line.after
    return {asset: sum_ for asset, sum_ in sums.items() if sum_}


def _made(connection: Connection, since_ms: int, until_ms: int) -> Iterator[tuple[str, str, int, int]]:
    """The postings that follow from columns, summed up by kind."""
    early = entries.c.at_ms < since_ms
    amounts = [
        func.coalesce(func.sum(case((within, column), else_=0)), 0)
        for column in (entries.c.coins, entries.c.diamonds)
        for within in (early, ~early)
    ]
    query = select(entries.c.kind, *amounts).where(entries.c.at_ms < until_ms).group_by(entries.c.kind)
    for name, *found in connection.execute(query):
        by_asset = {"coins": found[:2], "diamonds": found[2:]}
        kind = KINDS.get(name)
        for leg in kind.legs if kind is not None else ():
            before, moved = by_asset[leg.asset]
            yield leg.asset, leg.account, leg.sign * int(before), leg.sign * int(moved)


def _stored(connection: Connection, since_ms: int, until_ms: int) -> Iterator[tuple[str, str, int, int]]:
    """The other postings. Those of people are summed up in SQL."""
    owner = case(
        *((legs.c.account.like(f"{prefix}:%"), literal(f"{prefix}:")) for prefix in OWNERS), else_=legs.c.account
    )
    early = entries.c.at_ms < since_ms
    sums = [func.coalesce(func.sum(case((within, legs.c.amount), else_=0)), 0) for within in (early, ~early)]
    of = and_(*(legs.c[name] == entries.c[name] for name in ("partition", "epoch", "n")))
    query = select(legs.c.asset, owner, *sums).join(entries, of).where(entries.c.at_ms < until_ms)
    for asset, account, before, moved in connection.execute(query.group_by(legs.c.asset, owner)):
        yield asset, account, int(before), int(moved)
