"""The named values that a node hands to the money scripts, so that a test can change any of them."""

from typing import Any

from protocol.ids import uuid7_ms
from server.money.results import Spend
from server.money.wallet import ADJUST, SPEND
from server.store import keys
from server.store.scripts import Script
from tests.torture.bank import Bank

Call = tuple[Script, list[str], list[Any]]


def spend_call(spend: Spend, **changed: Any) -> Call:
    """What a node of the first epoch hands to the script for a gift, with changes."""
    id_ms = uuid7_ms(spend.gift_id)
    _, names = keys.spend_keys(spend.viewer, spend.creator, spend.gift_id, id_ms, spend.combo)
    given = {
        "epoch": "1",
        "id_ms": id_ms,
        "fingerprint": spend.fingerprint,
        "coins": spend.coins,
        "diamonds": spend.diamonds,
        "count": spend.count,
        "in_combo": 0,
        "entry": spend.entry,
    }
    bounds = {"id_life_ms": 7_200_000, "id_ahead_ms": 600_000, "combo_s": 60, "site_limit": 0}
    assert (SPEND.args, SPEND.each_args) == (tuple(bounds), tuple(given))
    return SPEND, list(names), [*bounds.values(), *(given | changed).values()]


def adjust_call(user: str, **changed: Any) -> Call:
    """What it hands over for a top-up, with changes."""
    partition = keys.partition_of(user)
    names = [keys.wallet(user), keys.receipt(user, "topup:1"), keys.log(partition), keys.wallet_meta(partition)]
    given = {
        "epoch": "1",
        "fingerprint": "fp",
        "delta": "5",
        "status": "",
        "ordered_ms": "0",
        "total": "bought",
        "balance_max": 2**52,
        "entry": "{}",
    }
    assert ADJUST.args == tuple(given)
    return ADJUST, names, list((given | changed).values())


def run(bank: Bank, call: Call) -> tuple[Any, bool]:
    """Returns the store's answer, and whether the call changed anything in the store."""
    script, names, args = call
    with bank.look() as look:
        before = {key: look.dump(key) for key in look.scan_iter(count=10_000)}
        answer = look.eval(script.text, len(names), *names, *args)
        return answer, {key: look.dump(key) for key in look.scan_iter(count=10_000)} != before
