"""Refunds, chargebacks and freezes over HTTP: orders of the host platform, repeatable by their ids."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import GiftId, TopUpId, UserId
from server import limits
from server.http.api import Endpoint, HttpError, answer, body, route, user_id_of
from server.money.results import Adjusted, Money, TopUpConflict, WalletView
from server.orders.chargebacks import Chargebacks
from server.orders.freezes import Freezes
from server.orders.refunds import Refunds
from server.orders.rows import CannotReverse, NotFound, NotYet, Reversed

Text = Annotated[str, Meta(max_length=limits.REASON_CHARS_MAX, pattern=r"^[^\x00]*$")]

SetStatus = Callable[[str, str], Awaitable[Adjusted]]


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """The reason for an order."""

    reason: Text = ""


class RefundOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The reason, and the sender of the gift in case two viewers used the same id."""

    reason: Text = ""
    user_id: UserId | None = None


class Freeze(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to freeze or unfreeze a wallet. It is safe to repeat with the same id."""

    id: TopUpId


class _Reversals:
    def __init__(self, refunds: Refunds, chargebacks: Chargebacks, freezes: Freezes, wallet: Money) -> None:
        self._refunds = refunds
        self._chargebacks = chargebacks
        self._freezes = freezes
        self._wallet = wallet

    async def refund(self, request: Request) -> Response:
        gift_id = _id_of(request, "gift", GiftId)
        order = await body(request, RefundOrder)
        return await _reversed(self._refunds.refund(gift_id, order.reason, order.user_id), "gift")

    async def charge_back(self, request: Request) -> Response:
        topup_id = _id_of(request, "topup", TopUpId, "top-up")
        order = await body(request, Reason)
        return await _reversed(self._chargebacks.charge_back(topup_id, order.reason), "top-up")

    async def freeze(self, request: Request) -> Response:
        return await self._set_status(request, self._freezes.freeze)

    async def unfreeze(self, request: Request) -> Response:
        return await self._set_status(request, self._freezes.unfreeze)

    async def _set_status(self, request: Request, set_status: SetStatus) -> Response:
        user_id, order = user_id_of(request), await body(request, Freeze)
        try:
            done = await set_status(user_id, order.id)
        except TopUpConflict:
            raise HttpError(409, "conflict", "This id was used for another order.") from None
        except CannotReverse as no:
            raise HttpError(409, "conflict", f"The wallet stays as it is: {no}.") from None
        except NotYet:
            raise HttpError(503, "not_yet", "A chargeback of this wallet is not finished: ask again.") from None
        return answer(await self._wallet.view(user_id), 200 if done.duplicate else 201)


def _id_of(request: Request, name: str, kind: object, called: str | None = None) -> str:
    try:
        return str(msgspec.convert(request.path_params[name], kind))
    except msgspec.ValidationError:
        raise HttpError(400, "bad_request", f"This is not a valid {called or name} id.") from None


async def _reversed(order: Awaitable[Reversed], name: str) -> Response:
    try:
        done = await order
    except NotFound:
        raise HttpError(404, "not_found", f"The journal has no such {name} yet.") from None
    except (CannotReverse, TopUpConflict) as no:
        raise HttpError(409, "conflict", f"It cannot be reversed: {no}.") from None
    except NotYet:
        raise HttpError(503, "not_yet", "The journal is catching up with this wallet: ask again.") from None
    return answer(done, 200 if done.duplicate else 201)


def routes(refunds: Refunds, chargebacks: Chargebacks, freezes: Freezes, wallet: Money) -> list[Route]:
    orders = _Reversals(refunds, chargebacks, freezes, wallet)
    user = "/v1/wallets/{user}"

    def order(path: str, endpoint: Endpoint, summary: str, body: Any, gives: Any) -> Route:
        return route(
            path, endpoint, method="POST", summary=summary, body=body, gives=gives, statuses=(200, 201)
        )  # 200 when it had been done before

    return [
        order("/v1/gifts/{gift}/refund", orders.refund, "Give a gift's coins back", RefundOrder, Reversed),
        order("/v1/topups/{topup}/chargeback", orders.charge_back, "Take a top-up back", Reason, Reversed),
        order(f"{user}/freeze", orders.freeze, "No gifts from a wallet", Freeze, WalletView),
        order(f"{user}/unfreeze", orders.unfreeze, "Gifts again", Freeze, WalletView),
    ]
