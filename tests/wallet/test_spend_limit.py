"""Daily spend limits: the viewer's own limit and the site's."""

import pytest

from protocol.ids import UserId
from protocol.refusals import Refused
from server.entries import LimitEntry
from server.money.results import SpendLimit
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import drained
from tests.lossy import LossyWire
from tests.money import Purse, a_gift
from tests.site import Site, new_gift_id


async def test_own_limit_holds_at_once(site: Site) -> None:
    """A gift over today's limit is refused, and told when the limit ends; a gift within it is paid."""
    alice = await site.join("alice")
    answer = await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 25})
    assert answer.json()["coins_per_day"] == 25
    assert (await alice.gift("coffee", 2))["type"] == "ok"
    refused = await alice.gift("coffee", 1)
    assert refused["reason"] == "spend_limit"
    assert refused["resets_at_ms"] % 86_400_000 == 0
    assert (await alice.gift("heart", 1))["type"] == "ok"
    assert await site.coins("alice") == 9_975


async def test_gifts_of_one_batch_share_the_limit(site: Site) -> None:
    """Gifts that are paid in one call count against the same limit."""
    alice = await site.join("alice")
    await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 30})
    gifts = [
        {"type": "gifts.send", "ref": f"g{n}", "id": new_gift_id(), "gift": "coffee", "count": 1} for n in range(5)
    ]
    await alice.tell(gifts)
    replies = await alice.until(
        lambda told: (
            len([m for m in told if str(m.get("ref", "")).startswith("g") and m["type"] in ("ok", "refused")]) == 5
            and [m for m in told if str(m.get("ref", "")).startswith("g") and m["type"] in ("ok", "refused")]
        )
    )
    assert sorted(reply["type"] for reply in replies) == ["ok"] * 3 + ["refused"] * 2
    assert await site.coins("alice") == 9_970


async def test_raising_waits_for_tomorrow(site: Site, stores: Stores) -> None:
    """A lower limit applies at once; a higher one, or none, applies from tomorrow."""
    await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 20})
    raised = (await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 100})).json()
    assert (raised["coins_per_day"], raised["next"]) == (20, 100)
    lifted = (await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": None})).json()
    assert lifted["coins_per_day"] == 20
    assert lifted["next_from_ms"] % 86_400_000 == 0
    lowered = (await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 10})).json()
    assert (lowered["coins_per_day"], lowered["next"], lowered["next_from_ms"]) == (10, None, None)
    with stores.wallet.client() as client:  # as if the limit had been raised yesterday
        client.hset(keys.wallet("alice"), mapping={"next_limit": "100", "next_day": "1"})
    alice = await site.join("alice")
    assert (await alice.gift("coffee", 9))["type"] == "ok"


async def test_earlier_gifts_of_the_day_count(site: Site) -> None:
    """A limit covers the whole day, so gifts sent before it was set count, too."""
    alice = await site.join("alice")
    assert (await alice.gift("coffee", 3))["type"] == "ok"
    await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 35})
    assert (await alice.gift("coffee", 1))["reason"] == "spend_limit"
    assert (await alice.gift("heart", 1))["type"] == "ok"


async def test_a_limit_is_in_the_ledger(site: Site) -> None:
    """Each order is an entry that moves no coins and has the balance; a frozen partition takes no order."""
    for coins in (20, 20, None):
        await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": coins})
    partition = keys.partition_of("alice")
    async with site.draining() as drain:
        await drained(drain)
    found = await site.node.purchases.entries_of(UserId("alice"), None)
    told = [(entry.kind, entry.coins, entry.balance) for entry in found]
    assert told == [("limit", 0, 10_000)] * 3 + [("topup", 10_000, 10_000)]
    async with site.draining() as drain:
        await drain.freeze({partition: "a test"})
    refused = await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 5})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (503, "wallet_unavailable")


async def set_limit(purse: Purse, id: str, coins: int, ordered_ms: int | None = None) -> SpendLimit:
    """Set Alice's own limit. Returns the limit that applies then."""
    ordered_ms = purse.clock.now_ms() if ordered_ms is None else ordered_ms
    entry = LimitEntry(id=id, viewer="alice", coins_per_day=coins, ordered_ms=ordered_ms, fp=f"limit-{coins}")
    done = await purse.wallet.order(entry)
    assert done.limit is not None
    return done.limit


async def test_a_lost_answer(far_purse: Purse, wire: LossyWire) -> None:
    """The order is repeated, and the newest limit applies."""
    await far_purse.buy("alice", 100)
    for coins in (30, 20):
        wire.lose_reply('"kind":"limit"')
        with pytest.raises(Refused, match="wallet_unavailable"):
            await set_limit(far_purse, f"lost-{coins}", coins)
        await far_purse.settled()
        assert (await set_limit(far_purse, f"again-{coins}", coins)).coins_per_day == coins
    assert await far_purse.outcomes(a_gift("alice", 15), a_gift("alice", 6)) == ["ok 85", "spend_limit"]


@pytest.mark.parametrize("coins", [0, -1, 1.5, "10", 10**12])
async def test_a_limit_is_a_whole_number(site: Site, coins: object) -> None:
    """Anything else is a bad request."""
    answer = await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": coins})
    assert answer.status_code == 400
