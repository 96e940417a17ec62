"""Requests for payouts: what is refused and why, and that two at once never overdraw."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from server import limits
from server.payouts.asking import Asked, Conflict, NotPaid, Standing
from server.payouts.states import State
from server.providers.currencies import written
from tests.journal.shop import NOW_MS
from tests.payouts.house import IBAN, METHOD, House


def refused(house: House, **asked: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(NotPaid) as no:
        house.ask(**asked)
    return no.value.reason, no.value.data


def test_what_is_missing_is_said(house: House) -> None:
    """Each refusal names what is needed, and nothing is held by it."""
    house.earn()
    house.earn(diamonds=500, days_ago=1)
    method = msgspec.structs.replace
    assert refused(house, diamonds=199) == (
        "below_minimum",
        {"currency": "EUR", "minimum": 100, "diamonds": 200},
    )
    have = {"need": 1_001, "have": 1_000, "pending": 500}
    assert refused(house, diamonds=1_001) == ("insufficient_diamonds", have)
    assert refused(house, method=method(METHOD, provider="cash")) == ("no_method", {"methods": ["service", "files"]})
    assert refused(house, method=method(METHOD, iban="DE89370400440532013001"))[0] == "invalid_account"
    assert refused(house, method=method(METHOD, account=""))[0] == "invalid_account"
    house.standings["ann"] = Standing(missing=("identity", "tax"))
    assert refused(house) == ("not_eligible", {"missing": ["identity", "tax"]})
    house.standings["ann"] = Standing(methods=("files",))
    assert refused(house) == ("no_method", {"methods": ["files"]})
    house.standings.clear()
    assert house.numbers() == (1_000, 0, 0, 0)
    house.ask(600)
    assert refused(house, id="p2", diamonds=400) == ("payout_open", {"payout": "p1"})
    house.check()


def test_a_request_is_repeated(house: House) -> None:
    """The same id is the same payout, also after it has ended; another payload is a conflict."""
    house.earn()
    first = house.ask(600)
    assert house.ask(600) == first
    house.do("cancel")
    assert house.ask(600).state is State.CANCELLED
    with pytest.raises(Conflict):
        house.ask(500)
    with pytest.raises(Conflict):
        house.ask(600, creator="ben")
    assert house.numbers() == (1_000, 0, 0, 0)


@pytest.mark.parametrize(
    ("region", "diamonds", "gross", "text", "taken"),
    [
        ("JP", 1_000, 1_500, "1500", 1_000),
        ("KW", 1_000, 350, "0.350", 1_000),
        ("KW", 999, 349, "0.349", 998),
        (None, 999, 499, "4.99", 998),
    ],
)
def test_currencies(house: House, region: str | None, diamonds: int, gross: int, text: str, taken: int) -> None:
    """Money has its currency's minor unit. Diamonds that rounding would swallow are left to the creator."""
    house.earn()
    house.standings["ann"] = Standing(region=region)
    payout = house.ask(diamonds)
    assert (payout.gross, written(payout.gross, payout.currency), payout.diamonds) == (gross, text, taken)
    house.do("approve")
    house.round()
    assert house.bank.payouts[payout.key]["amount"] == gross
    assert house.bank.payouts[payout.key]["currency"] == payout.currency


def test_fees_and_taxes(house: House) -> None:
    """What is taken off adds up, is in the books, and what is withheld has its row."""
    house.earn(diamonds=4_000)
    house.standings["ann"] = Standing(region="DE", tax="none")
    payout = house.out(diamonds=2_000, method=msgspec.structs.replace(METHOD, iban=IBAN))
    assert (payout.gross, payout.withheld, payout.fee, payout.net) == (1_000, 240, 40, 720)
    house.webhook(house.bank.becomes(payout.key, "paid"))
    assert house.withheld() == [("paid", 1_000, 240)]
    house.webhook(house.bank.becomes(payout.key, "returned"))
    assert house.withheld() == [("paid", 1_000, 240), ("returned", -1_000, -240)]
    house.check()


