"""Writes fewer pages per gift: unique keys begin with the gift id, and the account index has only reversals."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ONCE = ["ref", "kind", "user_id"]  # gift ids begin with their time, so a batch's keys are next to each other
TAKEN_BACK = sa.text("amount < 0 AND asset = 'diamonds' AND account <> 'house:awarded'")


def upgrade() -> None:
    op.drop_index("postings_by_account", "postings")
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("entries", recreate="always") as entries:
            entries.drop_constraint("entries_once", type_="unique")
            entries.create_unique_constraint("entries_once", ONCE)
        with op.batch_alter_table("postings", recreate="always", table_kwargs={"sqlite_with_rowid": False}):
            pass  # the key is the table: one tree instead of two
        for table in ("entries", "postings"):
            _insert_only(table)
    else:
        op.drop_constraint("entries_once", "entries", type_="unique")
        op.create_unique_constraint("entries_once", "entries", ONCE)
    op.create_index(
        "postings_taken_back", "postings", ["account"], sqlite_where=TAKEN_BACK, postgresql_where=TAKEN_BACK
    )


def _insert_only(table: str) -> None:
    """Restore the triggers: SQLite makes a new table without them."""
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
        )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
