"""A payout desk on SQLite and on PostgreSQL, with a payment service on a real port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.journal import database
from tests.journal.conftest import empty_database, journal, postgres
from tests.payouts.house import House
from tests.providers.bank import Bank

__all__ = ["bank", "empty_database", "house", "journal", "postgres"]


@pytest.fixture
def bank() -> Iterator[Bank]:
    made = Bank()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def house(journal: str, bank: Bank, tmp_path: Path) -> Iterator[House]:
    engine = database.connect(journal)
    yield House(engine, bank, tmp_path / "files")
    engine.dispose()
