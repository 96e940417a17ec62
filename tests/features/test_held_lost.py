"""Held messages while nodes and the room store are killed: none is lost, and each is decided once."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from server.store import keys
from server.store.embedded import ROOM
from tests.conftest import Stores
from tests.features.test_held import hold
from tests.features.test_members import host_of
from tests.program import Served
from tests.site import Site
from tests.stores import ValkeyProcess, settings

MakeSite = Callable[..., Awaitable[Site]]
STRICT = {"blocked_words": ["bad"], "automod": 1}


@pytest.fixture
async def node(stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Served]:
    """A node in a process of its own, beside those of the test."""
    served = Served(
        tmp_path,
        LIVEROOM_WALLET_URL=f"unix://{stores.wallet.socket}",
        LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
        LIVEROOM_JOURNAL_URL=journal,
    )
    await served.start()
    yield served
    await served.everybody_leaves()
    await served.kill()


@pytest.fixture
def own_room_store() -> Iterator[ValkeyProcess]:
    """A room store that this test may kill."""
    with tempfile.TemporaryDirectory(prefix="liveroom-own-") as folder:
        store = ValkeyProcess(ROOM, settings(Path(folder)))
        store.start()
        yield store
        store.stop()


async def test_the_senders_node_is_killed(site: Site, node: Served) -> None:
    """Staff elsewhere decides, and the sender hears so where they come back."""
    await site.put_room("demo", **STRICT)
    host, alice = await host_of(site), await node.join("alice")
    held_id = await hold(alice)
    await host.happened("chat.held", id=held_id)
    await node.kill()
    back = await site.join("alice")
    assert (await host.ask("chat.approve", id=held_id))["type"] == "ok"
    assert (await back.happened("chat.resolved", id=held_id))["decision"] == "approved"
    assert (await back.happened("chat.sent", id=held_id))["text"] == "so bad"


async def test_the_room_store_is_killed(another_site: MakeSite, own_room_store: ValkeyProcess) -> None:
    """After its restart staff gets what waits again, and what was decided stays decided."""
    site = await another_site(LIVEROOM_ROOM_URL=f"unix://{own_room_store.socket}")
    await site.put_room("demo", **STRICT)
    host, alice = await host_of(site), await site.join("alice")
    decided, waits = await hold(alice), await hold(alice, "bad too")
    assert (await host.ask("chat.deny", id=decided))["type"] == "ok"
    own_room_store.kill()
    own_room_store.start()
    await host.closed()
    host, alice = await host_of(site), await site.join("alice")
    await host.happened("chat.held", id=waits)
    assert [each["id"] for each in host.told if each["type"] == "chat.held"] == [waits]
    assert (await host.insist("chat.approve", id=waits))["type"] == "ok"
    assert (await alice.happened("chat.sent", id=waits))["text"] == "bad too"
    assert (await host.ask("chat.approve", id=decided))["reason"] == "already_decided"


async def test_the_keys_are_lost(site: Site, stores: Stores) -> None:
    """What nobody has any longer cannot be decided, and says so; the room goes on."""
    await site.put_room("demo", **STRICT)
    host, alice = await host_of(site), await site.join("alice")
    held_id = await hold(alice)
    with stores.room.client() as client:
        client.delete(keys.room("demo", "held"), keys.room("demo", "decided"))
    assert (await host.ask("chat.approve", id=held_id))["reason"] == "unknown_event"
    assert (await host.ask("chat.deny", id=await hold(alice)))["type"] == "ok"
