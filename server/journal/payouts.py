"""The tables of payouts: their rows as they stand now, and everything that was done with each, insert-only."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint, text

from server.journal.tables import metadata

OPEN = "state IN ('requested', 'reviewing', 'approved', 'submitted', 'unknown')"

payouts = Table(
    "payouts",
    metadata,
    Column("id", String(64), primary_key=True),  # the caller's
    Column("creator", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("asked", String(64), nullable=False),  # the request's fingerprint
    Column("diamonds", BigInteger, nullable=False),
    Column("rate", String(64), nullable=False),  # the terms: `<version>/<region>` of a rate card
    Column("currency", String(3), nullable=False),
    Column("gross", BigInteger, nullable=False),  # in minor units, as the next three
    Column("fee", BigInteger, nullable=False),
    Column("withheld", BigInteger, nullable=False),
    Column("net", BigInteger, nullable=False),
    Column("tax", String(32), nullable=False),  # the creator's tax state when it was requested
    Column("provider", String(32), nullable=False),
    Column("key", String(40), nullable=False),  # the provider's idempotency key
    Column("batch", String(40), nullable=False),  # of the last submission; '' before
    Column("payee", Text),  # JSON; NULL when it is erased
    Column("payee_hash", String(64), nullable=False),  # tells another account from the same
    Column("flags", Text, nullable=False),  # JSON: why somebody should look
    Column("eyes", Integer, nullable=False),  # how many people must approve
    Column("reason", String(200), nullable=False),
    Column("retryable", Integer, nullable=False),
    Column("ref", String(64), nullable=False),  # the provider's own id
    Column("said_ms", BigInteger, nullable=False),  # of the provider's newest answer, by its clock
    Column("requested_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),  # when the journal process looks at it again
    Column("late_ms", BigInteger, nullable=False),  # when it is overdue
    Column("tries", Integer, nullable=False),
    Column("alarm", String(16), nullable=False),  # '' | overdue | contradicted
    UniqueConstraint("key", name="payouts_key"),
    Index("payouts_of_creator", "creator", "requested_ms"),
    Index("payouts_by_state", "state", "due_ms"),
    Index("payouts_one_open", "creator", unique=True, sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
)

# Who did what with a payout, and why.
payout_acts = Table(
    "payout_acts",
    metadata,
    Column("payout", String(64), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("act", String(16), nullable=False),
    Column("by_id", String(64), nullable=False),  # a person, `provider:<name>`, or `rules`
    Column("reason", String(200), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
)

# What was withheld of payouts for taxes. A returned payout has a second row, which takes it back.
withholdings = Table(
    "withholdings",
    metadata,
    Column("payout", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # paid | returned
    Column("creator", String(64), nullable=False),
    Column("rate", String(64), nullable=False),
    Column("tax", String(32), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("gross", BigInteger, nullable=False),
    Column("withheld", BigInteger, nullable=False),  # below zero when it is taken back
    Column("at_ms", BigInteger, nullable=False),
    Index("withholdings_of_creator", "creator", "at_ms"),
)
