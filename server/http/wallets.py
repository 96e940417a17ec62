"""Wallets over HTTP: balances, top-ups, journal entries and viewers' own limits."""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import TopUpId
from server import limits
from server.clock import Clock
from server.currencies import EXPONENTS
from server.entries import Sale
from server.http.api import HttpError, answer, body, next_page, query, route, user_id_of
from server.http.own import VIEWERS, Own
from server.journal.paid import Paid
from server.money.results import Money, SpendLimit, TopUpConflict, WalletView
from server.orders.own_limits import OwnLimits
from server.orders.rows import CannotReverse
from server.orders.topups import Entry, Purchases, TopUp
from server.packages import Cost, PackageId, Packages
from server.rates import DEFAULT, RegionCode

BOTH = (200, 201)  # 201 the first time


class NewTopUp(Struct, frozen=True, forbid_unknown_fields=True):
    """Coins that somebody has paid for: so many, with their `price` if you tell it, or a `package` as in `region`."""

    id: TopUpId
    source: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
    coins: Annotated[int, Meta(ge=1, le=limits.TOPUP_COINS_MAX)] | None = None
    price: Cost | None = None
    package: PackageId | None = None
    region: RegionCode | None = None


class ToppedUp(Struct, frozen=True):
    """A top-up, whether it had been done before, and the balance."""

    id: str
    duplicate: bool
    coins: int


class EntriesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which of a wallet's entries: those before this one, or the newest."""

    before: Annotated[str, Meta(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$(?!\n)")] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class EntriesPage(Struct, frozen=True):
    """Some entries of a wallet, newest first, and the query of older ones."""

    entries: list[Entry]
    next: str | None


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """A viewer's own limit per UTC day. Null removes it, from tomorrow on."""

    coins_per_day: Annotated[int, Meta(ge=1, le=limits.TOPUP_COINS_MAX)] | None


class _Wallets:
    def __init__(
        self, wallet: Money, purchases: Purchases, own_limits: OwnLimits, clock: Clock, packages: Packages
    ) -> None:
        self._wallet = wallet
        self._packages = packages
        self._purchases = purchases
        self._own_limits = own_limits
        self._clock = clock

    async def get(self, request: Request) -> Response:
        return answer(await self._wallet.view(user_id_of(request)))

    async def top_up(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), await body(request, NewTopUp)
        try:
            order = await self._order(asked)
            done = await self._purchases.top_up(user_id, order)
        except TopUpConflict:
            raise HttpError(409, "conflict", "This id was used for another top-up.") from None
        status = 200 if done.duplicate else 201
        return answer(ToppedUp(order.id, done.duplicate, done.balance), status)

    async def _order(self, asked: NewTopUp) -> TopUp:
        """The order with its coins and price. Raises HttpError, SQLAlchemyError."""
        if (asked.coins is None) == (asked.package is None) or (asked.price and asked.package):
            raise HttpError(409, "coins_or_package", "A top-up has coins, with a price or without, or a package.")
        if asked.package is not None:
            return await self._of_package(asked, asked.package)
        price, region = asked.price, asked.region or ""
        if price is not None and price.currency not in EXPONENTS:
            raise HttpError(409, "no_such_currency", f"ISO 4217 does not have the currency {price.currency}.")
        sale = None if price is None else Sale(price.currency, price.minor, region=region)
        return TopUp(asked.id, asked.coins or 0, asked.source, sale)

    async def _of_package(self, asked: NewTopUp, name: str) -> TopUp:
        """A package at its price of now. A repeated order is the first one, whatever the price is by now."""
        region = asked.region or DEFAULT
        before = await self._purchases.find(asked.id)
        if (
            before is not None
            and before.sale is not None
            and (before.sale.package, before.sale.region) == (name, region)
        ):
            return TopUp(asked.id, before.coins, asked.source, before.sale)
        package = self._packages.get(name)
        cost = None if package is None else package.cost(region)
        if package is None or cost is None:
            raise HttpError(404, "no_such_package", "This package is not sold there.")
        return TopUp(asked.id, package.coins, asked.source, Sale(cost.currency, cost.minor, name, region))

    async def set_limit(self, request: Request) -> Response:
        user_id, limit = user_id_of(request), await body(request, Limit)
        try:
            done = await self._own_limits.set(user_id, self._clock.new_id(), limit.coins_per_day or 0)
        except CannotReverse as no:
            raise HttpError(409, "conflict", f"The limit is not set: {no}.") from None
        return answer(done)

    async def paid(self, request: Request) -> Response:
        return answer(await self._purchases.paid(user_id_of(request)))

    async def entries(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), query(request, EntriesQuery)
        epoch, _, n = (asked.before or "").partition("-")
        before = (int(epoch), int(n)) if asked.before else None
        found = await self._purchases.entries_of(user_id, before, asked.limit)
        more = found[-1].entry if len(found) == asked.limit else None
        return answer(EntriesPage(found, next_page(asked, more, "before")))


def routes(
    wallet: Money, purchases: Purchases, own_limits: OwnLimits, clock: Clock, *, packages: Packages, own: Own
) -> list[Route]:
    wallets, one = _Wallets(wallet, purchases, own_limits, clock, packages), "/v1/wallets/{user}"
    credit = "Credit bought coins once per id"
    return [
        own.route(one, wallets.get, VIEWERS, summary="A wallet's coins and status", gives=WalletView),
        own.route(
            f"{one}/entries",
            wallets.entries,
            VIEWERS,
            summary="A wallet's journal entries, newest first",
            query=EntriesQuery,
            gives=EntriesPage,
        ),
        own.route(f"{one}/paid", wallets.paid, VIEWERS, summary="What the coins of a wallet really cost", gives=Paid),
        route(
            f"{one}/limit",
            wallets.set_limit,
            method="PUT",
            summary="A viewer's own daily limit",
            body=Limit,
            gives=SpendLimit,
        ),
        route(
            f"{one}/topups", wallets.top_up, method="POST", summary=credit, body=NewTopUp, gives=ToppedUp, statuses=BOTH
        ),
    ]
