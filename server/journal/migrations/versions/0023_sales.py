"""What was paid for top-ups, if the platform told it."""

import sqlalchemy as sa
from alembic import op

revision = "0023_sales"
down_revision = "0022_rates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("topups", sa.Column("sale", sa.Text))


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
