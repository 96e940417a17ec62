"""Amounts and ids as nobody should send them, straight into the scripts that move money: refused, nothing changed."""

from typing import Any

import pytest

from server.money import Spend
from server.store import keys
from server.store.scripts import Script
from server.wallet import ADJUST, SPEND
from tests.torture.bank import Bank

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


def spend_call(spend: Spend, **changed: Any) -> tuple[Script, list[str], list[Any]]:
    """What a node of the first epoch hands to the script for a gift, some of it changed."""
    _, names = keys.spend_keys(spend.viewer, spend.creator, spend.gift_id, spend.combo)
    given = {
        "epoch": "1",
        "id_ms": int(spend.gift_id.replace("-", "")[:12], 16),
        "fingerprint": spend.fingerprint,
        "coins": spend.coins,
        "diamonds": spend.diamonds,
        "count": spend.count,
        "in_combo": 0,
        "entry": spend.entry,
    }
    bounds = {"id_life_ms": 7_200_000, "id_ahead_ms": 600_000, "margin_ms": 600_000, "combo_s": 60, "site_limit": 0}
    assert (SPEND.args, SPEND.each_args) == (tuple(bounds), tuple(given))
    return SPEND, list(names), [*bounds.values(), *(given | changed).values()]


def adjust_call(user: str, **changed: Any) -> tuple[Script, list[str], list[Any]]:
    """What it hands over for a top-up."""
    partition = keys.partition_of(user)
    names = [keys.wallet(user), keys.receipt(user, "topup:1"), keys.log(partition), keys.wallet_meta(partition)]
    given = {
        "epoch": "1",
        "fingerprint": "fp",
        "delta": "5",
        "status": "",
        "total": "bought",
        "balance_max": 2**52,
        "receipt_s": 60,
        "entry": "{}",
    }
    assert ADJUST.args == tuple(given)
    return ADJUST, names, list((given | changed).values())


def run(bank: Bank, call: tuple[Script, list[str], list[Any]]) -> tuple[Any, bool]:
    """What the store answers, and whether anything in it has changed."""
    script, names, args = call
    with bank.look() as look:
        before = {key: look.dump(key) for key in look.scan_iter(count=10_000)}
        answer = look.eval(script.text, len(names), *names, *args)
        return answer, {key: look.dump(key) for key in look.scan_iter(count=10_000)} != before


@pytest.mark.parametrize("field", ["coins", "diamonds", "count", "id_ms"])
async def test_a_gift_of_a_hostile_amount(bank: Bank, field: str) -> None:
    """Whatever is no plain whole number within its bounds is refused as that."""
    for value in (*HOSTILE, NOBODY):
        if (field, value) == ("diamonds", "0"):
            continue  # a gift that earns nothing is a gift
        answer, changed = run(bank, spend_call(bank.gift(viewer="viewer1", combo=None), **{field: value}))
        assert not changed, (field, value, answer)
        assert answer == [["bad_amount"]] or (field, answer) == ("id_ms", [["expired_id"]]), (field, value, answer)


async def test_a_top_up_of_a_hostile_amount(bank: Bank) -> None:
    """The same for what is bought, and for what is taken."""
    for value in (*HOSTILE, NOBODY):
        if value in ("0", "-1", "-5"):
            continue  # what freezes, and what takes back
        answer, changed = run(bank, adjust_call("viewer1", delta=value))
        assert (answer, changed) == (["bad_amount"], False), value
    answer, changed = run(bank, adjust_call("viewer1", delta="-999999999"))
    assert (answer[0], changed) == ("insufficient", False)


async def test_a_call_with_the_right_amounts(bank: Bank) -> None:
    """The control: the same calls with nothing changed in them move money."""
    answer, changed = run(bank, spend_call(bank.gift(viewer="viewer1", combo=None)))
    assert (answer[0][0], changed) == ("ok", True)
    answer, changed = run(bank, adjust_call("viewer1"))
    assert (answer[0], changed) == ("ok", True)


async def test_hostile_gifts_among_good_ones(bank: Bank) -> None:
    """In one call each gift has its own answer: the good ones are paid as if the others were not there."""
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
