"""Wallets over HTTP: what one holds, top-ups, and its journal entries."""

import re
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import limits
from server.http.api import HttpError, answer, body, route, user_id_of
from server.money.results import TopUpConflict
from server.orders.topups import TopUp

_ENTRY_ID = re.compile(r"^[0-9]{1,15}-[0-9]{1,15}$")


async def get_wallet(request: Request) -> Response:
    return answer(await request.app.state.node.wallet.view(user_id_of(request)))


async def top_up(request: Request) -> Response:
    user_id, order = user_id_of(request), await body(request, TopUp)
    try:
        done = await request.app.state.node.purchases.top_up(user_id, order)
    except TopUpConflict:
        raise HttpError(409, "conflict", "This id was used for another top-up.") from None
    status = 200 if done.duplicate else 201
    return answer({"id": order.id, "duplicate": done.duplicate, "coins": done.balance}, status)


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """A viewer's own limit per UTC day; null lifts it (from tomorrow on)."""

    coins_per_day: Annotated[int, Meta(ge=1, le=limits.TOPUP_COINS_MAX)] | None


async def set_limit(request: Request) -> Response:
    user_id, limit = user_id_of(request), await body(request, Limit)
    node = request.app.state.node
    return answer(await node.wallet.set_limit(user_id, node.clock.new_id(), limit.coins_per_day or 0))


async def entries(request: Request) -> Response:
    text = request.query_params.get("before")
    if text is not None and not _ENTRY_ID.match(text):
        raise HttpError(400, "bad_request", "before must be an entry's id: <epoch>-<n>.")
    epoch, _, n = (text or "").partition("-")
    before = (int(epoch), int(n)) if text else None
    found = await request.app.state.node.purchases.entries_of(user_id_of(request), before)
    more = {"before": found[-1]["entry"]} if len(found) == limits.ENTRIES_PAGE else None
    return answer({"entries": found, "next": more})


def routes() -> list[Route]:
    return [
        route("/v1/wallets/{user}", get_wallet, summary="A wallet's coins and status"),
        route("/v1/wallets/{user}/entries", entries, summary="A wallet's journal entries, newest first"),
        route("/v1/wallets/{user}/limit", set_limit, method="PUT", summary="A viewer's own daily limit", body=Limit),
        route(
            "/v1/wallets/{user}/topups",
            top_up,
            method="POST",
            summary="Credit bought coins once per id",
            body=TopUp,
        ),
    ]
