"""Wallets over HTTP: balances, top-ups, journal entries and viewers' own limits."""

import re
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import limits
from server.clock import Clock
from server.http.api import HttpError, answer, body, route, user_id_of
from server.money.results import Money, TopUpConflict
from server.orders.own_limits import OwnLimits
from server.orders.rows import CannotReverse
from server.orders.topups import Purchases, TopUp

_ENTRY_ID = re.compile(r"^[0-9]{1,15}-[0-9]{1,15}$")


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
        return answer({"id": order.id, "duplicate": done.duplicate, "coins": done.balance}, status)

    async def set_limit(self, request: Request) -> Response:
        user_id, limit = user_id_of(request), await body(request, Limit)
        try:
            done = await self._own_limits.set(user_id, self._clock.new_id(), limit.coins_per_day or 0)
        except CannotReverse as no:
            raise HttpError(409, "conflict", f"The limit is not set: {no}.") from None
        return answer(done)

    async def entries(self, request: Request) -> Response:
        text = request.query_params.get("before")
        if text is not None and not _ENTRY_ID.match(text):
            raise HttpError(400, "bad_request", "before must be an entry's id: <epoch>-<n>.")
        epoch, _, n = (text or "").partition("-")
        before = (int(epoch), int(n)) if text else None
        found = await self._purchases.entries_of(user_id_of(request), before)
        more = {"before": found[-1].entry} if len(found) == limits.ENTRIES_PAGE else None
        return answer({"entries": found, "next": more})


def routes(wallet: Money, purchases: Purchases, own_limits: OwnLimits, clock: Clock) -> list[Route]:
    wallets, one = _Wallets(wallet, purchases, own_limits, clock), "/v1/wallets/{user}"
    return [
        route(one, wallets.get, summary="A wallet's coins and status"),
        route(f"{one}/entries", wallets.entries, summary="A wallet's journal entries, newest first"),
        route(f"{one}/limit", wallets.set_limit, method="PUT", summary="A viewer's own daily limit", body=Limit),
        route(f"{one}/topups", wallets.top_up, method="POST", summary="Credit bought coins once per id", body=TopUp),
    ]
