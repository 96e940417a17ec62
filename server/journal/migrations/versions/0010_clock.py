"""Money time: one row that the journal process moves."""

import sqlalchemy as sa
from alembic import op

revision = "0010_clock"
down_revision = "0009_fence"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "money_time",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("now_ms", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("uptime_ms", sa.BigInteger(), nullable=False),
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("agreed_ms", sa.BigInteger(), nullable=False),
        sa.Column("owed_ms", sa.BigInteger(), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_in_ms", sa.BigInteger(), nullable=False),
        sa.Column("orders_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
