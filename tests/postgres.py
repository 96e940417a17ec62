"""A real PostgreSQL for the tests, with the journal's schema; fast, because its data need not survive."""

import functools
import os

import psycopg

from server.bench.postgres import PostgresProcess
from server.journal import database
from server.journal.tables import metadata
from server.store import embedded

# Whatever a test may change of a database besides rows: then no other test gets it.
_SHAPE = """
SELECT md5(concat_ws(E'\\n',
  (SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_'),
  (SELECT string_agg(concat_ws(' ', oid::regclass, relkind, relacl, reloptions), E'\\n' ORDER BY relname)
   FROM pg_class WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(concat_ws(' ', attrelid::regclass, attnum, attname, atttypid, atttypmod, attnotnull, atthasdef),
                     E'\\n' ORDER BY attrelid::regclass::text, attnum)
   FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)),
  (SELECT string_agg(concat_ws(' ', pg_get_triggerdef(oid), tgenabled), E'\\n' ORDER BY tgname) FROM pg_trigger),
  (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), E'\\n' ORDER BY conname) FROM pg_constraint
   WHERE connamespace = 'public'::regnamespace),
  (SELECT string_agg(pg_get_indexdef(indexrelid), E'\\n' ORDER BY indexrelid) FROM pg_index
   WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)),
  (SELECT string_agg(prosrc, E'\\n' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
  (SELECT string_agg(setconfig::text, ' ') FROM pg_db_role_setting),
  (SELECT string_agg(version_num, ' ') FROM alembic_version)))
"""
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# Past the triggers. To truncate a table takes some 4 ms, because it makes new files.
_EMPTIED = f"""
SET session_replication_role = replica;
DO $$ DECLARE name text; BEGIN
  FOREACH name IN ARRAY '{{{",".join(metadata.tables)}}}'::text[] LOOP
    IF pg_table_size(name::regclass) > 200000 THEN EXECUTE 'TRUNCATE ' || name;
    ELSE EXECUTE 'DELETE FROM ' || name; END IF;
  END LOOP;
END $$
"""


class Journals(PostgresProcess):
    """One server; each database is a copy of a template with the journal's schema. To make one takes 0.1 s."""

    def __init__(self) -> None:
        super().__init__({"fsync": "off"}, functools.partial(embedded.die_with_parent, os.getpid()))
        self._made = 0
        self._given_back: list[str] = []
        self._shape = ""

    def start(self) -> None:
        super().start()
        self.run("CREATE DATABASE empty_journal")
        engine = database.connect(self.address("empty_journal"))
        database.migrate(engine)
        engine.dispose()
        with psycopg.connect(self.address("empty_journal")) as connection:
            self._shape = _shape_of(connection)

    def journal(self, template: str = "empty_journal") -> str:
        """The address of an empty journal; copied from `template1` it has no schema either."""
        if template == "empty_journal" and self._given_back:
            return self._given_back.pop()
        self._made += 1
        name = f"journal_{self._made}"
        # To copy files takes a third of the time of the other strategy, which writes all pages to the WAL.
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.address(name)

    def give_back(self, address: str) -> None:
        """Empty a journal for the next test, if this one has left its schema alone and nobody uses it any more."""
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                others = connection.execute(_OTHERS).fetchone()
                if others != (0,) or _shape_of(connection) != self._shape:
                    return
                connection.execute("SET lock_timeout = '1s'")
                connection.execute(_EMPTIED.encode())
        except psycopg.Error:
            return
        self._given_back.append(address)


def _shape_of(connection: psycopg.Connection) -> str:
    row = connection.execute(_SHAPE.encode()).fetchone()
    return "" if row is None else str(row[0])
