"""Coin packages over HTTP, for everybody to see."""

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.currencies import EXPONENTS
from server.http.api import answer, query, route
from server.packages import Packages
from server.rates import DEFAULT, RegionCode


class PackagesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For whom: people in this region."""

    region: RegionCode = DEFAULT


class PackageShown(Struct, frozen=True):
    """A package and its price in minor units; `exponent` is how many digits these have: 2 for cents."""

    id: str
    coins: int
    currency: str
    minor: int
    exponent: int


class PackagesShown(Struct, frozen=True):
    """What is sold in a region."""

    region: str
    packages: list[PackageShown]


def routes(packages: Packages) -> list[Route]:
    async def show(request: Request) -> Response:
        region = query(request, PackagesQuery).region
        found = [
            PackageShown(package.id, package.coins, cost.currency, cost.minor, EXPONENTS[cost.currency])
            for package in packages.all
            if (cost := package.cost(region)) is not None
        ]
        headers = {"Cache-Control": "max-age=60", "ETag": f'"{packages.version}-{region}"'}
        return answer(PackagesShown(region, found), headers=headers)

    summary = "The coin packages that are sold in a region"
    return [route("/v1/packages", show, summary=summary, query=PackagesQuery, gives=PackagesShown, open=True)]
