"""The goals of rooms, and each room's gifts by time: boards and goals are counted again from them."""

import sqlalchemy as sa
from alembic import op

revision = "0014_goals"
down_revision = "0013_postings"
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
    gifts = sa.text("kind = 'gift'")
    op.create_index("entries_by_room", "entries", ["room_id", "at_ms"], sqlite_where=gifts, postgresql_where=gifts)


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
