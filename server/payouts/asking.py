"""A creator asks for a payout: it is refused with what is missing, or its diamonds are held at once."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import Connection, Engine, func, select

from server.journal import earnings, pen
from server.journal.database import reading
from server.journal.payouts import payouts
from server.payouts import bounds, risk, rows
from server.payouts.rows import Doing, Payout
from server.payouts.states import OFF, OPEN, State
from server.providers.bounds import NAME_CHARS_MAX
from server.providers.iban import is_bic, is_iban
from server.providers.interface import Payee
from server.rates import Rates, Terms
from server.settings import FOUR_EYES_DIAMONDS

Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class Method(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the money is to come: by which provider, and to whose account."""

    provider: Annotated[Text, Meta(max_length=NAME_CHARS_MAX)]
    name: Annotated[Text, Meta(min_length=1, max_length=bounds.NAME_CHARS_MAX)]
    iban: Annotated[Text, Meta(max_length=bounds.ACCOUNT_CHARS_MAX)] = ""
    bic: Annotated[Text, Meta(max_length=bounds.ACCOUNT_CHARS_MAX)] = ""
    account: Annotated[Text, Meta(max_length=bounds.ACCOUNT_CHARS_MAX)] = ""


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A request. It is safe to repeat with the same id."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
    diamonds: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    method: Method


class Standing(Struct, frozen=True):
    """What is known of a creator, and what is missing for a payout."""

    region: str | None = None
    tax: str = ""
    missing: tuple[Any, ...] = ()
    methods: tuple[str, ...] = ()  # which providers may be used; none means any


class Policy(Struct, frozen=True, kw_only=True):
    """Who looks at a payout: nobody below `review` diamonds if no rule flags it, two people from `eyes` on."""

    review: int = 0
    eyes: int = FOUR_EYES_DIAMONDS


class NotPaid(Exception):
    """The request is refused. `data` says what is missing."""

    def __init__(self, reason: str, message: str, **data: Any) -> None:
        super().__init__(reason)
        self.reason, self.message, self.data = reason, message, data


class Conflict(Exception):
    """This id was used for another request."""


StandingOf = Callable[[Connection, str, int], Standing]
TermsOf = Callable[[str | None], Terms]


