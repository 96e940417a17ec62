"""Refunds and chargebacks: one row per order, never deleted, written before the wallet is touched."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reversals",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "ref"),
    )
    op.create_index("reversals_by_state", "reversals", ["state", "at_ms"])


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
