"""Orders of viewers' own limits: the rows of journaled ones, and an index for the newest order of a wallet."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0011_limits"
down_revision = "0010_clock"
branch_labels = None
depends_on = None

ROWS = 500


def upgrade() -> None:
    op.create_index("reversals_of_user", "reversals", ["user_id", "at_ms"])
    connection = op.get_bind()
    columns = ("kind", "ref", "user_id", "reason", "body", "state", "at_ms")
    reversals = sa.table("reversals", *map(sa.column, columns))
    found = connection.execute(sa.text("SELECT ref, user_id, body, at_ms FROM entries WHERE kind = 'limit'"))
    for rows in found.partitions(ROWS):
        connection.execute(sa.insert(reversals), [_order(*row) for row in rows])


def _order(ref: str, user_id: str, body: str, at_ms: int) -> dict[str, object]:
    kept = json.dumps({"coins_per_day": json.loads(body)["coins_per_day"]}, separators=(",", ":"))
    order = {"kind": "limit", "ref": ref, "user_id": user_id, "reason": "", "body": kept}
    return {**order, "state": "posted", "at_ms": at_ms}


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
