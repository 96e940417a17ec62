"""A payout's life: its moves, its hold, and the money that leaves once."""

from collections import Counter

import pytest

from server import limits
from server.payouts import bounds, told
from server.payouts.desk import OwnPayout
from server.payouts.rows import Forbidden, NoSuchPayout
from server.payouts.runner import ALARMED, KINDS_OF_ALARM
from server.payouts.states import MOVES, OPEN, State
from server.payouts.told import Said
from server.providers.interface import Outcome, Standing
from tests.payouts.house import House


def test_the_whole_life(house: House) -> None:
    """Requested, reviewed, approved, sent after an audit, and paid: each step is in the books and in the acts."""
    house.earn(diamonds=2_000)
    payout = house.ask(1_000)
    assert (payout.state, payout.gross, payout.net) == (State.REVIEWING, 500, 500)
    assert house.numbers() == (1_000, 1_000, 0, 0)
    house.do("approve")
    house.runner.once()
    assert (house.state(), house.bank.requests) == ("approved", []), "no audit has verified what was earned"
    house.round()
    assert house.state() == "submitted"
    house.webhook(house.bank.becomes(house.payout().key, "paid"))
    assert house.state() == "paid"
    assert house.numbers() == (1_000, 0, 1_000, 0)
    assert house.bank.gone == 500
    said = [(act.act, act.by, act.after) for act in house.acts()]
    assert said == [
        ("request", "ann", "requested"),
        ("review", "rules", "reviewing"),
        ("approve", "olga", "approved"),
        ("submit", "runner", "submitted"),
        ("paid", "provider:service", "paid"),
    ]
    house.check()


def test_a_bank_returns_the_money(house: House) -> None:
    """Days later the money comes back, and the diamonds are the creator's again."""
    house.earn()
    key = house.out().key
    house.webhook(house.bank.becomes(key, "paid"))
    house.later(9 * limits.DAY_MS)
    for _ in range(2):
        house.webhook(house.bank.becomes(key, "returned", "account_closed"))
    assert (house.state(), house.payout().reason) == ("returned", "account_closed")
    assert house.numbers() == (1_000, 0, 0, 0)
    assert house.bank.gone == 0
    house.check()


def test_a_return_is_found_by_asking(house: House) -> None:
    """A webhook may get lost: paid payouts are asked for, too."""
    house.earn()
    key = house.out().key
    house.bank.becomes(key, "paid")
    house.round()
    assert house.state() == "paid"
    house.bank.becomes(key, "returned")
    house.round(bounds.PAID_POLL_MS)
    assert house.state() == "returned"
    house.later(bounds.PAID_WATCH_MS)


@pytest.mark.parametrize("act", ["reject", "cancel"])
def test_a_payout_that_is_off(house: House, act: str) -> None:
    """Its diamonds are the creator's again, once."""
    house.earn()
    house.ask()
    for _ in range(2):
        house.do(act, reason="no")
    assert house.numbers() == (1_000, 0, 0, 0)
    with pytest.raises(Forbidden) as late:
        house.do("approve", by="pat")
    assert (late.value.last.act, late.value.last.by, late.value.last.reason) == (act, "olga", "no")
    house.check()


def test_four_eyes(house: House) -> None:
    """A large one is approved by two people, neither of them its creator."""
    house.requests = house.make_requests(eyes=1_000)
    house.earn()
    house.ask()
    with pytest.raises(OwnPayout):
        house.do("approve", by="ann")
    for _ in range(2):
        assert house.do("approve", by="olga").state is State.REVIEWING
    assert house.do("approve", by="pat").state is State.APPROVED


def test_nobody_looks_at_a_small_one(house: House) -> None:
    """Below the site's amount, and with no flag, the rules approve."""
    house.requests = house.make_requests(review=5_000)
    house.earn()
    assert house.ask().state is State.APPROVED


def test_an_unknown_payout(house: House) -> None:
    """It says who knows it not."""
    with pytest.raises(NoSuchPayout):
        house.do("approve", "p9")


# --- what is not known ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["drop", "500_done", "slow", "garbage", "twice"])
def test_the_provider_acts_and_does_not_say_so(house: House, fault: str) -> None:
    """The hold stays, it is asked for and never sent again, and leaves once (gumroad#6620, spree#14500)."""
    house.earn()
    house.bank.faults.append(fault)
    house.out()
    assert house.numbers() == (0, 1_000, 0, 0)
    house.bank.becomes(house.payout().key, "paid")
    house.round()
    assert house.state() == "paid"
    assert Counter(house.bank.requests)["POST", house.payout().key] == 1
    assert house.bank.gone == 500
    house.check()


