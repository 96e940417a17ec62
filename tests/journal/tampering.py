"""Changes the journal by hand, as somebody with the database's password or a bad disk might."""

from sqlalchemy import Connection, Engine, text


def tamper(engine: Engine, *statements: str) -> int:
    """Execute statements in one transaction, past the triggers that refuse them. Returns how many rows they changed."""
    with engine.begin() as connection:
        triggers = drop_triggers(connection)
        changed = sum(connection.execute(text(statement)).rowcount for statement in statements)
        for trigger in triggers:
            connection.execute(text(trigger))
    return changed


def drop_triggers(connection: Connection) -> list[str]:
    """Returns the statements that create the triggers again. PostgreSQL ignores them until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        return []
    found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    for name, _ in found:
        connection.execute(text(f"DROP TRIGGER {name}"))
    return [sql for _, sql in found]
