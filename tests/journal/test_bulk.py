"""Many rows at once: on both databases they end up as if each had been written alone."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select

from server import limits
from server.journal import database
from server.journal.bulk import add_many, insert_many, insert_once, upsert_many
from server.journal.tables import legs, positions, topups

ONE, TWO = (3, "viewer:bob", 5), (3, "viewer:eve", 7)


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


@pytest.mark.parametrize("count", [1, limits.SQLITE_ROWS, limits.SQLITE_ROWS + 2])
def test_any_number_of_rows(engine: Engine, count: int) -> None:
    """SQLite gets them in statements of many rows, and the rest one by one."""
    rows = [(3, 1, n, 0, "coins", "viewer:bob", n) for n in range(count)]
    with engine.begin() as connection:
        insert_many(connection, legs, [])
        insert_many(connection, legs, [value for row in rows for value in row])
        assert [tuple(row) for row in connection.execute(select(legs).order_by(legs.c.n))] == rows


def test_rows_of_keys_that_exist(engine: Engine) -> None:
    """They are replaced, or their numbers are added."""
    with engine.begin() as connection:

        def held() -> set[tuple[int, str, int]]:
            return {tuple(row) for row in connection.execute(select(positions))}  # type: ignore[misc]

        upsert_many(connection, positions, [ONE])
        upsert_many(connection, positions, [TWO, (*ONE[:2], 9)])
        assert held() == {TWO, (*ONE[:2], 9)}
        add_many(connection, positions, [TWO, ONE])
        assert held() == {(*TWO[:2], 14), (*ONE[:2], 14)}
        add_many(connection, positions, [])


def test_a_row_of_a_key_that_exists_is_not_new(engine: Engine) -> None:
    """Who inserted it learns that, and nobody else."""
    row = {"id": "t", "user_id": "bob", "coins": 5, "source": "shop", "at_ms": 1, "state": "pending"}
    with engine.begin() as connection:
        assert insert_once(connection, topups, row)
        assert not insert_once(connection, topups, row | {"coins": 6})
        assert connection.execute(select(topups.c.coins)).scalars().all() == [5]
