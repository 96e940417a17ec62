"""Payouts over HTTP: creators ask with their own token, the platform's staff decides with the service key."""

import functools
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import PersonId
from server import limits
from server.http.api import HttpError, answer, bearer, body, has_key, next_page, query, route, user_id_of
from server.journal.database import ask, reading
from server.journal.payouts import payouts as table
from server.journal.pen import BooksFrozen
from server.payouts import rows, told
from server.payouts.asking import Asked, Conflict, NotPaid
from server.payouts.desk import ACTS, OwnPayout
from server.payouts.making import Payouts
from server.payouts.rows import Act, Doing, Forbidden, NoSuchPayout, Payout
from server.payouts.states import State
from server.payouts.told import Said
from server.providers.interface import BadWebhook, Payee
from server.rooms.revocations import Revocations
from server.tokens import BadToken, Tokens

Text = Annotated[str, Meta(max_length=limits.REASON_CHARS_MAX, pattern=r"^[^\x00]*$(?!\n)")]


class PayoutShown(Struct, frozen=True, kw_only=True):
    """A payout. Amounts are in minor units of its currency; `account` shows the end of it. Staff sees the rest, too."""

    id: str
    creator: str
    state: str
    diamonds: int
    currency: str
    gross: int
    fee: int
    withheld: int
    net: int
    rate: str
    provider: str
    account: str
    reason: str
    retryable: bool
    requested_ms: int
    changed_ms: int
    eyes: int | None = None
    flags: list[str] | None = None
    alarm: str | None = None
    provider_ref: str | None = None
    acts: list[Act] | None = None


class Staff(Struct, frozen=True, forbid_unknown_fields=True):
    """Who decides, and why. `retryable` is for `fail`: another payout may succeed."""

    by: PersonId
    reason: Text = ""
    retryable: bool = False


class PayoutsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which payouts: the review queue is `state=reviewing`, what needs people is `alarm=overdue` or `contradicted`."""

    state: State | None = None
    creator: PersonId | None = None
    provider: Annotated[str, Meta(max_length=32)] | None = None
    alarm: Annotated[str, Meta(max_length=16)] | None = None
    after: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class PayoutsPage(Struct, frozen=True):
    """Some payouts by id, and the query of the next ones."""

    payouts: list[PayoutShown]
    next: str | None


class Heard(Struct, frozen=True):
    """How many of a provider's messages were about payouts that are known here."""

    known: int


