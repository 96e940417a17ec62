"""The rules of rooms: what happens when a gift comes."""

import sqlalchemy as sa
from alembic import op

revision = "0015_rules"
down_revision = "0014_goals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "room_rules",
        sa.Column("room_id", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
