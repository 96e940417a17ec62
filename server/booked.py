"""What SQL alone decides about money, as ledger entries: their fields and postings. `entries.py` has their kinds.

An amount is positive where an account gets something. `house:redeemed` gets the diamonds of payouts and gives the money
for them; `provider:<name>` gets what is to reach the creator, and the house keeps fees, withheld taxes and roundings.
"""

from collections import Counter
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta, Struct, ValidationError

Posting: TypeAlias = tuple[str, str, int]  # asset, account, amount

MOVES_MAX = 64  # postings of a correction: more than a person checks at once
_MINOR_MAX = 2**53  # as all amounts
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
Minor = Annotated[int, Meta(ge=0, le=_MINOR_MAX)]
Asset = Annotated[str, Meta(pattern=r"^(coins|diamonds|money:[A-Z]{3})$(?!\n)")]
Account = Annotated[str, Meta(pattern=r"^(creator|house|provider):[A-Za-z0-9_.@|+-]{1,64}$(?!\n)")]


# --- fields ----------------------------------------------------------------------------------------------------------
class Money(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What diamonds are worth, in minor units: `net` goes to the provider, the rest stays with the house."""

    currency: Currency
    net: Minor
    fee: Minor = 0
    withheld: Minor = 0
    rounding: Minor = 0


class Move(Struct, frozen=True, array_like=True):
    """A posting that an operator chose. Viewers' accounts are the wallet store's, and `held` is payouts' alone."""

    asset: Asset
    account: Account
    amount: Annotated[int, Meta(ge=-_MINOR_MAX, le=_MINOR_MAX)]


Moves = Annotated[tuple[Move, ...], Meta(max_length=MOVES_MAX)]


class PayoutEntry(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """A step of a payout. `id` is the payout's, in all of its steps."""

    id: str
    creator: str
    diamonds: int
    rate: str = ""  # the terms of its money: `<version>/<region>` of a rate card


class HoldEntry(PayoutEntry, frozen=True, kw_only=True, tag="payout_hold"):
    """Diamonds are set aside for a payout, before anything leaves."""


class ReleaseEntry(PayoutEntry, frozen=True, kw_only=True, tag="payout_release"):
    """The payout is off: the diamonds go back to the creator."""


class PaidEntry(PayoutEntry, frozen=True, kw_only=True, tag="payout_paid"):
    """The provider has paid: the house redeems the diamonds."""

    provider: str
    money: Money


class ReturnEntry(PayoutEntry, frozen=True, kw_only=True, tag="payout_return"):
    """The bank sent the money back, days later: the diamonds are the creator's again. A fee may be lost."""

    provider: str
    money: Money


class DecidedEntry(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """An operator's decision, and last who decided it and why: this text can be erased (journal/texts.py)."""

    id: str
    creator: str | None = None
    diamonds: int = 0
    moves: tuple[Move, ...] = ()
    salt: str
    by: str
    reason: str


class WriteOffEntry(DecidedEntry, frozen=True, kw_only=True, tag="write_off"):
    """The house pays so many diamonds of a creator's debt."""


class CorrectionEntry(DecidedEntry, frozen=True, kw_only=True, tag="correction"):
    """Postings that put something right. Diamonds of a creator are only those of `creator`."""


# --- postings --------------------------------------------------------------------------------------------------------
class Booked(Protocol):
    """An entry as the journal reads it, as far as its postings follow from it."""

    @property
    def creator(self) -> str | None: ...
    @property
    def diamonds(self) -> int: ...
    @property
    def provider(self) -> str: ...
    @property
    def money(self) -> Money | None: ...
    @property
    def moves(self) -> tuple[Move, ...]: ...


def hold(about: Booked, _viewer: str = "") -> tuple[Posting, ...]:
    return _diamonds(f"creator:{about.creator}", f"held:{about.creator}", about.diamonds)


def release(about: Booked, _viewer: str = "") -> tuple[Posting, ...]:
    return _diamonds(f"held:{about.creator}", f"creator:{about.creator}", about.diamonds)


def paid(about: Booked, _viewer: str = "") -> tuple[Posting, ...]:
    return _diamonds(f"held:{about.creator}", "house:redeemed", about.diamonds) + _money(about, 1)


def returned(about: Booked, _viewer: str = "") -> tuple[Posting, ...]:
    return _diamonds("house:redeemed", f"creator:{about.creator}", about.diamonds) + _money(about, -1)


def write_off(about: Booked, _viewer: str = "") -> tuple[Posting, ...]:
    return _diamonds("house:loss", f"creator:{about.creator}", about.diamonds)


def correction(about: Booked, _viewer: str = "") -> tuple[Posting, ...]:
    """Raises ValidationError when they do not sum to zero, or are of another creator."""
    sums: Counter[str] = Counter()
    for move in about.moves:
        sums[move.asset] += move.amount
        theirs = (move.account, move.asset) == (f"creator:{about.creator}", "diamonds")
        if move.account.startswith("creator:") and not theirs:
            raise ValidationError(f"{move.asset} of {move.account} are not this entry's")
    if any(sums.values()) or not about.moves:
        raise ValidationError(f"its postings sum to {dict(sums)}")
    return tuple((move.asset, move.account, move.amount) for move in about.moves)


def _diamonds(of: str, to: str, amount: int) -> tuple[Posting, ...]:
    return ("diamonds", of, -amount), ("diamonds", to, amount)


def _money(about: Booked, sign: int) -> tuple[Posting, ...]:
    """Where the money of a payout goes, or comes from. What it is worth is the sum, so that nothing is left over."""
    money = about.money
    if money is None:
        raise ValidationError("it names no money")
    to = (
        ("house:fees", money.fee),
        ("house:withheld", money.withheld),
        ("house:rounding", money.rounding),
        (f"provider:{about.provider}", money.net),
    )
    worth = sum(amount for _, amount in to)
    asset = f"money:{money.currency}"
    gives = (asset, "house:redeemed", -sign * worth)
    return (gives, *((asset, account, sign * amount) for account, amount in to if amount))
