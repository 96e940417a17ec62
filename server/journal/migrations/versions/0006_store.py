"""Finds the entries that set a wallet's status or limit without its gifts, for the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0006_store"
down_revision = "0005"
branch_labels = None
depends_on = None

OF_SETTINGS = sa.text("kind IN ('chargeback', 'freeze', 'unfreeze', 'limit')")


def upgrade() -> None:
    columns = ["partition", "user_id", "epoch", "n"]
    op.create_index("entries_of_settings", "entries", columns, sqlite_where=OF_SETTINGS, postgresql_where=OF_SETTINGS)


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
