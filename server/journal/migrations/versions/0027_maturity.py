"""Gifts ripen by the terms of their own entries: days of creators and parts of reversals have their maturity."""

import sqlalchemy as sa
from alembic import op

revision = "0027_maturity"
down_revision = "0026_payouts"
branch_labels = None
depends_on = None

FIELD = '"maturity_days":'
START = f"instr(body, '{FIELD}')"
ON_SQLITE = f"CASE WHEN {START} > 0 THEN CAST(substr(body, {START} + {len(FIELD)}, 3) AS INTEGER) ELSE 7 END"
ON_POSTGRESQL = f"COALESCE(substring(body FROM '{FIELD}([0-9]{{1,3}})')::integer, 7)"


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    maturity = ON_SQLITE if sqlite else ON_POSTGRESQL
    op.execute("ALTER TABLE reversal_parts ADD COLUMN maturity_days INTEGER NOT NULL DEFAULT 7")
    _let_change(sqlite=sqlite)
    op.execute(
        f"UPDATE reversal_parts SET maturity_days = (SELECT {maturity} FROM entries "  # noqa: S608
        "WHERE entries.kind = 'gift' AND entries.ref = gift AND entries.user_id = reversal_parts.user_id) "
        "WHERE EXISTS (SELECT 1 FROM entries WHERE entries.kind = 'gift' AND entries.ref = gift "
        f"AND entries.user_id = reversal_parts.user_id AND ({maturity}) <> 7)"
    )
    _keep(sqlite=sqlite)
    op.drop_table("creator_days")
    op.create_table(
        "creator_days",
        sa.Column("creator", sa.String(64), nullable=False),
        sa.Column("gift_day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("maturity_days", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("credited", sa.BigInteger(), nullable=False),
        sa.Column("taken_back", sa.BigInteger(), nullable=False),
        sa.Column("gifts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("creator", "gift_day", "maturity_days"),
        sqlite_with_rowid=False,
    )
    op.execute(f"""
INSERT INTO creator_days (creator, gift_day, maturity_days, credited, taken_back, gifts)
SELECT creator, gift_day, maturity_days, SUM(credited), SUM(taken_back), SUM(gifts) FROM (
    SELECT creator_id AS creator, at_ms / 86400000 AS gift_day, {maturity} AS maturity_days,
        diamonds AS credited, 0 AS taken_back, 1 AS gifts
    FROM entries WHERE kind = 'gift' AND creator_id IS NOT NULL
    UNION ALL
    SELECT p.creator, p.gift_day, p.maturity_days, 0, p.diamonds, 0 FROM reversal_parts p
    JOIN entries e ON e.ref = p.reversal AND e.kind = p.kind AND e.user_id = p.user_id
) AS moved GROUP BY creator, gift_day, maturity_days
""")  # noqa: S608


def _let_change(*, sqlite: bool) -> None:
    if sqlite:
        op.execute("DROP TRIGGER IF EXISTS reversal_parts_no_update")
    else:
        op.execute("ALTER TABLE reversal_parts DISABLE TRIGGER reversal_parts_insert_only")


def _keep(*, sqlite: bool) -> None:
    if sqlite:
        op.execute(
            "CREATE TRIGGER reversal_parts_no_update BEFORE UPDATE ON reversal_parts "
            "BEGIN SELECT RAISE(ABORT, 'reversal_parts is insert-only'); END"
        )
    else:
        op.execute("ALTER TABLE reversal_parts ENABLE TRIGGER reversal_parts_insert_only")


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
