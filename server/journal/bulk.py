"""Many rows at once, past what SQLAlchemy does for each: positional statements on SQLite, COPY on PostgreSQL."""

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import bindparam

Rows = Sequence[tuple[Any, ...]]


def insert_many(connection: Connection, table: Table, rows: Rows) -> None:
    """Rows with a value for every column, in the table's order. Raises SQLAlchemyError."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_insert(table), list(rows))
        return
    _copy(connection, table, rows)


def put_many(connection: Connection, table: Table, rows: Rows) -> None:
    """The same where rows of these keys may be there, and are replaced; no key twice. Raises SQLAlchemyError."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_put(table), list(rows))
        return
    columns = dict(zip(table.columns.keys(), map(list, zip(*rows, strict=True)), strict=True))
    connection.execute(_put_arrays(table), columns)


@functools.cache
def _insert(table: Table) -> str:
    return str(insert(table).compile(dialect=sqlite.dialect()))


@functools.cache
def _put(table: Table) -> str:
    statement = sqlite.insert(table)
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    statement = statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=replaced)
    return str(statement.compile(dialect=sqlite.dialect()))


@functools.cache
def _put_arrays(table: Table) -> Any:
    """One statement with an array per column: a row costs no round trip and no statement of its own."""
    arrays = [func.unnest(bindparam(each.name, type_=postgresql.ARRAY(each.type))) for each in table.columns]
    statement = postgresql.insert(table).from_select(table.columns.keys(), select(*arrays))
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=replaced)


def _copy(connection: Connection, table: Table, rows: Rows) -> None:
    """psycopg's own cursor, for SQLAlchemy has no COPY; its errors become SQLAlchemy's."""
    quoted = connection.dialect.identifier_preparer
    columns = ", ".join(quoted.format_column(column) for column in table.columns)
    statement = f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    dbapi: Any = connection.dialect.loaded_dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except dbapi.Error as error:
        raise DBAPIError.instance(statement, None, error, dbapi.Error, dialect=connection.dialect) from error
