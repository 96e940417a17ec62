"""Says which wallet store each partition was last opened on, for stores that fail over."""

import sqlalchemy as sa
from alembic import op

revision = "0009_fence"
down_revision = "0008_parts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "openings",
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("identity", sa.String(100), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("before", sa.String(100), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