# --- limits --------------------------------------------------------------------------------------------------------
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * 1000


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        ("2026-03-28T23:30", "2026-03-29T00:00"),
        ("2026-03-29T00:30", "2026-03-30T00:00"),  # a day of 23 hours
        ("2026-10-25T02:30", "2026-10-26T00:00"),  # and one of 25
    ],
)
def test_a_day_is_where_the_card_is(house: House, now: str, reset: str) -> None:
    """A daily limit ends at midnight in the card's time zone, whatever the clocks do. What came to nothing is free."""
    house.earn(diamonds=20_000)
    house.standings["ann"] = Standing(region="DE", tax="w9")
    house.now_ms = at(now)
    house.ask(2_000)
    house.do("cancel")
    house.ask(2_000, id="p2")
    house.do("approve", "p2")
    house.audited()
    house.now_ms += 1
    house.audited()
    house.runner.once()
    house.webhook(house.bank.becomes(house.payout("p2").key, "paid"))
    said = {"currency": "EUR", "limit": 2_000, "used": 1_000, "resets_at_ms": at(reset), "window": "day"}
    assert refused(house, diamonds=2_002, id="p3") == ("payout_limit", said)
    house.now_ms = at(reset) - 1
    assert refused(house, diamonds=2_002, id="p3")[0] == "payout_limit"
    house.now_ms = at(reset)
    house.ask(2_002, id="p3")


def test_a_week(house: House) -> None:
    """A week begins on Monday, in the card's time zone."""
    house.earn(diamonds=50_000)
    house.standings["ann"] = Standing(region="DE")
    monday = at("2026-03-23T00:00")
    for day in range(3):
        house.now_ms = monday + day * limits.DAY_MS
        house.ask(4_000 if day < 2 else 2_000, id=f"p{day}")
        house.do("approve", f"p{day}")
        house.round()
        house.webhook(house.bank.becomes(house.payout(f"p{day}").key, "paid"))
    house.now_ms = at("2026-03-29T23:59")
    reason, data = refused(house, diamonds=2_000, id="p9")
    assert (reason, data["window"], data["resets_at_ms"]) == ("payout_limit", "week", at("2026-03-30T00:00"))
    house.now_ms = at("2026-03-30T00:00")
    house.ask(2_000, id="p9")


# --- many at once --------------------------------------------------------------------------------------------------
def test_two_thousand_requests_at_once(house: House) -> None:
    """Exactly what was available leaves, once."""
    house.requests = house.make_requests(review=10**9, eyes=10**9)
    house.earn(days_ago=60)

    def ask(n: int) -> str:
        try:
            return house.requests.request("ann", Asked(f"p{n % 1_900}", 1_000, METHOD), "ann", NOW_MS)[0].id
        except NotPaid as no:
            return no.reason

    with ThreadPoolExecutor(10) as pool:
        said = list(pool.map(ask, range(2_000)))
    winners = {each for each in said if each.startswith("p") and each != "payout_open"}
    assert len(winners) == 1
    assert {each for each in said if each not in winners} == {"payout_open"}
    (winner,) = winners
    house.round()
    house.webhook(house.bank.becomes(house.payout(winner).key, "paid"))
    assert (house.bank.gone, len(house.bank.payouts)) == (500, 1)
    assert house.numbers() == (0, 0, 1_000, 0)
    house.check()


# --- refunds and chargebacks ---------------------------------------------------------------------------------------
def test_a_chargeback_meets_a_payout(house: House) -> None:
    """It takes what is pending, then what is available; what is held stays held, and the rest is debt."""
    house.earn(diamonds=900, fans=1)
    fan = house.shops["fan0-ann"]
    house.ask(800)
    assert house.numbers() == (100, 800, 0, 0)
    fan.charge_back(next(iter(fan.topups)))
    fan.journal()
    assert house.numbers() == (0, 800, 0, 800)
    house.do("approve")
    house.round()
    assert (house.state(), house.payout().reason) == ("approved", "debt")
    house.do("reject", reason="the gifts were charged back")
    assert house.numbers() == (0, 0, 0, 0)
    house.check()


def test_debt_is_paid_first(house: House) -> None:
    """A paid payout that is charged back is debt, which bars payouts until later gifts have paid it."""
    house.earn(diamonds=1_000, fans=1)
    fan = house.shops["fan0-ann"]
    house.webhook(house.bank.becomes(house.out().key, "paid"))
    fan.refund(next(iter(fan.gifts)))
    fan.journal()
    assert house.numbers() == (0, 0, 1_000, 1_000)
    assert refused(house, id="p2") == ("debt", {"debt": 1_000})
    house.earn(diamonds=1_500, fans=2)
    assert house.numbers() == (500, 0, 1_000, 0)
    house.ask(500, id="p2")
    house.check()
