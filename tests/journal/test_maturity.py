"""The maturity of gifts, as SQL reads it from their bodies."""

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, insert, select

from server import limits
from server.entries import Body
from server.journal import database
from server.journal.maturity import MaturityDays
from server.journal.tables import entries

BODIES = {
    '{"kind":"gift","id":"a","maturity_days":0,"coins":7}': 0,
    '{"kind":"gift","id":"b","coins":7,"maturity_days":30}': 30,
    '{"kind":"gift","id":"c","maturity_days":366}': limits.RATE_DAYS_MAX,
    '{"kind":"gift","id":"d","coins":7}': limits.MATURITY_DAYS,
    r'{"kind":"gift","id":"e","source":"\"maturity_days\":3"}': limits.MATURITY_DAYS,
}
CHANGED = ('{"maturity_days":99999999999999999999}', '{"maturity_days":"x"}', '{"maturity_days":-5}', "no JSON")


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def read(engine: Engine, *bodies: str) -> list[int]:
    row = {"partition": 1, "epoch": 1, "kind": "gift", "user_id": "cleo", "creator_id": "ann", "coins": 1}
    row |= {"diamonds": 1, "balance": 0, "combo_count": 0, "at_ms": 1, "hash": "x", "version": 2}
    with engine.begin() as connection:
        for n, body in enumerate(bodies):
            connection.execute(insert(entries).values(**row, n=n, ref=f"g{n}", body=body))
        return [
            int(days)
            for days in connection.execute(select(MaturityDays()).select_from(entries).order_by(entries.c.n)).scalars()
        ]


def test_sql_reads_what_the_types_read(engine: Engine) -> None:
    """Also where a text looks like the field."""
    assert read(engine, *BODIES) == list(BODIES.values())
    assert [msgspec.json.decode(body, type=Body).ripens_after_days for body in BODIES] == list(BODIES.values())


def test_a_body_that_somebody_changed(engine: Engine) -> None:
    """It gives some small number, and no error: an audit must come to its finding."""
    assert all(abs(days) <= 999 for days in read(engine, *CHANGED))
