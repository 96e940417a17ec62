"""The provider over HTTP, against a service on a real port that fails in every way."""

import json
from collections.abc import Iterator

import pytest

from server.providers.http import HttpProvider
from server.providers.interface import BadWebhook, Instruction, Outcome, Payee, Standing
from tests.providers.bank import API_KEY, SECRET, Bank, webhook


@pytest.fixture
def bank() -> Iterator[Bank]:
    made = Bank()
    made.start()
    yield made
    made.stop()


def provider(bank: Bank, answer_s: float = 5.0) -> HttpProvider:
    return HttpProvider("service", bank.url, API_KEY, [SECRET, "the-secret-before"], answer_s=answer_s)


def a_payout(key: str = "lr-1", amount: int = 1234, currency: str = "EUR") -> Instruction:
    return Instruction(key=key, batch="b1", amount=amount, currency=currency, payee=Payee("Ann", account="acct_1"))


def submit(bank: Bank, fault: str, answer_s: float = 5.0) -> Outcome:
    bank.faults.append(fault)
    return provider(bank, answer_s).submit([a_payout()])["lr-1"]


@pytest.mark.parametrize(
    ("fault", "said", "done"),
    [
        ("ok", Standing.PENDING, True),
        ("twice", Standing.PENDING, True),
        ("drop", Standing.UNKNOWN, True),
        ("drop_before", Standing.UNKNOWN, False),
        ("500", Standing.UNKNOWN, False),
        ("500_done", Standing.UNKNOWN, True),
        ("duplicate", Standing.UNKNOWN, True),
        ("garbage", Standing.UNKNOWN, True),
        ("other_amount", Standing.UNKNOWN, True),
        ("429", Standing.NOT_SENT, False),
        ("401", Standing.NOT_SENT, False),
        ("400", Standing.FAILED, False),
    ],
)
def test_what_an_answer_says(bank: Bank, fault: str, said: Standing, done: bool) -> None:
    """Only a sure answer says that it is paid, failed or was never taken; all else is unknown."""
    assert submit(bank, fault).standing is said
    assert ("lr-1" in bank.payouts) is done


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_no_answer_in_time(bank: Bank, fault: str) -> None:
    """A service that does not answer in time, or drips its answer, leaves the payout unknown; it may have done it."""
    assert submit(bank, fault, answer_s=0.3).standing is Standing.UNKNOWN
    assert provider(bank).look_up([a_payout()])["lr-1"].standing is Standing.PENDING


def test_nobody_listens() -> None:
    """Where no connection is made nothing has left."""
    gone = Bank()
    gone._server.server_close()
    assert provider(gone).submit([a_payout()])["lr-1"].standing is Standing.NOT_SENT
    assert provider(gone).look_up([a_payout()])["lr-1"].standing is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        ("paid", Standing.PAID),
        ("failed", Standing.FAILED),
        ("canceled", Standing.FAILED),
        ("returned", Standing.RETURNED),
        ("in_transit", Standing.PENDING),
        ("a_new_word", Standing.PENDING),
    ],
)
def test_look_up(bank: Bank, status: str, standing: Standing) -> None:
    """A payout is asked for by its key."""
    submit(bank, "ok")
    bank.becomes("lr-1", status, "account_closed")
    told = provider(bank).look_up([a_payout()])["lr-1"]
    assert (told.standing, told.ref, told.reason) == (standing, "po_1", "account_closed")


def test_a_look_up_that_finds_nothing_says_nothing(bank: Bank) -> None:
    """After "duplicate" a 404 means that the money may have gone (PayPal-Ruby-SDK#120, #138), as an empty list does."""
    submit(bank, "duplicate")
    assert provider(bank).look_up([a_payout(), a_payout("lr-2")]) == {
        "lr-1": Outcome(Standing.UNKNOWN, reason="status 404"),
        "lr-2": Outcome(Standing.UNKNOWN, reason="0 payouts have the key"),
    }


def test_a_look_up_of_another_amount(bank: Bank) -> None:
    """JPY and EUR have other exponents: an amount that is not ours is not our payout."""
    submit(bank, "ok")
    assert provider(bank).look_up([a_payout(currency="JPY")])["lr-1"].standing is Standing.UNKNOWN
    assert provider(bank).look_up([a_payout(amount=1235)])["lr-1"].standing is Standing.UNKNOWN


def test_a_key_is_sent_twice(bank: Bank) -> None:
    """The service does it once."""
    for _ in range(2):
        assert submit(bank, "ok").ref == "po_1"
    assert len(bank.payouts) == 1


# --- webhooks ------------------------------------------------------------------------------------------------------
def test_a_webhook(bank: Bank) -> None:
    """A signed event says what became of a payout; one signed with the secret before the last is good, too."""
    submit(bank, "ok")
    headers, body = bank.becomes("lr-1", "paid")
    (told,) = provider(bank).webhook(headers, body, 1_000_000)
    assert (told.event, told.key, told.outcome) == ("evt_1001", "lr-1", Outcome(Standing.PAID, "po_1", at_ms=1_001))
    old = webhook("evt", dict(bank.payouts["lr-1"]), secret="the-secret-before")
    assert provider(bank).webhook(*old, 1_000_000)[0].key == "lr-1"


SHOWN = {"id": "po_1", "status": "paid", "amount": 1, "currency": "EUR", "key": "lr-1"}


@pytest.mark.parametrize(
    ("sent", "now_ms", "why"),
    [
        (({}, b"{}"), 1_000_000, "no signature"),
        (({"payout-signature": "t=1,t=2,v1=00"}, b"{}"), 1_000_000, "no signature"),
        (({"payout-signature": f"t={'9' * 40},v1=00"}, b"{}"), 1_000_000, "no signature"),
        (({"payout-signature": "t=1000,v1=é"}, b"{}"), 1_000_000, "wrong"),
        (({"payout-signature": "t=1000"}, b"{}"), 1_000_000, "wrong"),
        (webhook("e", SHOWN, secret="another"), 1_000_000, "wrong"),
        (webhook("e", SHOWN), 1_000_000 + 300_001, "too old"),
        (webhook("e", SHOWN), 1_000_000 - 300_001, "too old"),
        (webhook("e", {**SHOWN, "key": ""}), 1_000_000, "no payout"),
        (webhook("e", {"id": "po_1"}), 1_000_000, "not an event"),
    ],
)
def test_a_bad_webhook(bank: Bank, sent: tuple[dict[str, str], bytes], now_ms: int, why: str) -> None:
    """What is not signed by the provider, lately, says nothing."""
    with pytest.raises(BadWebhook, match=why):
        provider(bank).webhook(*sent, now_ms)


def test_a_changed_webhook(bank: Bank) -> None:
    """A changed body has another signature."""
    headers, body = webhook("e", SHOWN)
    changed = json.dumps({**json.loads(body), "id": "f"}).encode()
    with pytest.raises(BadWebhook, match="wrong"):
        provider(bank).webhook(headers, changed, 1_000_000)
