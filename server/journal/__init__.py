"""The journal in SQL: an insert-only record of all that happened to the money."""

from server.journal import payouts as payouts  # all tables are known, whichever module is imported
from server.journal import points as points
