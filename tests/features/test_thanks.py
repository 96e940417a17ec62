"""Thanks: the host thanks for a gift of this broadcast, once, and everybody sees it."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.exc import OperationalError

from server.journal import given
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.site import Site, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_the_host_thanks_once(site: Site, another_site: MakeSite, codec: str) -> None:
    """On every node; only the host may, and only for a gift of this broadcast."""
    there = await another_site()
    host, alice, bob = await host_of(site), await there.join("alice", codec=codec), await site.join("bob", codec=codec)
    gift = (await alice.gift("rose", 5))["id"]
    await bob.happened("gifts.sent", id=gift)
    assert (await alice.ask("gifts.thank", gift_id=gift))["reason"] == "not_allowed"
    assert (await host.ask("gifts.thank", gift_id=new_gift_id()))["reason"] == "no_such_gift"
    assert (await host.ask("gifts.thank", gift_id="rose"))["reason"] == "bad_command"
    for _ in range(2):
        assert (await host.ask("gifts.thank", gift_id=gift))["type"] == "ok"
    for viewer in (alice, bob):
        event = await viewer.happened("gifts.thanked", gift_id=gift)
        assert (event["user"]["name"], event["gift"], event["count"]) == ("Alice", {"id": "rose"}, 5)
    said = await host.ask("chat.send", text="done")
    await bob.happened("chat.sent", id=said["id"])
    assert len(bob.events("gifts.thanked")) == 1
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    again = await host_of(there)
    assert (await again.ask("gifts.thank", gift_id=gift))["reason"] == "no_such_gift"


async def test_a_gift_that_left_the_history(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has it; without SQL the host is asked to try again."""
    host, alice = await host_of(site), await site.join("alice")
    gift = (await alice.gift("rose", 5))["id"]
    await alice.happened("gifts.sent", id=gift)
    await site.settled()
    with stores.room.client() as client:
        client.xtrim(keys.room("demo", keys.EVENTS), maxlen=0)

    def away(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(given, "shown", away)
        assert (await host.ask("gifts.thank", gift_id=gift))["reason"] == "unavailable"
    assert (await host.ask("gifts.thank", gift_id=gift))["type"] == "ok"
    assert (await alice.happened("gifts.thanked", gift_id=gift))["user"]["name"] == "Alice"
