"""The audit compares payouts with the books, and one is compared once more before it leaves."""

import pytest
from sqlalchemy import text

from server import limits
from server.journal import of_books
from server.journal.heads import Heads
from server.journal.of_books import BooksPart
from server.journal.paid_out import wrong_payouts
from server.payouts.asking import Standing
from server.payouts.states import State
from tests.payouts.house import House

PAID_ROW = "UPDATE payouts SET {} WHERE id = 'p1'"
# What somebody may change of a paid payout, and what is said about it.
CHANGES = {
    "creator = 'eve'": "creator is eve, but ann in the books",
    "diamonds = 10": "diamonds is 10, but 1000 in the books",
    "rate = 't1/JP'": "rate is t1/JP, but t1/default in the books",
    "currency = 'KWD'": "currency is KWD, but EUR in the books",
    "net = 5": "net is 5, but 500 in the books",
    "fee = 5": "fee is 5, but 0 in the books",
    "withheld = 5": "withheld is 5, but 0 in the books",
    "provider = 'files'": "provider is files, but service in the books",
    "gross = 5": "gross is 5, but 500 by its terms",
    "state = 'submitted'": "it is submitted, but the books have payout_hold, payout_paid of it",
    "state = 'failed'": "it is failed, but the books have payout_hold, payout_paid of it",
    "state = 'returned'": "it is returned, but the books have payout_hold, payout_paid of it",
    "state = 'gone'": "its state is gone",
    "id = 'p2'": "it is paid, but the books have nothing of it",
}


def change(house: House, statement: str) -> None:
    with house.engine.begin() as connection:
        connection.execute(text(statement))


def found(house: House, *, everything: bool = True) -> list[tuple[str, str]]:
    with house.engine.connect() as connection:
        wrong = wrong_payouts(connection, everything=everything)
    assert {each.partition for each in wrong} <= {limits.BOOKS}
    return [(each.where, each.what) for each in wrong]


def pay(house: House) -> None:
    house.earn()
    house.webhook(house.bank.becomes(house.out().key, "paid"))
    assert house.state() == "paid"
    house.check()


@pytest.mark.parametrize("changed", CHANGES)
def test_a_changed_row_is_named(house: House, changed: str) -> None:
    pay(house)
    change(house, PAID_ROW.format(changed))
    name = "payout p2" if changed.startswith("id") else "payout p1"
    assert found(house)[0] == (name, CHANGES[changed])


def test_a_row_that_is_missing_or_invented(house: House) -> None:
    """One that is invented and would leave is found in each audit."""
    pay(house)
    names = "creator, state, asked, diamonds, rate, currency, gross, fee, withheld, net, tax, provider, batch, payee"
    names += ", payee_hash, flags, eyes, reason, retryable, ref, said_ms, requested_ms, changed_ms, sent_ms, due_ms"
    names += ", late_ms, tries, alarm"
    copied = names.replace("state", "'approved'")
    change(house, f"INSERT INTO payouts (id, key, {names}) SELECT 'p2', 'k2', {copied} FROM payouts")
    invented = ("payout p2", "it is approved, but the books have nothing of it")
    assert found(house, everything=False) == found(house) == [invented]
    change(house, "DELETE FROM payouts")
    missing = [("payout p1", "the books hold diamonds for it, but there is no such payout")]
    assert found(house) == missing


@pytest.mark.parametrize(
    "changed", ["diamonds = 2000", "net = 999999", "gross = 999999", "tax = 'w9'", "creator = 'eve'"]
)
def test_nothing_leaves_that_is_not_booked_so(house: House, changed: str) -> None:
    """Somebody changes an approved payout after the audit that verified what was earned."""
    house.standings["ann"] = Standing(region="DE", tax="none")
    house.earn()
    house.ask()
    house.do("approve")
    house.later()
    house.audited()
    change(house, PAID_ROW.format(changed))
    house.runner.once()
    assert (house.bank.requests, house.state()) == ([], "approved")
    if not changed.startswith("creator"):
        assert house.payout().reason == "it is not as the books have it"
    assert found(house, everything=False) == found(house) != []


def test_the_audit_compares_all_once_a_turn(house: House) -> None:
    """Those under way each time. A finding is of the books, which a repair looks at as a whole."""
    pay(house)
    heads = Heads(house.engine, None)
    part = BooksPart(house.engine, heads)
    part.verify(house.now_ms)
    assert part.wrong == []
    change(house, PAID_ROW.format("net = 5"))
    for passed_ms, findings in ((1, 0), (int(limits.AUDIT_TURN_S * 1000), 1)):
        part.begin()
        part.verify(house.now_ms + passed_ms)
        assert len(part.wrong) == findings
    with house.engine.connect() as connection:
        assert [wrong.where for wrong in of_books.look(connection).wrong] == ["payout p1"]


def test_every_state_has_its_entries() -> None:
    """A new state must say what the books have of it."""
    from server.journal.paid_out import _BOOKED  # noqa: PLC0415

    assert _BOOKED.keys() == {state.value for state in State}
