"""The journal's tables. The migrations make the schema; a test checks that both agree."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint, text

metadata = MetaData()

# One row for each entry of a partition's ledger log; `hash` chains it to the one before.
entries = Table(
    "entries",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("user_id", String(64), nullable=False),  # whose wallet moved; empty for markers
    Column("ref", String(64), nullable=False),  # gift id, top-up id, ...
    Column("room_id", String(64)),
    Column("creator_id", String(64)),
    Column("coins", BigInteger, nullable=False),
    Column("diamonds", BigInteger, nullable=False),
    Column("balance", BigInteger),  # the wallet's, after this entry
    Column("credited", BigInteger),  # the creator's counter in this partition, after this entry
    Column("combo_count", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # the entry as the wallet store wrote it
    Column("hash", String(64), nullable=False),
    UniqueConstraint("ref", "kind", "user_id", name="entries_once"),  # in this order new gifts are next to each other
    Index("entries_by_user", "user_id", "at_ms"),
    Index("entries_by_creator", "creator_id", "at_ms"),
)

# The postings that are looked up by account: diamonds that somebody lost, without those that the house gives for gifts.
TAKEN_BACK = text("amount < 0 AND asset = 'diamonds' AND account <> 'house:awarded'")

# Double entry: the postings of an entry sum to zero in each asset.
postings = Table(
    "postings",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("leg", Integer, primary_key=True, autoincrement=False),
    Column("asset", String(8), nullable=False),  # coins | diamonds
    Column("account", String(80), nullable=False),  # viewer:<id> | creator:<id> | house:<name>
    Column("amount", BigInteger, nullable=False),
    Index("postings_taken_back", "account", sqlite_where=TAKEN_BACK, postgresql_where=TAKEN_BACK),
    sqlite_with_rowid=False,
)

# The newest balance of each account of a partition. The next entry is checked against it.
positions = Table(
    "positions",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("account", String(80), primary_key=True),  # viewer:<id> in coins | creator:<id> in diamonds
    Column("balance", BigInteger, nullable=False),
)

# Misfits: a partition is frozen in front of its first one, the others go on.
quarantine = Table(
    "quarantine",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# The reports of the last audits. /v1/audit returns the newest.
audits = Table(
    "audits",
    metadata,
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("ok", Integer, nullable=False),
    Column("report", Text, nullable=False),
)

# Orders of refunds, chargebacks, freezes and unfreezes, never deleted. `body` is what a chargeback takes from whom.
reversals = Table(
    "reversals",
    metadata,
    Column("kind", String(16), primary_key=True),  # refund | chargeback | freeze | unfreeze
    Column("ref", String(64), primary_key=True),  # gift id | top-up id | the order's own id
    Column("user_id", String(64), primary_key=True),  # two viewers may use one gift id
    Column("reason", String(200), nullable=False),
    Column("body", Text),
    Column("state", String(8), nullable=False),  # pending | posted | refused
    Column("at_ms", BigInteger, nullable=False),
    Index("reversals_by_state", "state", "at_ms"),
)

# Money time, in one row: how far it is, and by which machine's clock it was moved last (see moneytime.py).
money_time = Table(
    "money_time",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("now_ms", BigInteger, nullable=False),
    Column("boot", String(64), nullable=False),  # one run of one machine, and how long it had run
    Column("uptime_ms", BigInteger, nullable=False),
    Column("wall_ms", BigInteger, nullable=False),  # what the wall clock said, and for how long it has not jumped
    Column("agreed_ms", BigInteger, nullable=False),
    Column("owed_ms", BigInteger, nullable=False),  # how much it may catch up at most
    Column("settled_ms", BigInteger, nullable=False),  # money time was here at least ten minutes ago
    Column("next_ms", BigInteger, nullable=False),  # settled, when the machine has run for so much longer
    Column("next_in_ms", BigInteger, nullable=False),
    Column("orders_ms", BigInteger, nullable=False),  # receipts of orders before this time are deleted
)

# How far each partition is journaled. Moves in the same transaction as the rows.
watermarks = Table(
    "watermarks",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

# Top-ups. The unique id decides forever, the receipt in the store only for a while.
topups = Table(
    "topups",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("coins", BigInteger, nullable=False),
    Column("source", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),  # pending | posted
    Column("balance", BigInteger),  # after this top-up, once it is posted
    Index("topups_by_state", "state", "at_ms"),
)
