"""What the database lacks of the journal's schema."""

from sqlalchemy import Connection, inspect

from server.journal.tables import metadata, views


def missing(connection: Connection) -> list[str]:
    """The tables and views that the database does not have."""
    found = inspect(connection)
    there = {*found.get_table_names(), *found.get_view_names()}
    return [name for name in (*metadata.tables, *views.tables) if name not in there]
