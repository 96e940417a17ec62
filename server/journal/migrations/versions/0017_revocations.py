"""Tokens that are no longer good: of whom, in which room, and until when they were minted."""

import sqlalchemy as sa
from alembic import op

revision = "0017_revocations"
down_revision = "0016_life"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("room_id", sa.String(64), primary_key=True),
        sa.Column("revoked_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("revocations_by_time", "revocations", ["revoked_ms"])


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
