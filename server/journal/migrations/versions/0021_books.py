"""Postings may be in money, whose name is longer, and a creator's books and reversals are found.

The table `legs` gets a wider column. SQLite cannot do that in place, so its few rows are copied as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021_books"
down_revision = "0018_lists"
branch_labels = None
depends_on = None

MADE = """
WITH made (kind, leg, asset, account, sign) AS (VALUES
    ('topup', 0, 'coins', 'house:sold', -1), ('topup', 1, 'coins', 'viewer', 1),
    ('gift', 0, 'coins', 'viewer', -1), ('gift', 1, 'coins', 'house:spent', 1),
    ('gift', 2, 'diamonds', 'house:awarded', -1), ('gift', 3, 'diamonds', 'creator', 1),
    ('refund', 0, 'coins', 'house:spent', -1), ('refund', 1, 'coins', 'viewer', 1),
    ('refund', 2, 'diamonds', 'creator', -1), ('refund', 3, 'diamonds', 'house:awarded', 1))
"""
ACCOUNT = """
CASE made.account WHEN 'viewer' THEN 'viewer:' || e.user_id
    WHEN 'creator' THEN 'creator:' || COALESCE(e.creator_id, '') ELSE made.account END
"""
AMOUNT = "made.sign * CASE made.asset WHEN 'coins' THEN e.coins ELSE e.diamonds END"
LEG = "partition, epoch, n, leg, asset, account, amount"
VIEW = f"""
CREATE VIEW postings AS {MADE}
SELECT e.partition, e.epoch, e.n, made.leg, made.asset, {ACCOUNT} AS account, {AMOUNT} AS amount
FROM entries e JOIN made ON made.kind = e.kind
UNION ALL SELECT {LEG} FROM legs
"""  # noqa: S608
OF_BOOKS = "partition = 64"


def upgrade() -> None:
    op.execute("DROP VIEW postings")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE legs ALTER COLUMN asset TYPE VARCHAR(16)")
    else:
        _copy()
    op.execute(VIEW)
    of_books = sa.text(OF_BOOKS)
    op.create_index(
        "entries_of_books", "entries", ["creator_id", "epoch", "n"], sqlite_where=of_books, postgresql_where=of_books
    )
    op.create_index("reversal_parts_by_creator", "reversal_parts", ["creator", "gift_day"])


def _copy() -> None:
    op.execute("ALTER TABLE legs RENAME TO legs_before")
    op.create_table(
        "legs",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leg", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.String(16), nullable=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "epoch", "n", "leg"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO legs ({LEG}) SELECT {LEG} FROM legs_before")  # noqa: S608
    op.execute("DROP TABLE legs_before")  # and its triggers
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER legs_no_{verb.lower()} BEFORE {verb} ON legs "
            "BEGIN SELECT RAISE(ABORT, 'legs is insert-only'); END"
        )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
