"""Lets one transaction change the insert-only tables. Only a repair may do so, to put back what somebody changed."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, Table, text

from server.journal.tables import entries, legs, reversal_parts

INSERT_ONLY = (entries, legs, reversal_parts)


@contextlib.contextmanager
def unlocked(connection: Connection, tables: tuple[Table, ...] = INSERT_ONLY) -> Iterator[None]:
    """Switch the triggers off until the block ends. Other transactions never see them off. Raises SQLAlchemyError."""
    again = [statement for table in tables for statement in _switch_off(connection, table)]
    yield
    for statement in again:
        connection.exec_driver_sql(statement)


def _switch_off(connection: Connection, table: Table) -> list[str]:
    """Switch a table's triggers off. Returns the statements that switch them on again."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
        return [f"ALTER TABLE {table.name} ENABLE TRIGGER USER"]
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    found = connection.execute(query, {"table": table.name}).all()
    for name, _ in found:
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    return [sql for _, sql in found]
