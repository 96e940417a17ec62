"""The goals of rooms."""

import sqlalchemy as sa
from alembic import op

revision = "0013_goals"
down_revision = "0012_moderation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "goals",
        sa.Column("room_id", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("goals", sa.Text, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
