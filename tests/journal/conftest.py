"""Every test of the journal runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresProcess


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    """The run's PostgreSQL."""
    server = PostgresProcess()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without a schema."""
    if request.param == "postgresql":
        server: PostgresProcess = request.getfixturevalue("postgres")
        return server.journal("template1")
    return f"sqlite:///{tmp_path / 'empty.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, empty_journal: Path, tmp_path: Path) -> str:
    """The address of a journal that is empty."""
    if request.param == "postgresql":
        server: PostgresProcess = request.getfixturevalue("postgres")
        return server.journal()
    path = tmp_path / "journal.sqlite3"
    shutil.copyfile(empty_journal, path)
    return f"sqlite:///{path}"
