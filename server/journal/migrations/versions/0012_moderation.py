"""What staff decides about people in rooms, and the stream of everything that staff did."""

import sqlalchemy as sa
from alembic import op

revision = "0012_moderation"
down_revision = "0011_limits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("room_id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "moderation",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("room_id", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("by_id", sa.String(64), nullable=False),
        sa.Column("by_name", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("event", sa.Text),
        sa.Column("told", sa.Integer, nullable=False),
    )
    op.create_index("moderation_of_room", "moderation", ["room_id", "at_ms", "id"])
    untold = sa.text("told = 0")
    op.create_index("moderation_untold", "moderation", ["at_ms"], sqlite_where=untold, postgresql_where=untold)


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
