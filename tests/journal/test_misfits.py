"""An entry that does not fit is set aside: it stops its own partition, and no other."""

from collections.abc import Callable
from typing import Any

import pytest

from server import limits
from server.journal.tables import entries, quarantine
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import drained, forged, gift_of, pay, rows
from tests.site import Site, new_gift_id

MISFITS: dict[str, Callable[[str], dict[str, Any]]] = {
    "a balance that does not follow": lambda _: gift_of(new_gift_id(), b="81"),
    "a credit that does not follow": lambda _: gift_of(new_gift_id(), d="11"),
    "a gift that is journaled already": gift_of,
    "no JSON": lambda _: gift_of(new_gift_id(), e="{"),
    "an unknown kind": lambda _: gift_of(new_gift_id(), e='{"kind":"wish","viewer":"mallory"}'),
    "no kind": lambda _: gift_of(new_gift_id(), e="{}"),
    "not UTF-8": lambda _: gift_of(new_gift_id(), e=b'{"kind":"\xff"}'),
    "no body": lambda _: {"t": "1", "b": "80"},
    "no time": lambda _: {"e": '{"kind":"open"}'},
    "a balance that is no number": lambda _: gift_of(new_gift_id(), b="many"),
    "a number that was left out": lambda _: gift_of(new_gift_id()),
}


ON_POSTGRESQL = ("a balance that does not follow", "a gift that is journaled already", "not UTF-8")


@pytest.mark.parametrize(
    ("journal", "misfit"),
    [("sqlite", name) for name in MISFITS] + [("postgresql", name) for name in ON_POSTGRESQL],
    indirect=["journal"],
)
@pytest.mark.parametrize("batch", [2, limits.DRAIN_BATCH])
async def test_a_misfit_stops_only_its_partition(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch, misfit: str, batch: int
) -> None:
    """It is set aside and its partition frozen, in the store too; the others and the drain go on."""
    for person in ("alice", "mallory"):
        await site.give_coins(person, 100)
    paid = await pay(site, "mallory", 10)
    forged(stores, "mallory", MISFITS[misfit](paid), 9 if misfit == "a number that was left out" else None)
    for person in ("mallory", "mallory", "mallory", "alice"):  # the entries after it are not read
        await pay(site, person, 10)
    monkeypatch.setattr(limits, "DRAIN_BATCH", batch)
    async with site.draining() as drain:
        for _ in range(3):
            await drained(drain)
    partition = keys.partition_of("mallory")
    kept = rows(site.node.engine, entries, entries.c.partition == partition)
    assert [row.kind for row in kept] == ["open", "topup", "gift"]
    (aside,) = rows(site.node.engine, quarantine)
    assert aside.partition == partition
    assert aside.reason
    alices = rows(site.node.engine, entries, entries.c.partition == keys.partition_of("alice"))
    assert [row.kind for row in alices][-1] == "gift"
    viewers = [await site.join(person) for person in ("mallory", "alice")]
    assert [(await viewer.gift()).get("reason") for viewer in viewers] == ["wallet_unavailable", None]
    assert set(drain.stuck) == {partition}
