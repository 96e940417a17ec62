"""When gifts ripen: each by the terms of its own entry, which no later rate card changes. A day ripens as a whole."""

from typing import Any

from sqlalchemy import Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

from server import limits

_FIELD = '"maturity_days":'  # in a body's JSON; within its texts the quotes are escaped
_DIGITS = len(str(limits.RATE_DAYS_MAX))  # no more are read: a body that somebody changed must not stop an audit


class MaturityDays(ColumnElement[int]):
    """A column for queries of `entries`: a gift's `Body.ripens_after_days`, from its body."""

    inherit_cache = True
    type = Integer()


@compiles(MaturityDays, "sqlite")
def _in_sqlite(_element: MaturityDays, _compiler: Any, **_: Any) -> str:
    start = f"instr(entries.body, '{_FIELD}')"
    number = f"CAST(substr(entries.body, {start} + {len(_FIELD)}, {_DIGITS}) AS INTEGER)"
    return f"CASE WHEN {start} > 0 THEN {number} ELSE {limits.MATURITY_DAYS} END"


@compiles(MaturityDays, "postgresql")
def _in_postgresql(_element: MaturityDays, _compiler: Any, **_: Any) -> str:
    return f"COALESCE(substring(entries.body FROM '{_FIELD}([0-9]{{1,{_DIGITS}}})')::integer, {limits.MATURITY_DAYS})"


def ripe_day(gift_day: int, maturity_days: int) -> int:
    """The day since 1970 that begins when the gifts of a day are ripe."""
    return gift_day + maturity_days + 1


def is_ripe(day: int, now_ms: int) -> bool:
    """Whether a `ripe_day` has begun."""
    return ripe_at_ms(day) <= now_ms


def ripe_at_ms(day: int) -> int:
    """When a `ripe_day` begins."""
    return day * limits.DAY_MS
