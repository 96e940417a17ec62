"""What people have given in a lifetime, and their highest level."""

import sqlalchemy as sa
from alembic import op

revision = "0025_givers"
down_revision = "0024_users"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "givers",
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("gifts", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("room_id", sa.String(64), nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    untold = sa.text("told = 0")
    op.create_index("givers_untold", "givers", ["at_ms"], sqlite_where=untold, postgresql_where=untold)


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
