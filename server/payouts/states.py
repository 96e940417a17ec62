"""The life of a payout: its states, and the only moves between them."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a payout is."""

    REQUESTED = "requested"
    REVIEWING = "reviewing"
    APPROVED = "approved"
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"  # it was sent, and nobody knows what became of it: asked for by its key, never sent again
    PAID = "paid"
    RETURNED = "returned"  # the bank sent the money back
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"


S = State
MOVES: Final = {
    S.REQUESTED: {S.REVIEWING, S.APPROVED, S.REJECTED, S.CANCELLED},
    S.REVIEWING: {S.APPROVED, S.REJECTED, S.CANCELLED},
    S.APPROVED: {S.SUBMITTED, S.REJECTED, S.CANCELLED},
    S.SUBMITTED: {S.UNKNOWN, S.PAID, S.FAILED, S.APPROVED},  # approved again: the provider surely never got it
    S.UNKNOWN: {S.SUBMITTED, S.PAID, S.FAILED, S.APPROVED},
    S.PAID: {S.RETURNED},
    S.RETURNED: set[State](),
    S.REJECTED: set[State](),
    S.CANCELLED: set[State](),
    S.FAILED: set[State](),
}
OPEN: Final = (S.REQUESTED, S.REVIEWING, S.APPROVED, S.SUBMITTED, S.UNKNOWN)  # its diamonds are held
OUT: Final = (S.SUBMITTED, S.UNKNOWN)  # it may have left
OFF: Final = (S.REJECTED, S.CANCELLED, S.FAILED)  # its hold was released

assert set(MOVES) == set(State)
assert {to for moves in MOVES.values() for to in moves} | {S.REQUESTED} == set(State)
