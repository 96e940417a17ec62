"""Alembic's entry: migrate the database of the connection that `database.migrate` passes in."""

from alembic import context

from server.journal.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
