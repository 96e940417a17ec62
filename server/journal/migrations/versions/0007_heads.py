"""Adds the table of verified heads. The first audit fills it."""

import sqlalchemy as sa
from alembic import op

revision = "0007_heads"
down_revision = "0006_store"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_heads",
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("instance", sa.String(32), nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
