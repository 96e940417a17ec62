"""What a provider is: it takes payouts, says what became of them, and reads its own messages about them.

Nothing here decides about money. A provider that does not know must say so: `UNKNOWN` holds the money, and a wrong
`FAILED` or `NOT_SENT` would let it go twice.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Protocol

from msgspec import Meta, Struct

KEY_WORDS = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,34}$(?!\n)"  # SEPA's EndToEndId has 35 characters
Key = Annotated[str, Meta(pattern=KEY_WORDS)]


class Payee(Struct, frozen=True, omit_defaults=True):
    """Whose account it is: an IBAN, or an account that the provider knows."""

    name: str
    iban: str = ""
    bic: str = ""
    account: str = ""


class Instruction(Struct, frozen=True, kw_only=True):
    """One payout as a provider gets it. `key` is the provider's idempotency key, and never changes."""

    key: Key
    batch: str  # all of one submission
    amount: int  # in the currency's minor units
    currency: str  # ISO 4217
    payee: Payee
    text: str = ""  # what the creator reads on the statement of account
    sent_ms: int = 0  # when it was submitted; 0 before


class Standing(Enum):
    """What a provider says of a payout."""

    NOT_SENT = "not_sent"  # it surely never got it, and never will: the same key may be sent again
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"  # it surely did not pay, and never will
    RETURNED = "returned"  # it paid, and the money came back
    UNKNOWN = "unknown"  # no answer, or one that says nothing


class Outcome(Struct, frozen=True):
    """What a provider says, and since when (by its clock; 0 if it does not tell)."""

    standing: Standing
    ref: str = ""  # the provider's own id
    reason: str = ""
    retryable: bool = False  # another payout may succeed where this one failed
    at_ms: int = 0


class Told(Struct, frozen=True):
    """What a provider told us by itself. `event` is its id of the message."""

    event: str
    key: str
    outcome: Outcome


class BadWebhook(Exception):
    """It is not from the provider, or nobody can read it. The text says why."""


class Provider(Protocol):
    """A way for payouts to leave. Its calls block: they run in threads, each with a bound on its time."""

    name: str

    def submit(self, batch: Sequence[Instruction]) -> dict[str, Outcome]:
        """Send payouts that are committed as submitted. Returns what is known of each, by key. Raises nothing."""

    def look_up(self, batch: Sequence[Instruction]) -> dict[str, Outcome]:
        """Ask what became of payouts. Sends none. Returns what is known of each, by key. Raises nothing."""

    def webhook(self, headers: Mapping[str, str], body: bytes, now_ms: int) -> list[Told]:
        """Read a message of the provider. `headers` have small letters. Raises BadWebhook."""
