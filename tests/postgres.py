"""A real PostgreSQL for the tests, with the journal's schema; fast, because its data need not survive."""

import functools
import os

from server.bench.postgres import PostgresProcess
from server.journal import database
from server.store import embedded


class Journals(PostgresProcess):
    """One server; each database is a copy of a template with the journal's schema."""

    def __init__(self) -> None:
        super().__init__({"fsync": "off"}, functools.partial(embedded.die_with_parent, os.getpid()))
        self._made = 0

    def start(self) -> None:
        super().start()
        self.run("CREATE DATABASE empty_journal")
        engine = database.connect(self.address("empty_journal"))
        database.migrate(engine)
        engine.dispose()

    def journal(self, template: str = "empty_journal") -> str:
        """The address of a new, empty journal; copied from `template1` it has no schema either."""
        self._made += 1
        name = f"journal_{self._made}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.address(name)
