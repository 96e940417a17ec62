"""Work that is due at a time, broadcasts that have ended, and who was in a room first when."""

import sqlalchemy as sa
from alembic import op

revision = "0016_life"
down_revision = "0015_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "due_work",
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("room_id", sa.String(64), primary_key=True),
        sa.Column("ref", sa.String(64), primary_key=True),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("due_work_by_time", "due_work", ["due_at_ms"])
    op.create_table(
        "broadcasts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("room_id", sa.String(64), nullable=False),
        sa.Column("host_id", sa.String(64), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_index("broadcasts_of_room", "broadcasts", ["room_id", "started_at_ms", "id"])
    op.create_table(
        "room_people",
        sa.Column("room_id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("broadcast_id", sa.String(64), nullable=False),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("room_people_met", "room_people", ["room_id", "broadcast_id"])


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
