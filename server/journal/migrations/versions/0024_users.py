"""What the host platform knows of people, and what they are suspended from."""

import sqlalchemy as sa
from alembic import op

revision = "0024_users"
down_revision = "0023_sales"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("known", sa.Text, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("version", name="users_version"),
    )
    op.create_table(
        "suspensions",
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("capability", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger),
        sa.Column("appeal", sa.String(16), nullable=False),
        sa.Column("appeal_text", sa.Text, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
    )
    in_force = sa.text("ended_ms IS NULL")
    op.create_index(
        "suspensions_in_force", "suspensions", ["until_ms"], sqlite_where=in_force, postgresql_where=in_force
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
