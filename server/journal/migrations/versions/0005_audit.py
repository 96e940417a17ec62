"""Chain version 2: each row says which fields its hash covers, and personal text lies beside the body, to be erased."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEPT = (
    "partition, epoch, n, kind, user_id, ref, room_id, creator_id, coins, diamonds, balance, credited, combo_count, "
    "at_ms, body, hash, version"
)


def upgrade() -> None:
    op.add_column("entries", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("entries", sa.Column("text", sa.Text()))
    if op.get_bind().dialect.name == "sqlite":
        refuse = "BEGIN SELECT RAISE(ABORT, 'entries is insert-only'); END"
        op.execute("DROP TRIGGER entries_no_update")
        op.execute(f"CREATE TRIGGER entries_no_update BEFORE UPDATE OF {KEPT} ON entries {refuse}")
        op.execute(f"CREATE TRIGGER entries_erase BEFORE UPDATE OF text ON entries WHEN NEW.text IS NOT NULL {refuse}")
        return
    refuse = "EXECUTE FUNCTION entries_insert_only()"
    op.execute("DROP TRIGGER entries_insert_only ON entries")
    op.execute(
        f"CREATE TRIGGER entries_insert_only BEFORE UPDATE OF {KEPT} OR DELETE OR TRUNCATE ON entries "
        f"FOR EACH STATEMENT {refuse}"
    )
    op.execute(
        "CREATE TRIGGER entries_erase BEFORE UPDATE OF text ON entries FOR EACH ROW "
        f"WHEN (NEW.text IS NOT NULL) {refuse}"
    )


def downgrade() -> None:
    raise RuntimeError("the journal is never thrown away")