class Requests:
    """Takes requests. All of it is one transaction, behind the lock of the books: two at once never overdraw."""

    def __init__(
        self, engine: Engine, terms_of: TermsOf, standing_of: StandingOf, providers: tuple[str, ...], policy: Policy
    ) -> None:
        self._engine = engine
        self._terms_of = terms_of
        self._standing_of = standing_of
        self._providers = providers
        self._policy = policy

    def request(self, creator: str, asked: Asked, by: str, now_ms: int) -> tuple[Payout, bool]:
        """Hold the diamonds. Returns the payout, and whether it had been requested before.

        Raises NotPaid, Conflict, BooksFrozen, SQLAlchemyError.
        """
        print_ = _fingerprint(creator, asked)
        with reading(self._engine).connect() as connection:  # a repeated one waits for no lock
            if (known := rows.find(connection, asked.id)) is not None:
                return _same(known, print_), True
        with self._engine.begin() as connection:
            pen.lock(connection)
            if (known := rows.find(connection, asked.id)) is not None:
                return _same(known, print_), True
            payout = self._payout(connection, creator, asked, print_, now_ms)
            rows.begin(connection, payout, Doing("request", by, now_ms))
            return self._review(connection, payout, now_ms), False

    def _payout(self, connection: Connection, creator: str, asked: Asked, print_: str, now_ms: int) -> Payout:
        standing = self._standing_of(connection, creator, now_ms)
        terms = self._terms_of(standing.region)
        self._check_standing(connection, creator, asked.method, standing)
        rates = terms.rates
        worth = rates.money_of(asked.diamonds)
        diamonds = asked.diamonds - worth.spare  # those are not needed for the same amount
        cut = rates.deducted(worth.amount, standing.tax)
        if worth.amount < rates.minimum or cut.net <= 0:
            least = {"minimum": rates.minimum, "diamonds": rates.diamonds_for(rates.minimum)}
            raise NotPaid("below_minimum", "The payout is too small.", currency=rates.currency, **least)
        _check_available(connection, creator, asked.diamonds, now_ms)
        _check_limits(connection, creator, rates, worth.amount, now_ms)
        method = asked.method
        payee = msgspec.json.encode(Payee(method.name, method.iban, method.bic, method.account))
        payee_hash = hashlib.sha256(payee).hexdigest()
        flags = risk.flags(connection, creator, payee_hash, now_ms)
        return Payout(
            id=asked.id,
            creator=creator,
            state=State.REQUESTED,
            asked=print_,
            diamonds=diamonds,
            rate=terms.id,
            currency=rates.currency,
            gross=cut.gross,
            fee=cut.fee,
            withheld=cut.withheld,
            net=cut.net,
            tax=standing.tax,
            provider=method.provider,
            key=rows.new_key(),
            batch="",
            payee=payee.decode(),
            payee_hash=payee_hash,
            flags=flags,
            eyes=2 if diamonds >= self._policy.eyes else 1,
            reason="",
            retryable=False,
            ref="",
            said_ms=0,
            requested_ms=now_ms,
            changed_ms=now_ms,
            sent_ms=0,
            due_ms=now_ms,
            late_ms=0,
            tries=0,
            alarm="",
        )

    def _check_standing(self, connection: Connection, creator: str, method: Method, standing: Standing) -> None:
        if standing.missing:
            raise NotPaid("not_eligible", "Something is missing for payouts.", missing=list(standing.missing))
        if method.provider not in self._providers or (standing.methods and method.provider not in standing.methods):
            allowed = [name for name in self._providers if not standing.methods or name in standing.methods]
            raise NotPaid("no_method", "There is no such way to be paid.", methods=allowed)
        if (method.iban and not is_iban(method.iban)) or (method.bic and not is_bic(method.bic)):
            raise NotPaid("invalid_account", "The IBAN or the BIC is mistyped.")
        if not (method.iban or method.account):
            raise NotPaid("invalid_account", "The method names no account.")
        query = select(payouts.c.id).where(payouts.c.creator == creator, payouts.c.state.in_(OPEN)).limit(1)
        if (other := connection.execute(query).scalar()) is not None:
            raise NotPaid("payout_open", "Another payout is under way.", payout=other)

    def _review(self, connection: Connection, payout: Payout, now_ms: int) -> Payout:
        """Decide by the rules whether people must look at it."""
        if payout.flags or payout.eyes > 1 or payout.diamonds >= self._policy.review:
            why = ", ".join(payout.flags)
            return rows.move(connection, payout, State.REVIEWING, Doing("review", "rules", now_ms, why))
        return rows.move(connection, payout, State.APPROVED, Doing("approve", "rules", now_ms))


def _check_available(connection: Connection, creator: str, diamonds: int, now_ms: int) -> None:
    figures = earnings.read(connection, creator, now_ms)
    if figures.debt:
        raise NotPaid("debt", "What was taken back is more than what is left.", debt=figures.debt)
    if diamonds > figures.available:
        have = {"need": diamonds, "have": figures.available, "pending": figures.pending}
        raise NotPaid("insufficient_diamonds", "So many diamonds are not available.", **have)


def _check_limits(connection: Connection, creator: str, rates: Rates, amount: int, now_ms: int) -> None:
    """Days and weeks are those of the rate card's time zone. What came to nothing does not count."""
    for name, period, most in (
        ("day", rates.zone.day(now_ms), rates.daily_max),
        ("week", rates.zone.week(now_ms), rates.weekly_max),
    ):
        query = select(func.coalesce(func.sum(payouts.c.gross), 0)).where(
            payouts.c.creator == creator,
            payouts.c.currency == rates.currency,
            payouts.c.requested_ms >= period.from_ms,
            payouts.c.state.not_in([*OFF, State.RETURNED]),
        )
        used = int(connection.execute(query).scalar_one())
        if used + amount > most:
            said = {"currency": rates.currency, "limit": most, "used": used, "resets_at_ms": period.until_ms}
            raise NotPaid("payout_limit", f"This {name}'s limit is reached.", window=name, **said)


def _same(known: Payout, print_: str) -> Payout:
    if known.asked != print_:
        raise Conflict
    return known


def _fingerprint(creator: str, asked: Asked) -> str:
    return hashlib.sha256(msgspec.json.encode([creator, asked])).hexdigest()
