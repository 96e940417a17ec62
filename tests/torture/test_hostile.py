"""Hostile amounts and ids, sent directly to the money scripts: they are refused and change nothing."""

import pytest

from server.money.wallet import SPEND
from server.store import keys
from tests.torture.bank import Bank
from tests.torture.calls import adjust_call, run, spend_call

HOSTILE = (
    *("nan", "-nan", "inf", "-inf", "1e309", "0x10", "1e3", " 5 ", "5 ", "5.0", "5.", "-1", "-5", "--5", "+5", "-0"),
    *(
        "",
        "0",
        "00",
        "007",
        "05",
        "5\n",
        "\n5",
        "5\x00",
        "5,000",
        "\u0665",
        "1/1",
        "9" * 10,
        "9" * 400,
        "2147483648" * 2,
    ),
)
NOBODY = b"\xff\xfe"


@pytest.mark.parametrize("field", ["coins", "diamonds", "count", "id_ms"])
async def test_a_gift_of_a_hostile_amount(bank: Bank, field: str) -> None:
    """Refuse everything that is not a plain whole number within its bounds."""
    for value in (*HOSTILE, NOBODY):
        if (field, value) == ("diamonds", "0"):
            continue  # a gift may earn nothing
        answer, changed = run(bank, spend_call(bank.gift(viewer="viewer1", combo=None), **{field: value}))
        assert not changed, (field, value, answer)
        assert answer == [["bad_amount"]] or (field, answer) == ("id_ms", [["expired_id"]]), (field, value, answer)


async def test_a_top_up_of_a_hostile_amount(bank: Bank) -> None:
    """The same for coins that are bought or taken."""
    for value in (*HOSTILE, NOBODY):
        if value in ("0", "-1", "-5"):
            continue  # freezes move 0 coins, chargebacks a negative number
        answer, changed = run(bank, adjust_call("viewer1", delta=value))
        assert (answer, changed) == (["bad_amount"], False), value
    answer, changed = run(bank, adjust_call("viewer1", delta="-999999999"))
    assert (answer[0], changed) == ("insufficient", False)


async def test_a_call_with_the_right_amounts(bank: Bank) -> None:
    """The control: the same calls without changes move money."""
    answer, changed = run(bank, spend_call(bank.gift(viewer="viewer1", combo=None)))
    assert (answer[0][0], changed) == ("ok", True)
    answer, changed = run(bank, adjust_call("viewer1"))
    assert (answer[0], changed) == ("ok", True)
    largest = (("coins", 9, "insufficient"), ("diamonds", 9, "ok"), ("count", 5, "ok"), ("id_ms", 15, "expired_id"))
    for field, digits, outcome in largest:
        answer, _ = run(bank, spend_call(bank.gift(viewer="viewer1", combo=None), **{field: "9" * digits}))
        assert answer[0][0] == outcome, field


async def test_hostile_gifts_among_good_ones(bank: Bank) -> None:
    """Each gift of a call has its own answer: the good ones are paid as if they were alone."""
    good = [bank.gift(viewer="viewer1", combo=None) for _ in range(3)]
    calls = [spend_call(good[0]), spend_call(bank.gift(viewer="viewer1"), coins="nan"), spend_call(good[1])]
    calls += [spend_call(bank.gift(viewer="viewer1"), diamonds="1e3"), spend_call(good[2])]
    bounds = calls[0][2][: len(SPEND.args)]
    names = [name for _, names, _ in calls for name in names]
    args = [arg for _, _, args in calls for arg in args[len(SPEND.args) :]]
    answer, _ = run(bank, (SPEND, names, [*bounds, *args]))
    assert [each[0] for each in answer] == ["ok", "bad_amount", "ok", "bad_amount", "ok"]
    with bank.look() as look:
        assert int(look.hget(keys.wallet("viewer1"), "c")) == 100_000 - sum(gift.coins for gift in good)
