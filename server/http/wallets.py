"""Wallets over HTTP: balances, top-ups, journal entries and viewers' own limits."""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import limits
from server.clock import Clock
from server.http.api import HttpError, answer, body, next_page, query, route, user_id_of
from server.http.own import VIEWERS, Own
from server.money.results import Money, SpendLimit, TopUpConflict, WalletView
from server.orders.own_limits import OwnLimits
from server.orders.rows import CannotReverse
from server.orders.topups import Entry, Purchases, TopUp


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
    def __init__(self, wallet: Money, purchases: Purchases, own_limits: OwnLimits, clock: Clock) -> None:
        self._wallet = wallet
        self._purchases = purchases
        self._own_limits = own_limits
        self._clock = clock

    async def get(self, request: Request) -> Response:
        return answer(await self._wallet.view(user_id_of(request)))

    async def top_up(self, request: Request) -> Response:
        user_id, order = user_id_of(request), await body(request, TopUp)
        try:
            done = await self._purchases.top_up(user_id, order)
        except TopUpConflict:
            raise HttpError(409, "conflict", "This id was used for another top-up.") from None
        status = 200 if done.duplicate else 201
        return answer(ToppedUp(order.id, done.duplicate, done.balance), status)

    async def set_limit(self, request: Request) -> Response:
        user_id, limit = user_id_of(request), await body(request, Limit)
        try:
            done = await self._own_limits.set(user_id, self._clock.new_id(), limit.coins_per_day or 0)
        except CannotReverse as no:
            raise HttpError(409, "conflict", f"The limit is not set: {no}.") from None
        return answer(done)

    async def entries(self, request: Request) -> Response:
        user_id, asked = user_id_of(request), query(request, EntriesQuery)
        epoch, _, n = (asked.before or "").partition("-")
        before = (int(epoch), int(n)) if asked.before else None
        found = await self._purchases.entries_of(user_id, before, asked.limit)
        more = found[-1].entry if len(found) == asked.limit else None
        return answer(EntriesPage(found, next_page(asked, more, "before")))


def routes(wallet: Money, purchases: Purchases, own_limits: OwnLimits, clock: Clock, own: Own) -> list[Route]:
    wallets, one = _Wallets(wallet, purchases, own_limits, clock), "/v1/wallets/{user}"
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
        route(
            f"{one}/limit",
            wallets.set_limit,
            method="PUT",
            summary="A viewer's own daily limit",
            body=Limit,
            gives=SpendLimit,
        ),
        route(
            f"{one}/topups",
            wallets.top_up,
            method="POST",
            summary="Credit bought coins once per id",
            body=TopUp,
            gives=ToppedUp,
            statuses=(200, 201),
        ),
    ]
