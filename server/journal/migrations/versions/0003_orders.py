"""Two viewers' gifts with one id get separate refunds, and an index finds pending orders by their state."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("topups_by_state", "topups", ["state", "at_ms"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE reversals DROP CONSTRAINT reversals_pkey, ADD PRIMARY KEY (kind, ref, user_id)")
        return
    op.drop_index("reversals_by_state", "reversals")  # SQLite cannot change a key, so a new table takes the rows
    op.rename_table("reversals", "reversals_before")
    op.create_table(
        "reversals",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "ref", "user_id"),
    )
    op.execute("INSERT INTO reversals SELECT * FROM reversals_before")  # the same columns in the same order
    op.drop_table("reversals_before")
    op.create_index("reversals_by_state", "reversals", ["state", "at_ms"])


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
