"""Word lists and emotes of the site, of hosts and of rooms."""

import sqlalchemy as sa
from alembic import op

revision = "0018_lists"
down_revision = "0017_revocations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalogues",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("version", name="catalogues_version"),
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
