"""Fan points of people with hosts."""

import sqlalchemy as sa
from alembic import op

revision = "0028_points"
down_revision = "0027_maturity"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fan_points",
        sa.Column("host_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("watch", sa.BigInteger(), nullable=False),
        sa.Column("chat", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("day_watch", sa.Integer(), nullable=False),
        sa.Column("day_chat", sa.Integer(), nullable=False),
        sa.Column("watch_minute", sa.BigInteger(), nullable=False),
        sa.Column("chat_minute", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host_id", "user_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
