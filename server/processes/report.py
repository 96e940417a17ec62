"""The report of a month: a trial balance, income by region, and what the house owes, on one page."""

import calendar
import datetime
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal import database, sales, trial, troubles
from server.journal.database import reading
from server.journal.trial import Line
from server.settings import Settings, Unusable

MONTH = "%Y-%m"


def run(settings: Settings, month: str) -> int:
    """Print the report. Return 0, or 1 when the balance is not zero. Raises Unusable."""
    since_ms, until_ms = bounds(month)
    engine = database.connect(settings.journal_address)
    try:
        with reading(engine, limits.SQL_MIGRATE_S).connect() as connection:
            lines, page = page_of(connection, month, since_ms, until_ms)
    except SQLAlchemyError as error:
        raise Unusable(troubles.cannot(error)) from None
    finally:
        engine.dispose()
    print("\n".join(page))
    return 1 if trial.out_of_balance(lines) else 0


def bounds(month: str) -> tuple[int, int]:
    """When a month `2026-11` begins and ends, in UTC. Raises Unusable."""
    try:
        first = datetime.datetime.strptime(month, MONTH).replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Unusable(f"{month!r} is not a month: write it as 2026-11.") from None
    days = calendar.monthrange(first.year, first.month)[1]
    since_ms = int(first.timestamp()) * 1000
    return since_ms, since_ms + days * limits.DAY_MS


def page_of(connection: Connection, month: str, since_ms: int, until_ms: int) -> tuple[list[Line], list[str]]:
    """The balance, and the page in lines. Raises SQLAlchemyError."""
    lines = trial.lines(connection, since_ms, until_ms)
    page = [f"Liveroom, {month} (UTC). Money is in minor units of its currency.", ""]
    page += _table(("Trial balance", "", "before", "moved", "after"), _balance(lines))
    page += ["", *_verdict(lines), ""]
    income = sales.income(connection, since_ms, until_ms)
    rows = ((i.currency or "no price", i.region or "-", i.coins, i.sold, i.charged_back) for i in income)
    page += _table(("Income", "region", "coins", "sold", "charged back"), rows)
    page += ["", "What the house owes at the end", *_owed(lines)]
    return lines, page


def _balance(lines: Sequence[Line]) -> Iterator[tuple[str | int, ...]]:
    for asset in dict.fromkeys(line.asset for line in lines):
        of_asset = [line for line in lines if line.asset == asset]
        yield from ((asset, line.account, line.before, line.moved, line.after) for line in of_asset)
        sums = (sum(getattr(line, name) for line in of_asset) for name in ("before", "moved", "after"))
        yield (asset, "= all", *sums)


def _verdict(lines: list[Line]) -> list[str]:
    wrong = trial.out_of_balance(lines)
    return [f"{asset} are out of balance by {sum_}." for asset, sum_ in wrong.items()] or [
        "Every asset adds up to zero."
    ]


def _owed(lines: Sequence[Line]) -> list[str]:
    after = {(line.asset, line.account): line.after for line in lines}
    return [
        f"  to viewers: {after.get(('coins', 'viewers'), 0)} coins that are not spent",
        f"  to creators: {after.get(('diamonds', 'creators'), 0)} diamonds, "
        f"and {after.get(('diamonds', 'held'), 0)} that payouts hold",
    ]


def _table(head: Sequence[str], rows: Iterator[tuple[str | int, ...]]) -> list[str]:
    """Rows in columns: words to the left, numbers to the right."""
    cells = [tuple(map(str, head)), *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words, numbers = slice(None, 2), slice(2, None)
    return [
        "  ".join(
            (
                *map(str.ljust, row[words], widths[words]),
                *map(str.rjust, row[numbers], widths[numbers]),
            )
        )
        for row in cells
    ]
