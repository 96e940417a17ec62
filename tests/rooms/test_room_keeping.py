"""Housekeeping goes on when rooms come and go while another is being closed, and when features fail."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from protocol.closes import Close
from server import limits
from server.rooms import registry
from server.rooms.room import Room
from server.store import keys
from server.store.client import StoreDown
from tests.conftest import Stores
from tests.program import eventually
from tests.site import Site

QUICK_S = 0.01


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Housekeeping runs often, and an empty room is closed soon."""
    monkeypatch.setattr(limits, "HOUSEKEEPING_S", QUICK_S)
    monkeypatch.setattr(limits, "ROOM_IDLE_S", 0.1)
    monkeypatch.setattr(limits, "VIEWERS_EVERY_MS", 0)  # a count is never left for later


class Slow:
    """A feature that takes its time over the last work for the room `slow`."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def last_word(self, room: Room) -> None:
        if room.id == "slow":
            self.begun.set()
            await self.may_end.wait()


@pytest.fixture
async def slow(quick: None, site: Site) -> AsyncIterator[Slow]:
    """The room `slow`, which is about to be closed: everybody has left it."""
    made = Slow()
    registry.CLOSING.append(made.last_word)
    await site.put_room("slow")
    await (await site.join("bob", room="slow")).leave()
    yield made
    made.may_end.set()


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Undo what a test registers."""
    before = list(registry.CLOSING), list(registry.PERIODICS)
    yield
    registry.CLOSING[:], registry.PERIODICS[:] = before


async def still_kept(site: Site) -> None:
    """An empty room is still closed: the keeper lives."""
    await site.put_room("another")
    await (await site.join("carol", room="another")).leave()
    await eventually(lambda: "another" not in {room.id for room in site.node.rooms.here()}, 5, "letting go")


async def test_a_room_that_is_replaced_while_another_is_closed(site: Site, slow: Slow) -> None:
    """The new one stays, and gets what is said."""
    alice = await site.join("alice")
    await slow.begun.wait()
    [old] = [room for room in site.node.rooms.here() if room.id == "demo"]
    old.restart()
    assert await alice.closed() == Close.ROOM_RESTARTS
    back = await site.join("alice")
    slow.may_end.set()
    await still_kept(site)
    await back.ask("chat.send", text="can you hear me?")
    await back.happened("chat.sent", text="can you hear me?")
    [new] = [room for room in site.node.rooms.here() if room.id == "demo"]
    assert new is not old


async def test_a_room_that_is_gone_while_another_is_closed(site: Site, slow: Slow, stores: Stores) -> None:
    """Something else has closed it already: the keeper goes on."""
    alice = await site.join("alice")
    await slow.begun.wait()
    [old] = [room for room in site.node.rooms.here() if room.id == "demo"]
    with stores.room.client() as store:
        store.delete(keys.room("demo", keys.META))
    old.restart()
    await alice.closed()
    assert (await site.http.get("/v1/rooms/demo")).status_code == 404
    with pytest.raises(Exception, match="404"):
        await site.join("alice")
    slow.may_end.set()
    await still_kept(site)


async def test_a_room_is_opened_again_after_its_last_work(site: Site, slow: Slow) -> None:
    """A newcomer waits until it is closed: the old room's last work must not undo what the new one does."""
    await slow.begun.wait()
    coming = asyncio.create_task(site.join("bob", room="slow"))
    carol = await site.join("carol")  # other rooms do not wait
    for n in range(20):
        await carol.ask("chat.send", text=f"word {n}")
    assert not coming.done()
    slow.may_end.set()
    bob = await coming
    await bob.happened("viewers.counted", now=1)


async def test_a_features_last_work_waits_for_its_call(site: Site, quick: None) -> None:
    """One room's calls never overlap, not even the last."""
    begun, may_end, said = asyncio.Event(), asyncio.Event(), list[str]()

    async def long(room: Room) -> None:
        begun.set()
        await may_end.wait()
        said.append("word")

    async def last(room: Room) -> None:
        said.append("last word")

    registry.PERIODICS.append((QUICK_S, long))
    registry.CLOSING.insert(0, last)
    alice = await site.join("alice")
    await begun.wait()
    [room] = site.node.rooms.here()
    room.restart()
    await alice.closed()
    await eventually(lambda: not site.node.rooms.here(), 5, "letting go")
    may_end.set()
    await eventually(lambda: "last word" in said, 5, "the last word")
    assert said == ["word", "last word"]


async def test_a_bus_that_goes_away_while_a_room_is_closed(
    site: Site, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to unsubscribe from, because the subscription has gone with the connection."""
    fanout = site.node.fanout
    forget, forgotten = fanout.forget, []
    link = fanout._bus.link
    assert link is not None

    def cut_then_forget(room_id: str) -> None:
        link.abort()
        forgotten.append(room_id)
        forget(room_id)

    monkeypatch.setattr(fanout, "forget", cut_then_forget)
    await (await site.join("alice")).leave()
    await eventually(lambda: forgotten, 5, "letting go")
    await eventually(lambda: fanout.up and fanout._bus.link is not link, 5, "the bus")
    await still_kept(site)


async def test_whatever_closing_raises(site: Site, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One room that cannot be closed does not keep the others open."""
    fanout = site.node.fanout
    forget: Callable[[str], None] = fanout.forget

    def forget_others(room_id: str) -> None:
        if room_id == "demo":
            raise StoreDown("away")
        forget(room_id)

    monkeypatch.setattr(fanout, "forget", forget_others)
    await (await site.join("alice")).leave()
    await still_kept(site)


async def test_a_feature_that_fails_once(site: Site, quick: None) -> None:
    """It is called again when it is due, and so are the others."""
    calls: list[str] = []

    async def failing(room: Room) -> None:
        calls.append("failing")
        raise RuntimeError("once more")

    async def other(room: Room) -> None:
        calls.append("other")

    registry.PERIODICS[:0] = [(QUICK_S, failing), (QUICK_S, other)]
    await site.join("alice")
    await eventually(lambda: calls.count("failing") > 1 and calls.count("other") > 1, 5, "the next call")
