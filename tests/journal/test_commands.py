"""What commands print: that an embedded store does not run, and what a migration did."""

from pathlib import Path

import pytest

from server.processes import journal as process
from server.processes import repair, schema
from server.settings import Unusable
from server.text import several
from tests.stores import settings


def test_an_embedded_store_that_does_not_run(tmp_path: Path) -> None:
    """`audit` and `repair` name what to start, also where a killed program has left its socket's file."""
    of = settings(tmp_path)
    for _ in range(2):
        for command in (process.audit, lambda of: repair.run(of, repair.Order())):
            with pytest.raises(Unusable, match=r"embedded wallet store .* is not running. .*`python -m server run`"):
                command(of)
        (tmp_path / "wallet.sock").touch()
    assert not (tmp_path / "journal.sqlite3").exists()


def test_migrate_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It makes the schema, also where nothing has run yet, or finds it up to date."""
    of = settings(tmp_path / "new")
    said = []
    for _ in range(2):
        assert schema.migrate(of) == 0
        said.append(capsys.readouterr().out)
    assert said[0].startswith("The journal's schema is made: 00")
    assert said[1].startswith("The journal's schema is up to date already: 00")


def test_numbers_and_their_nouns() -> None:
    """One day is not "1 days"."""
    assert [several(n, "day") for n in (0, 1, 2000)] == ["0 days", "1 day", "2,000 days"]
    assert [several(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
