"""Payouts, what was done with each, and what was withheld of them."""

import sqlalchemy as sa
from alembic import op

revision = "0026_payouts"
down_revision = "0025_givers"
branch_labels = None
depends_on = None

OPEN = "state IN ('requested', 'reviewing', 'approved', 'submitted', 'unknown')"


def upgrade() -> None:
    _payouts()
    _acts()
    _withholdings()
    _insert_only("payout_acts")
    _insert_only("withholdings")


def _payouts() -> None:
    op.create_table(
        "payouts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("creator", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked", sa.String(64), nullable=False),
        sa.Column("diamonds", sa.BigInteger, nullable=False),
        sa.Column("rate", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("gross", sa.BigInteger, nullable=False),
        sa.Column("fee", sa.BigInteger, nullable=False),
        sa.Column("withheld", sa.BigInteger, nullable=False),
        sa.Column("net", sa.BigInteger, nullable=False),
        sa.Column("tax", sa.String(32), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("batch", sa.String(40), nullable=False),
        sa.Column("payee", sa.Text),
        sa.Column("payee_hash", sa.String(64), nullable=False),
        sa.Column("flags", sa.Text, nullable=False),
        sa.Column("eyes", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("retryable", sa.Integer, nullable=False),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("said_ms", sa.BigInteger, nullable=False),
        sa.Column("requested_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("late_ms", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("alarm", sa.String(16), nullable=False),
        sa.UniqueConstraint("key", name="payouts_key"),
    )
    op.create_index("payouts_of_creator", "payouts", ["creator", "requested_ms"])
    op.create_index("payouts_by_state", "payouts", ["state", "due_ms"])
    op.create_index(
        "payouts_one_open",
        "payouts",
        ["creator"],
        unique=True,
        sqlite_where=sa.text(OPEN),
        postgresql_where=sa.text(OPEN),
    )


def _acts() -> None:
    op.create_table(
        "payout_acts",
        sa.Column("payout", sa.String(64), primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("by_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
    )


def _withholdings() -> None:
    op.create_table(
        "withholdings",
        sa.Column("payout", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("creator", sa.String(64), nullable=False),
        sa.Column("rate", sa.String(64), nullable=False),
        sa.Column("tax", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("gross", sa.BigInteger, nullable=False),
        sa.Column("withheld", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("withholdings_of_creator", "withholdings", ["creator", "at_ms"])


def _insert_only(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION {table}_insert_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{table} is insert-only'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_insert_only()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
        )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