class _Payouts:
    def __init__(self, payouts: Payouts, tokens: Tokens, revocations: Revocations) -> None:
        self._payouts = payouts
        self._tokens = tokens
        self._revocations = revocations

    # --- creators ------------------------------------------------------------------------------------------------
    async def request(self, request: Request) -> Response:
        creator, who = user_id_of(request), self._who(request)
        if who not in (None, creator):
            raise HttpError(403, "forbidden", "These are another creator's diamonds.")
        asked = await body(request, Asked)
        try:
            done, again = await self._ask(
                self._payouts.requests.request, creator, asked, who or "platform", self._now_ms()
            )
        except NotPaid as no:
            raise HttpError(409, no.reason, no.message, **no.data) from None
        except Conflict:
            raise HttpError(409, "conflict", "This id was used for another payout.") from None
        return answer(_shown(done, who is None), 200 if again else 201)

    async def show(self, request: Request) -> Response:
        who = self._who(request)
        payout, acts = await ask(self._read, request.path_params["payout"], who)
        return answer(_shown(payout, who is None, acts))

    async def act(self, request: Request) -> Response:
        id, act, who = request.path_params["payout"], request.path_params["act"], self._who(request)
        if act not in ACTS:
            raise HttpError(404, "not_found", f"There is no such act; there are {', '.join(ACTS)}.")
        if who is None:
            staff = await body(request, Staff)
        else:  # a creator may cancel what has not left
            await ask(self._read, id, who)
            if act != "cancel":
                raise HttpError(403, "forbidden", "Creators may only cancel.")
            staff = Staff(who)
        doing = Doing(act, staff.by, self._now_ms(), staff.reason)
        try:
            done = await self._ask(_act, self._payouts, id, doing, staff.retryable)
        except NoSuchPayout:
            raise _unknown() from None
        except OwnPayout:
            raise HttpError(409, "own_payout", "Nobody approves their own payout.") from None
        except Forbidden as no:
            last = {"act": no.last.act, "by": no.last.by, "at_ms": no.last.at_ms, "reason": no.last.reason}
            said = f"The payout is {no.payout.state}: {no.last.by} was here first."
            raise HttpError(409, "wrong_state", said, state=no.payout.state.value, last=last) from None
        return answer(_shown(done, who is None))

    def _who(self, request: Request) -> str | None:
        """The creator whose token this is, None for the platform. Raises HttpError."""
        if has_key(request):
            return None
        try:
            claims = self._tokens.check(bearer(request), self._now_ms() / 1000)
        except BadToken as bad:
            said = f"The service key or the creator's own token is needed: {bad}."
            raise HttpError(401, "unauthorized", said) from None
        if claims.role != "host" or self._revocations.hold(claims.sub, claims.room or "", claims.minted_ms):
            raise HttpError(403, "forbidden", "Only a token of role host that is not revoked reaches payouts.")
        return claims.sub

    # --- staff ---------------------------------------------------------------------------------------------------
    async def queue(self, request: Request) -> Response:
        asked = query(request, PayoutsQuery)
        found = await ask(self._page, asked)
        more = found[-1].id if len(found) == asked.limit else None
        return answer(PayoutsPage([_shown(each, True) for each in found], next_page(asked, more)))

    async def hear(self, request: Request) -> Response:
        """A provider's own message. It is checked by its signature, and counts once however often it comes."""
        provider = self._payouts.providers.get(request.path_params["name"])
        if provider is None:
            raise HttpError(404, "not_found", "There is no such provider.")
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > limits.BODY_BYTES_MAX:
                raise HttpError(413, "too_large", f"The body may have {limits.BODY_BYTES_MAX} bytes.")
        try:
            said = provider.webhook(dict(request.headers), bytes(data), self._now_ms())
        except BadWebhook as bad:
            raise HttpError(403, "bad_webhook", f"This is not taken: {bad}.") from None
        heard = [Said(each.key, each.outcome, provider.name) for each in said]
        done = [await self._ask(told.hear, self._payouts.engine, each, self._now_ms()) for each in heard]
        return answer(Heard(sum(each is not None for each in done)))

    # --- SQL -----------------------------------------------------------------------------------------------------
    async def _ask(self, do: Any, *args: Any) -> Any:
        try:
            return await ask(do, *args)
        except BooksFrozen:
            raise HttpError(
                503, "books_frozen", "An audit has stopped the books; an operator has to repair them."
            ) from None

    def _read(self, id: str, who: str | None) -> tuple[Payout, list[Act]]:
        with reading(self._payouts.engine).connect() as connection:
            payout = rows.find(connection, id)
            if payout is None or who not in (None, payout.creator):
                raise _unknown()
            return payout, rows.acts_of(connection, id)

    def _page(self, asked: PayoutsQuery) -> Any:
        named = {"state": asked.state and asked.state.value, "creator": asked.creator, "provider": asked.provider}
        where = [table.c[name] == value for name, value in {**named, "alarm": asked.alarm}.items() if value is not None]
        with reading(self._payouts.engine).connect() as connection:
            return rows.listed(connection, *where, after=asked.after, limit=asked.limit)

    def _now_ms(self) -> int:
        return self._payouts.clock.now_ms()


def _act(payouts: Payouts, id: str, doing: Doing, retryable: bool) -> Payout:
    return payouts.desk.act(id, doing, retryable=retryable)


def _unknown() -> HttpError:
    return HttpError(404, "not_found", "There is no such payout.")


def _shown(payout: Payout, staff: bool, acts: list[Act] | None = None) -> PayoutShown:
    payee = msgspec.json.decode(payout.payee or '{"name":""}', type=Payee)
    same = {name: getattr(payout, name) for name in PayoutShown.__struct_fields__ if hasattr(payout, name)}
    same |= {"state": payout.state.value, "account": (payee.iban or payee.account)[-4:]}
    rest = {"provider_ref": payout.ref, "acts": acts} if staff else dict.fromkeys(_FOR_STAFF)
    return PayoutShown(**{**same, **rest})


_FOR_STAFF = ("eyes", "flags", "alarm", "provider_ref", "acts")


def routes(payouts: Payouts, tokens: Tokens, revocations: Revocations) -> list[Route]:
    here = _Payouts(payouts, tokens, revocations)
    one = "/v1/payouts/{payout}"
    own = functools.partial(route, people=True)  # `_who` looks
    return [
        own(
            "/v1/creators/{user}/payouts",
            here.request,
            method="POST",
            summary="Ask for a payout: its diamonds are held",
            body=Asked,
            gives=PayoutShown,
            statuses=(200, 201),
        ),
        route("/v1/payouts", here.queue, summary="Payouts, page by page", query=PayoutsQuery, gives=PayoutsPage),
        own(one, here.show, summary="A payout, and for staff what was done with it", gives=PayoutShown),
        own(
            one + "/{act}",
            here.act,
            method="POST",
            summary="Approve, reject, submit, cancel, or say what became of a payout",
            body=Staff,
            gives=PayoutShown,
        ),
        route(
            "/v1/providers/{name}/webhook",
            here.hear,
            method="POST",
            summary="A provider's signed message about payouts",
            gives=Heard,
            open=True,
            shared=False,
        ),
    ]
