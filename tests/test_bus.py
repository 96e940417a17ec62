"""The bus only tells: that its other end is gone must be found out by asking."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from server import limits
from tests.conftest import Stores
from tests.lossy import LossyWire
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
NOTICED_S = limits.BUS_SILENT_S + limits.STORE_PING_S + limits.STORE_CONNECT_S + limits.STORE_RETRY_S_MAX


@pytest.fixture
async def far_rooms(stores: Stores, tmp_path: Path) -> AsyncIterator[LossyWire]:
    """A wire to the run's room store."""
    made = LossyWire(tmp_path / "rooms.sock", stores.room.socket)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def far_site(far_rooms: LossyWire, another_site: MakeSite) -> Site:
    """A node whose room store and bus are at the other end of it."""
    return await another_site(LIVEROOM_ROOM_URL=f"unix://{far_rooms.path}")


async def test_a_bus_that_fell_silent_is_replaced(far_site: Site, far_rooms: LossyWire, site: Site) -> None:
    """Its host went without a reset: within seconds rooms hear again, and others can be opened."""
    alice = await far_site.join("alice")
    bob = await site.join("bob")
    assert far_rooms.silence("SUBSCRIBE") == 1
    async with asyncio.timeout(NOTICED_S + 5):
        said = await bob.ask("chat.send", text="do you hear me?")
        await alice.happened("chat.sent", id=said["id"])
    await site.put_room("elsewhere")
    assert (await far_site.join("carol", room="elsewhere")).welcome["type"] == "welcome"


async def test_a_node_without_its_bus_is_not_ready(far_site: Site, far_rooms: LossyWire) -> None:
    """When nobody answers any more it says so, also while nobody asks the room store anything."""
    far_rooms.hold()
    try:
        async with asyncio.timeout(NOTICED_S + limits.STORE_CALL_S_MAX):
            while (await far_site.http.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.05)  # readiness sends no event
        assert (await far_site.http.get("/readyz")).json()["bus"] is False
    finally:
        far_rooms.release()
    async with asyncio.timeout(NOTICED_S + limits.STORE_CALL_S_MAX):
        while (await far_site.http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)
