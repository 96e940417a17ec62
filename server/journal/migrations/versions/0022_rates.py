"""Rate cards, each version once."""

import sqlalchemy as sa
from alembic import op

revision = "0022_rates"
down_revision = "0021_books"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_cards",
        sa.Column("version", sa.String(32), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER rate_cards_no_{verb.lower()} BEFORE {verb} ON rate_cards "
                "BEGIN SELECT RAISE(ABORT, 'rate_cards is insert-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION rate_cards_insert_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'rate_cards is insert-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER rate_cards_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rate_cards "
        "FOR EACH STATEMENT EXECUTE FUNCTION rate_cards_insert_only()"
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