def test_duplicate_and_then_not_found(house: House) -> None:
    """Nobody releases the hold for a 404. After the card's days people get an alarm, and it stays held."""
    house.earn()
    house.bank.faults.append("duplicate")
    house.out()
    for _ in range(8):
        house.round(limits.DAY_MS)
    assert (house.state(), house.payout().alarm) == ("unknown", "overdue")
    assert [act.reason for act in house.acts() if act.act == "alarm"] == ["overdue"]
    assert [ALARMED.labels(kind)._value.get() for kind in KINDS_OF_ALARM] == [1, 0]
    assert house.numbers() == (0, 1_000, 0, 0)
    house.bank.blind.clear()
    house.bank.becomes(house.payout().key, "paid")
    house.round()
    assert house.state() == "paid"


def test_an_operator_has_asked_the_provider(house: House) -> None:
    """What only people can find out they say, with their name."""
    house.earn()
    house.bank.faults.append("drop_before")
    house.out()
    assert house.state() == "unknown"
    house.do("fail", reason="the bank has never seen it", retryable=True)
    assert house.numbers() == (1_000, 0, 0, 0)
    house.hear(Outcome(Standing.PAID))
    assert (house.state(), house.payout().alarm) == ("failed", "contradicted")
    assert house.numbers() == (1_000, 0, 0, 0)


def test_a_provider_that_is_away(house: House) -> None:
    """What surely never left is sent again, with the same key, and goes once."""
    house.earn()
    house.bank.faults.extend(["429", "401"])
    key = house.out().key
    assert house.state() == "approved"
    house.round(bounds.AGAIN_MS)
    assert house.state() == "approved"
    house.round(bounds.AGAIN_MS * 2)
    assert house.state() == "submitted"
    assert house.bank.requests == [("POST", key)] * 3
    assert len(house.bank.payouts) == 1


def test_not_sent_is_of_one_submission(house: House) -> None:
    """A late word about an earlier submission does not send it again."""
    house.earn()
    payout = house.out()
    house.hear(Outcome(Standing.NOT_SENT), batch="b-earlier")
    house.hear(Outcome(Standing.NOT_SENT))
    assert house.state() == "submitted"
    house.hear(Outcome(Standing.NOT_SENT), batch=payout.batch)
    assert house.state() == "approved"


def test_the_provider_refuses(house: House) -> None:
    """The diamonds are free again, and the reason is said."""
    house.earn()
    house.bank.faults.append("400")
    payout = house.out()
    assert (payout.state, payout.reason, payout.retryable) == (State.FAILED, "invalid_account", True)
    assert house.numbers() == (1_000, 0, 0, 0)
    house.check()


# --- order and doubles ---------------------------------------------------------------------------------------------
def test_webhooks_out_of_order(house: House) -> None:
    """Returned comes before paid: it was paid and returned. Paid comes late and changes nothing."""
    house.earn()
    key = house.out().key
    paid = house.bank.becomes(key, "paid")
    returned = house.bank.becomes(key, "returned")
    for sent in (returned, paid, returned, paid):
        house.webhook(sent)
    assert (house.state(), house.payout().alarm) == ("returned", "")
    assert house.numbers() == (1_000, 0, 0, 0)
    house.check()


def test_webhook_and_answer_at_once(house: House) -> None:
    """A webhook may be faster than the answer to the submission."""
    house.earn()
    key = house.out().key
    house.webhook(house.bank.becomes(key, "paid"))
    house.hear(Outcome(Standing.PENDING))
    house.hear(Outcome(Standing.UNKNOWN))
    assert house.state() == "paid"


def test_a_contradiction_is_kept_and_told_once(house: House) -> None:
    """Failed, and then paid: nothing moves by itself, and people get an alarm."""
    house.earn()
    house.out()
    house.hear(Outcome(Standing.FAILED, reason="no"))
    for _ in range(3):
        house.hear(Outcome(Standing.PAID))
    assert (house.state(), house.payout().alarm) == ("failed", "contradicted")
    assert [act.act for act in house.acts()].count("contradict") == 1
    assert house.numbers() == (1_000, 0, 0, 0)


def test_another_providers_key(house: House) -> None:
    """A provider says nothing of what another one carries."""
    house.earn()

    key = house.out().key
    assert told.hear(house.engine, Said(key, Outcome(Standing.PAID), "files"), house.now_ms) is None
    assert house.state() == "submitted"


# --- what is in the way --------------------------------------------------------------------------------------------
def test_only_what_an_audit_has_verified_leaves(house: House) -> None:
    """An audit that began before the request, or was not good, lets nothing go."""
    house.earn()
    house.audited()
    house.ask()
    house.do("approve")
    house.runner.once()
    assert house.payout().reason == "waits for an audit"
    house.later()
    house.audited(ok=False)
    house.runner.once()
    assert house.state() == "approved"
    house.round()
    assert house.state() == "submitted"


def test_the_table_of_moves() -> None:
    """Everything that is open can end, and what has ended stays."""
    ends = {state for state, moves in MOVES.items() if not moves}
    assert ends == {State.RETURNED, State.REJECTED, State.CANCELLED, State.FAILED}
    assert all(MOVES[state] for state in OPEN)
