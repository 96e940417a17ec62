"""Rate cards: what a gift's diamonds are, what they are worth, and what is taken off a payout, region by region.

A card has a version, and is never changed: what it decided stands beside its version on rows, and a new card never
touches them. All of it is whole numbers. What rounding leaves over is said, and never lost.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from server import limits
from server.currencies import EXPONENTS
from server.settings import Unusable
from server.timezones import Zone, zone_of

OWN = Path(__file__).parent / "rates.toml"
DEFAULT: Final = "default"  # the region of everybody whose own has no part in the card
OTHER: Final = "other"  # a tax state that the card does not name

VERSION_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,32}$(?!\n)"
Version = Annotated[str, Meta(pattern=VERSION_PATTERN)]
RegionCode = Annotated[str, Meta(pattern=r"^([A-Z]{2}|default)$(?!\n)")]  # ISO 3166-1
Part = Annotated[int, Meta(ge=1, le=limits.RATE_PART_MAX)]
Count = Annotated[int, Meta(ge=0, le=limits.RATE_PART_MAX)]
Amount = Annotated[int, Meta(ge=0, le=limits.MONEY_MAX)]
Days = Annotated[int, Meta(ge=0, le=limits.RATE_DAYS_MAX)]
BasisPoints = Annotated[int, Meta(ge=0, le=limits.BASIS_POINTS)]  # hundredths of a percent
TaxState = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$(?!\n)", max_length=32)]


class Share(Struct, frozen=True, forbid_unknown_fields=True):
    """Of so many coins of a gift's price, its creator is credited so many diamonds."""

    coins: Part
    diamonds: Count


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """So many diamonds are worth so many minor units of the region's currency."""

    diamonds: Part
    minor: Part


class Fee(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a payout costs its creator: a fixed amount, and a part of the payout, which may have a maximum."""

    fixed: Amount = 0
    basis_points: BasisPoints = 0
    most: Amount | None = None


class Worth(NamedTuple):
    """What diamonds are worth in minor units, rounded down.

    `rest` is what rounding took, in parts of a minor unit: their number in one is the `diamonds` of the price. So
    `amount` and `rest` together are exactly what the diamonds are worth. `spare` diamonds of them would not have been
    needed for the same amount.
    """

    amount: int
    rest: int
    spare: int


class Deducted(NamedTuple):
    """A payout's amount, and what of it is withheld, kept as a fee, and left. All of it adds up."""

    gross: int
    withheld: int
    fee: int
    net: int


class Rates(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rates of one region. Amounts are in minor units of its currency."""

    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
    share: Share | None = None  # None: as many diamonds as the catalogue says
    money: Price
    maturity_days: Days
    processing_days: Days
    minimum: Annotated[int, Meta(ge=1, le=limits.MONEY_MAX)]  # of a payout
    daily_max: Amount
    weekly_max: Amount
    fee: Fee = Fee()
    withholding: dict[TaxState, BasisPoints] = {}  # by tax state; msgspec copies it
    time_zone: str = "UTC"  # in which a day and a week of the maxima begin

    @property
    def exponent(self) -> int:
        """How many digits the minor unit has."""
        return EXPONENTS[self.currency]

    @property
    def zone(self) -> Zone:
        """Says when days and weeks begin."""
        return zone_of(self.time_zone)

    def diamonds_of(self, coins: int, listed: int) -> int:
        """The diamonds for a gift of so many coins. The catalogue `listed` so many."""
        return listed if self.share is None else coins * self.share.diamonds // self.share.coins

    def money_of(self, diamonds: int) -> Worth:
        """What so many diamonds are worth."""
        amount, rest = divmod(diamonds * self.money.minor, self.money.diamonds)
        return Worth(amount, rest, rest // self.money.minor)

    def diamonds_for(self, amount: int) -> int:
        """The fewest diamonds that are worth so much."""
        return -(-amount * self.money.diamonds // self.money.minor)

    def fee_of(self, gross: int) -> int:
        """The fee of a payout, rounded down."""
        parts = gross * self.fee.basis_points // limits.BASIS_POINTS
        return self.fee.fixed + (parts if self.fee.most is None else min(parts, self.fee.most))

    def withheld_of(self, gross: int, tax: str) -> int:
        """What is withheld of a payout from somebody of this tax state, rounded down."""
        points = self.withholding.get(tax, self.withholding.get(OTHER, 0))
        return gross * points // limits.BASIS_POINTS

    def deducted(self, gross: int, tax: str) -> Deducted:
        """Split a payout. `net` is below 0 when the deductions are more than all of it."""
        withheld, fee = self.withheld_of(gross, tax), self.fee_of(gross)
        return Deducted(gross, withheld, fee, gross - withheld - fee)


class Terms(NamedTuple):
    """The rates of a region, under the name that stands on rows: `<version>/<region>`."""

    id: str
    rates: Rates


class Card(Struct, frozen=True, forbid_unknown_fields=True):
    """A rate card: rates by region. `default` is for everybody else."""

    version: Version
    regions: dict[RegionCode, Rates]

    @property
    def hash(self) -> str:
        """The same for equal cards, however they are written."""
        return hashlib.sha256(self.encoded).hexdigest()

    @property
    def encoded(self) -> bytes:
        """The card as SQL keeps it."""
        return msgspec.json.encode(self, order="deterministic")

    def terms(self) -> dict[str, Terms]:
        """The terms of each region."""
        return {region: Terms(f"{self.version}/{region}", rates) for region, rates in self.regions.items()}


class RateCards:
    """The card by which this process works. A gift and a payout get their terms here."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self._terms = card.terms()
        self._default = self._terms[DEFAULT]

    def terms(self, region: str | None) -> Terms:
        """The terms of a region; those of `default` for one that is not known."""
        return self._terms.get(region, self._default) if region is not None else self._default


def load(path: Path | None) -> Card:
    """The card in a file. Raises Unusable."""
    path = path or OWN
    try:
        card = msgspec.convert(tomllib.loads(path.read_bytes().decode()), Card)
        for region, rates in card.regions.items():
            _check(region, rates)
        if DEFAULT not in card.regions:
            raise ValueError("it has no rates for the region default")
    except OSError as error:  # its text would say the path again
        raise Unusable(f"The rate card {path} cannot be used: {error.strerror}.") from None
    except ValueError as error:  # msgspec's and tomllib's errors are such
        raise Unusable(f"The rate card {path} cannot be used: {str(error).rstrip('.')}.") from None
    return card


def _check(region: str, rates: Rates) -> None:
    """Raise ValueError for rates that could not be carried out."""
    if rates.currency not in EXPONENTS:
        raise ValueError(f"{region} has the currency {rates.currency}, which ISO 4217 does not have")
    if not rates.minimum <= rates.daily_max <= rates.weekly_max:
        raise ValueError(f"in {region} the minimum, daily_max and weekly_max of payouts must rise")
    for tax in (*rates.withholding, OTHER):
        if rates.deducted(rates.minimum, tax).net <= 0:
            raise ValueError(f"in {region} nothing is left of the smallest payout")
    try:
        zone_of(rates.time_zone)
    except ValueError:
        raise ValueError(f"{region} has the time zone {rates.time_zone!r}, which this machine does not know") from None
