"""A gift counts in the broadcast in which it was sent, or in none, however late it is shown and by whom."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from server import limits
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import pay
from tests.money import assert_conserved
from tests.site import Site, Viewer

pytestmark = pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # these tests run no SQL of their own


async def another_broadcast(site: Site) -> None:
    """End the current broadcast and start the next."""
    for verb in ("end", "start"):
        (await site.http.post(f"/v1/rooms/demo/{verb}")).raise_for_status()


async def unseen(viewer: Viewer, monkeypatch: pytest.MonkeyPatch, gift: str = "coffee", **fields: Any) -> str:
    """Send a gift that is paid, but that the viewer's node does not show. Returns its id."""
    with monkeypatch.context() as full:
        full.setattr(limits, "SHOW_QUEUE_MAX", 0)
        reply = await viewer.gift(gift, **fields)
    assert (reply["type"], reply["duplicate"]) == ("ok", False)
    return str(reply["id"])


async def retold(site: Site, ahead_s: float = 5) -> int:
    """Start a journal. Returns how many gifts it shows."""
    async with site.draining(ahead_s=ahead_s) as drain:
        await drain.retell_once()
        return drain.retold


def counted(stores: Stores) -> tuple[str | None, dict[str, float], int]:
    """The room's coins, its board, and the number of running streaks."""
    with stores.room.client() as look:
        board = dict(look.zrange(keys.room("demo", "board"), 0, -1, withscores=True))
        return look.hget(keys.room("demo", keys.META), "coins"), board, look.hlen(keys.room("demo", "state"))


async def test_a_gift_of_the_broadcast_before_is_not_counted(site: Site, stores: Stores) -> None:
    """Its node died, and the journal finds it in the next broadcast: coins, board and streaks stay."""
    late = await pay(site, "alice", 30, count=3, combo="c")
    await another_broadcast(site)
    bob = await site.join("bob")
    with capture_logs() as logged:
        assert await retold(site) == 0
    assert [(each["gift_id"], each["room"]) for each in logged if each["event"] == "gift_of_another_broadcast"] == [
        (late, "demo")
    ]
    assert counted(stores) == ("0", {}, 0)
    assert await retold(site) == 0  # another journal does not look at it again
    reply = await bob.gift("rose")
    await bob.happened("gifts.sent", id=reply["id"])
    assert len(bob.events("gifts.sent")) == 1
    assert counted(stores) == ("1", {"bob": 1}, 0)
    assert site.node.history.other_broadcast == 1
    assert "liveroom_gifts_of_another_broadcast_total 1.0" in (await site.http.get("/metrics")).text
    with stores.wallet.client() as look:
        assert_conserved(look)


async def test_a_sender_who_asks_again_in_the_next_broadcast(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry gets the usual reply; the gift does not count in the new broadcast."""
    id = await unseen(await site.join("alice"), monkeypatch)
    await another_broadcast(site)
    alice = await site.join("alice")
    again = await alice.gift("coffee", id=id)
    assert (again["type"], again["duplicate"], again["coins"]) == ("ok", True, 9_990)
    last = await alice.gift("rose")
    await alice.happened("gifts.sent", id=last["id"])  # gifts that waited would have been shown first
    assert await retold(site) == 0
    assert [event["id"] for event in alice.events("gifts.sent")] == [last["id"]]
    assert counted(stores) == ("1", {"alice": 1}, 0)


@pytest.mark.parametrize("ended", [False, True])
async def test_a_gift_told_late_in_its_own_broadcast(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """It counts once, with or without a retry, even after the end, until the next broadcast begins."""
    alice, overlay = await site.join("alice"), await site.join("obs", "overlay")
    ids = [await unseen(alice, monkeypatch), await unseen(alice, monkeypatch)]
    assert (await alice.gift("coffee", id=ids[0]))["duplicate"]
    if ended:
        await site.http.post("/v1/rooms/demo/end")
        await alice.closed()
    for _ in range(2):
        await retold(site)
    for id in ids:
        assert (await overlay.happened("gifts.sent", id=id))["coins"] == 10
    assert counted(stores) == ("20", {"alice": 20}, 0)
