"""Daily spend limits: the viewer's own and the site's."""

import pytest

from server.store import keys
from tests.conftest import Stores
from tests.site import Site, new_gift_id


async def test_own_limit_holds_at_once(site: Site) -> None:
    """A gift over today's limit is refused with the time of its end; one within it is paid."""
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
    """A lower limit holds at once, a higher one or none from tomorrow on."""
    await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 20})
    raised = (await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 100})).json()
    assert (raised["coins_per_day"], raised["next"]) == (20, 100)
    lifted = (await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": None})).json()
    assert lifted["coins_per_day"] == 20
    assert lifted["next_from_ms"] % 86_400_000 == 0
    lowered = (await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": 10})).json()
    assert (lowered["coins_per_day"], lowered["next"], lowered["next_from_ms"]) == (10, None, None)
    with stores.wallet.client() as client:  # as if it had been raised yesterday
        client.hset(keys.wallet("alice"), mapping={"next_limit": "100", "next_day": "1"})
    alice = await site.join("alice")
    assert (await alice.gift("coffee", 9))["type"] == "ok"


@pytest.mark.parametrize("coins", [0, -1, 1.5, "10", 10**12])
async def test_a_limit_is_a_whole_number(site: Site, coins: object) -> None:
    """Anything else is a bad request."""
    answer = await site.http.put("/v1/wallets/alice/limit", json={"coins_per_day": coins})
    assert answer.status_code == 400
