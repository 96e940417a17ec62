"""Postings that follow from an entry's columns become a view. Only the others stay rows, in the table `legs`.

A row that does not say what its entry says is kept there, too: the next audit finds it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_postings"
down_revision = "0012_moderation"
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
# Each row is looked for by its key, so that this needs no memory, however large the journal is.
KEPT = f"""
INSERT INTO legs ({LEG})
{MADE}
SELECT {LEG} FROM postings p WHERE NOT EXISTS (
    SELECT 1 FROM entries e JOIN made ON made.kind = e.kind
    WHERE e.partition = p.partition AND e.epoch = p.epoch AND e.n = p.n
    AND made.leg = p.leg AND made.asset = p.asset AND {ACCOUNT} = p.account AND {AMOUNT} = p.amount
)
"""  # noqa: S608


def upgrade() -> None:
    op.create_table(
        "legs",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leg", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.String(8), nullable=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "epoch", "n", "leg"),
        sqlite_with_rowid=False,
    )
    op.execute(KEPT)
    op.drop_table("postings")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION postings_insert_only()")
    op.execute(VIEW)
    _insert_only("legs")
    # They count postings that are not stored any more. The next audit verifies everything, and signs new ones.
    op.execute("DELETE FROM audit_heads WHERE partition >= 0")


def _insert_only(table: str) -> None:
    """Make every UPDATE and DELETE of the table raise."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_insert_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is insert-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_insert_only()"
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
