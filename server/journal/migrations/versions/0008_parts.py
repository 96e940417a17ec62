"""Parts of each reversal, days of each creator, and kept lots; what is already journaled gets its parts and days."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008_parts"
down_revision = "0007_heads"
branch_labels = None
depends_on = None

DAY_MS = 86_400_000
SOME = 500


def upgrade() -> None:
    op.create_table(
        "reversal_parts",
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reversal", sa.String(64), nullable=False),
        sa.Column("gift", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(64), nullable=False),
        sa.Column("gift_day", sa.BigInteger(), nullable=False),
        sa.Column("coins", sa.BigInteger(), nullable=False),
        sa.Column("diamonds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "kind", "reversal", "gift"),
        sqlite_with_rowid=False,
    )
    op.create_index("reversal_parts_by_gift", "reversal_parts", ["user_id", "gift"])
    op.create_table(
        "creator_days",
        sa.Column("creator", sa.String(64), nullable=False),
        sa.Column("gift_day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("credited", sa.BigInteger(), nullable=False),
        sa.Column("taken_back", sa.BigInteger(), nullable=False),
        sa.Column("gifts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("creator", "gift_day"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lot_snapshots",
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("lots", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.drop_index("postings_taken_back", "postings")  # earnings are read by day
    op.drop_index("entries_by_user", "entries")
    op.create_index("entries_by_user", "entries", ["user_id", "epoch", "n"])
    _add_parts()
    _insert_only("reversal_parts")
    _add_days()


def _add_parts() -> None:
    """Chargebacks first: a pending refund of a gift that one of them took from is left to be refused."""
    connection = op.get_bind()
    parts = sa.table("reversal_parts", *(sa.column(name) for name in _PART))
    for kind in ("chargeback", "refund"):
        for some in _in_some(_parts_of(connection, kind)):
            connection.execute(sa.insert(parts), some)


_PART = ("user_id", "kind", "reversal", "gift", "creator", "gift_day", "coins", "diamonds")
_ORDERS = sa.text("SELECT ref, user_id, body, state FROM reversals WHERE kind = :kind AND state <> 'refused'")
_GIFT = sa.text(
    "SELECT creator_id, room_id, coins, diamonds, at_ms FROM entries "
    "WHERE kind = 'gift' AND ref = :ref AND user_id = :user_id"
)
_TAKEN = sa.text("SELECT 1 FROM reversal_parts WHERE user_id = :user_id AND gift = :ref LIMIT 1")
_DECIDE = sa.text("UPDATE reversals SET body = :body WHERE kind = 'refund' AND ref = :ref AND user_id = :user_id")


def _parts_of(connection: Any, kind: str) -> Iterator[dict[str, Any]]:
    for order in connection.execute(_ORDERS, {"kind": kind}).all():
        if kind == "chargeback":
            decided = json.loads(order.body)["reversed"] if order.body else []
        else:
            decided = _refund(connection, order)
        for part in decided:
            gift = connection.execute(_GIFT, {"ref": part["gift_id"], "user_id": order.user_id}).one()
            values = (part["gift_id"], part["creator"], gift.at_ms // DAY_MS, part["coins"], part["diamonds"])
            yield dict(zip(_PART, (order.user_id, kind, order.ref, *values), strict=True))


def _refund(connection: Any, order: Any) -> list[dict[str, Any]]:
    """Decide a refund: it takes the whole gift."""
    of = {"ref": order.ref, "user_id": order.user_id}
    gift = connection.execute(_GIFT, of).one_or_none()
    if gift is None or connection.execute(_TAKEN, of).first() is not None:
        return []
    part = {"gift_id": order.ref, "creator": gift.creator_id, "room": gift.room_id}
    part |= {"coins": gift.coins, "diamonds": gift.diamonds}
    connection.execute(_DECIDE, {"body": json.dumps({"coins": gift.coins, "reversed": [part]}), **of})
    return [part]


def _in_some(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == SOME:
            yield some
            some = []
    if some:
        yield some


def _add_days() -> None:
    op.execute(_DAYS)


_DAYS = """
INSERT INTO creator_days (creator, gift_day, credited, taken_back, gifts)
SELECT creator, gift_day, SUM(credited), SUM(taken_back), SUM(gifts) FROM (
    SELECT creator_id AS creator, at_ms / 86400000 AS gift_day, diamonds AS credited, 0 AS taken_back, 1 AS gifts
    FROM entries WHERE kind = 'gift' AND creator_id IS NOT NULL
    UNION ALL
    SELECT p.creator, p.gift_day, 0, p.diamonds, 0 FROM reversal_parts p
    JOIN entries e ON e.ref = p.reversal AND e.kind = p.kind AND e.user_id = p.user_id
) AS moved GROUP BY creator, gift_day
"""


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
