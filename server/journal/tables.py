"""The journal's tables and its view. The migrations make the schema; a test checks that both agree."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from server import limits

metadata, views = MetaData(), MetaData()

# The few entries that set a wallet's status or limit: the audit reads them without its many gifts.
OF_SETTINGS = "kind IN ('chargeback', 'freeze', 'unfreeze', 'limit')"

# What rooms count again when their store has lost it.
OF_ROOMS = "kind = 'gift'"

# What SQL alone wrote: a creator has far more gifts than payouts.
OF_BOOKS = f"partition = {limits.BOOKS}"

# One row for each entry of a partition's ledger log, and of the books, the partition behind them, which SQL alone
# writes. `hash` chains it to the one before.
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
    Column("body", Text, nullable=False),  # the entry as the wallet store wrote it, a digest in place of personal text
    Column("hash", String(64), nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),  # of the chain: what the hash covers
    Column("text", Text),  # the personal text; NULL when it is erased, or was never there
    UniqueConstraint("ref", "kind", "user_id", name="entries_once"),  # in this order new gifts are next to each other
    Index("entries_by_user", "user_id", "epoch", "n"),  # a user's entries are in one partition
    Index("entries_by_creator", "creator_id", "at_ms"),
    Index("entries_by_room", "room_id", "at_ms", sqlite_where=text(OF_ROOMS), postgresql_where=text(OF_ROOMS)),
    Index(
        "entries_of_settings",
        *("partition", "user_id", "epoch", "n"),
        sqlite_where=text(OF_SETTINGS),
        postgresql_where=text(OF_SETTINGS),
    ),
    Index(
        "entries_of_books",
        *("creator_id", "epoch", "n"),
        sqlite_where=text(OF_BOOKS),
        postgresql_where=text(OF_BOOKS),
    ),
)

# Double entry: the postings that do not follow from columns of their entry. The view `postings` has all (views.py).
legs = Table(
    "legs",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("leg", Integer, primary_key=True, autoincrement=False),
    Column("asset", String(16), nullable=False),  # coins | diamonds | money:<currency>, in minor units
    Column("account", String(80), nullable=False),  # viewer, creator or held:<id> | house or provider:<name>
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# All postings: those of an entry sum to zero in each asset.
_POSTING = (Column(each.name, each.type, primary_key=each.primary_key) for each in legs.columns)
postings = Table("postings", views, *_POSTING)

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

# How far audits have verified each partition, signed (heads.py). Partition -1 is the row of the whole.
audit_heads = Table(
    "audit_heads",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("instance", String(32), nullable=False),  # which database
    Column("counter", BigInteger, nullable=False),  # the number of the audit
    Column("key_id", String(16), nullable=False),
    Column("state", Text, nullable=False),
    Column("mac", String(64), nullable=False),
)

# Orders of refunds, chargebacks, freezes, unfreezes and limits, never deleted. `body` is what a reversal takes
# from whom, or the limit.
reversals = Table(
    "reversals",
    metadata,
    Column("kind", String(16), primary_key=True),  # refund | chargeback | freeze | unfreeze | limit
    Column("ref", String(64), primary_key=True),  # gift id | top-up id | the order's own id
    Column("user_id", String(64), primary_key=True),  # two viewers may use one gift id
    Column("reason", String(200), nullable=False),
    Column("body", Text),
    Column("state", String(8), nullable=False),  # pending | posted | refused
    Column("at_ms", BigInteger, nullable=False),
    Index("reversals_by_state", "state", "at_ms"),
    Index("reversals_of_user", "user_id", "at_ms"),
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

# Which store may take money for each partition, on sites whose store may fail over; empty on the others.
openings = Table(
    "openings",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("identity", String(100), nullable=False),  # of the store's process and its role in replication
    Column("token", String(32), nullable=False),  # another one for each store that takes over
    Column("before", String(100), nullable=False),  # the identity that it replaced; '' for the first
    Column("at_ms", BigInteger, nullable=False),
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
    Column("sale", Text),  # JSON: what was paid for it, if the platform told it
    Index("topups_by_state", "state", "at_ms"),
)

# What each reversal takes of which gift. Insert-only, written in the transaction that decides the reversal.
reversal_parts = Table(
    "reversal_parts",
    metadata,
    Column("user_id", String(64), primary_key=True),  # whose gift it was
    Column("kind", String(16), primary_key=True),  # refund | chargeback
    Column("reversal", String(64), primary_key=True),  # gift id | top-up id
    Column("gift", String(64), primary_key=True),
    Column("creator", String(64), nullable=False),
    Column("gift_day", BigInteger, nullable=False),  # days since 1970, UTC: a reversal follows its gift's maturity
    Column("coins", BigInteger, nullable=False),
    Column("diamonds", BigInteger, nullable=False),
    Column("maturity_days", Integer, nullable=False, server_default=text("7")),  # of the gift
    Index("reversal_parts_by_gift", "user_id", "gift"),
    Index("reversal_parts_by_creator", "creator", "gift_day"),
    sqlite_with_rowid=False,
)

# What a creator's gifts of one day and maturity brought, and what journaled reversals took of them. Derived.
creator_days = Table(
    "creator_days",
    metadata,
    Column("creator", String(64), primary_key=True),
    Column("gift_day", BigInteger, primary_key=True, autoincrement=False),
    Column("maturity_days", Integer, primary_key=True, autoincrement=False),
    Column("credited", BigInteger, nullable=False),
    Column("taken_back", BigInteger, nullable=False),
    Column("gifts", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The newest kept lots of a wallet, after the entry `epoch`-`n`. Derived from entries.
lot_snapshots = Table(
    "lot_snapshots",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("format", Integer, nullable=False),
    Column("lots", LargeBinary, nullable=False),
)

# What staff decided about people in rooms, as it stands now. The newest `version` of a person counts.
people = Table(
    "people",
    metadata,
    Column("room_id", String(64), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("standing", Text, nullable=False),  # JSON; `{}` when nothing is left of it
    Column("changed_ms", BigInteger, nullable=False),
)

# Everything that staff did, insert-only. `told` is 0 until the room has heard of it.
moderation = Table(
    "moderation",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("room_id", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("act", String(64), nullable=False),
    Column("by_id", String(64), nullable=False),
    Column("by_name", String(64), nullable=False),
    Column("user_id", String(64)),
    Column("reason", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("event", Text),  # what the room hears, if it hears anything
    Column("told", Integer, nullable=False),
    Index("moderation_of_room", "room_id", "at_ms", "id"),
    Index("moderation_untold", "at_ms", sqlite_where=text("told = 0"), postgresql_where=text("told = 0")),
)

# Word lists and emotes of the site, of hosts and of rooms, each as a whole. `version` counts the changes of all.
catalogues = Table(
    "catalogues",
    metadata,
    Column("kind", String(16), primary_key=True),  # words | emotes
    Column("owner", String(64), primary_key=True),  # a host or a room; '' for the site
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    UniqueConstraint("version", name="catalogues_version"),
)

# Work that is due at a time (due.py). The node with the lease does it; after `lease_ms` anybody may.
due_work = Table(
    "due_work",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("room_id", String(64), primary_key=True),
    Column("ref", String(64), primary_key=True),
    Column("due_at_ms", BigInteger, nullable=False),
    Column("lease_ms", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    Index("due_work_by_time", "due_at_ms"),
)

# Broadcasts that have ended, insert-only: `summary` is what the room was told.
broadcasts = Table(
    "broadcasts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("room_id", String(64), nullable=False),
    Column("host_id", String(64), nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger, nullable=False),
    Column("summary", Text, nullable=False),
    Index("broadcasts_of_room", "room_id", "started_at_ms", "id"),
)

# Everybody who ever watched in a room, with the first broadcast at which they were seen.
room_people = Table(
    "room_people",
    metadata,
    Column("room_id", String(64), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("broadcast_id", String(64), nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Index("room_people_met", "room_id", "broadcast_id"),
)

# Tokens of this person that were minted up to `revoked_ms` are no longer good.
revocations = Table(
    "revocations",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("room_id", String(64), primary_key=True),  # empty: in every room
    Column("revoked_ms", BigInteger, nullable=False),
    Index("revocations_by_time", "revoked_ms"),
)

# The rules of rooms: what happens when a gift comes.
room_rules = Table(
    "room_rules",
    metadata,
    Column("room_id", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("rules", Text, nullable=False),  # JSON
    Column("changed_ms", BigInteger, nullable=False),
)

# Each room's goals, as one list. The newest `version` counts.
goals = Table(
    "goals",
    metadata,
    Column("room_id", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("goals", Text, nullable=False),  # JSON
    Column("changed_ms", BigInteger, nullable=False),
)

# What people have given in a lifetime, up to an entry of theirs, and the highest level that they ever had (givers.py).
givers = Table(
    "givers",
    metadata,
    Column("user_id", String(64), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("gifts", "epoch", "n", "at_ms")),  # `gifts` are coins
    Column("level", Integer, nullable=False),
    Column("room_id", String(64), nullable=False),  # which room gets it
    Column("told", Integer, nullable=False),
    Index("givers_untold", "at_ms", sqlite_where=text("told = 0"), postgresql_where=text("told = 0")),
)

# What the host platform knows of people. `version` counts the changes of all, of suspensions, too.
users = Table(
    "users",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("known", Text, nullable=False),  # JSON
    Column("changed_ms", BigInteger, nullable=False),
    UniqueConstraint("version", name="users_version"),
)

# What people are or were suspended from.
IN_FORCE = "ended_ms IS NULL"
suspensions = Table(
    "suspensions",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("capability", String(16), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("statement", Text, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),
    Column("appeal", String(16), nullable=False),  # '' | open | granted | denied
    Column("appeal_text", Text, nullable=False),
    Column("ended_ms", BigInteger),  # when it was lifted
    Index("suspensions_in_force", "until_ms", sqlite_where=text(IN_FORCE), postgresql_where=text(IN_FORCE)),
)

# Every rate card that ever held, insert-only: what a `rate` on a row means.
rate_cards = Table(
    "rate_cards",
    metadata,
    Column("version", String(32), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("at_ms", BigInteger, nullable=False),  # when a process first started with it
)
