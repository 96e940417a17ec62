"""Coin packages: how many coins a fan buys at once, and what they cost in each region."""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from server import limits
from server.currencies import EXPONENTS
from server.rates import DEFAULT, RegionCode
from server.settings import Unusable

OWN = Path(__file__).parent / "packages.toml"

PackageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$(?!\n)", max_length=32)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]


class Cost(Struct, frozen=True, forbid_unknown_fields=True):
    """An amount of money in minor units of its currency."""

    currency: Currency
    minor: Annotated[int, Meta(ge=0, le=limits.MONEY_MAX)]


class Package(Struct, frozen=True, forbid_unknown_fields=True):
    """So many coins, and their price by region. Where it has no price it is not sold; `default` is everywhere else."""

    id: PackageId
    coins: Annotated[int, Meta(ge=1, le=limits.TOPUP_COINS_MAX)]
    prices: dict[RegionCode, Cost]

    def cost(self, region: str) -> Cost | None:
        """What it costs in a region."""
        return self.prices.get(region) or self.prices.get(DEFAULT)


class Packages:
    """The packages that this node sells."""

    def __init__(self, path: Path | None) -> None:
        self.all = load(path)
        self._by_id = {package.id: package for package in self.all}
        self.version = hashlib.sha256(msgspec.json.encode(self.all)).hexdigest()[: limits.CATALOGUE_VERSION_CHARS]

    def get(self, package_id: str) -> Package | None:
        return self._by_id.get(package_id)


def load(path: Path | None) -> tuple[Package, ...]:
    """The packages of a file. Raises Unusable."""
    path = path or OWN
    try:
        found = tomllib.loads(path.read_bytes().decode())
        if set(found) != {"packages"}:
            raise ValueError("it must be a list of [[packages]], and nothing else")
        packages = msgspec.convert(found["packages"], tuple[Package, ...])
        _check(packages)
    except OSError as error:  # its text would say the path again
        raise Unusable(f"The coin packages {path} cannot be used: {error.strerror}.") from None
    except ValueError as error:  # msgspec's and tomllib's errors are such
        raise Unusable(f"The coin packages {path} cannot be used: {str(error).rstrip('.')}.") from None
    return packages


def _check(packages: tuple[Package, ...]) -> None:
    """Raise ValueError for what nobody could buy by its name."""
    if len({package.id for package in packages}) < len(packages):
        raise ValueError("it names a package twice")
    unknown = {cost.currency for package in packages for cost in package.prices.values()} - set(EXPONENTS)
    if unknown:
        raise ValueError(f"a price is in {min(unknown)}, which ISO 4217 does not have")
