"""The client without asyncio on a real server: the same, in calls that wait."""

import asyncio
import queue
import threading

import pytest

from protocol.chat import ChatSent
from protocol.client import Lost
from protocol.gifts import GiftSent
from protocol.likes import SendLikes
from protocol.sync import Refused, Room, join
from tests.site import WAIT_S, Site
from tests.unsteady import UnsteadyWire


def entering(port: int, token: str) -> Room:
    return join(f"http://127.0.0.1:{port}", "demo", token=lambda: token, proxy=None)


async def test_a_script_talks_and_gives(site: Site) -> None:
    """It joins, asks, and hears everything in order; nothing of it runs on when it has left."""

    def script() -> tuple[int, list[str], int]:
        with entering(site.port, site.token("alice")) as room:
            room.ready()
            room.chat("hello")
            ok = room.gift("heart", 2)
            room.send(SendLikes(count=3))
            room.likes()
            assert room.ping().server_time_ms > 0
            heard = []
            for told in room:
                if isinstance(told, ChatSent):
                    heard.append(told.text)
                if isinstance(told, GiftSent) and told.id == ok.id:
                    break
            with pytest.raises(Refused, match="unknown_gift"):
                room.gift("no-such-gift")
            assert room.live
            assert room.since is not None
            return ok.coins, heard, room.client.gift_coins

    assert await asyncio.to_thread(script) == (9_990, ["hello"], 10)
    assert not [thread for thread in threading.enumerate() if thread.name == "liveroom demo"]


async def test_a_lost_connection_and_the_end_of_the_room(site: Site) -> None:
    """It comes back by itself; when the broadcast has ended, so do the events."""
    wire = UnsteadyWire(lambda: site.port)
    await wire.start()
    heard: queue.Queue[str] = queue.Queue()

    def script() -> int:
        code = 0
        with entering(wire.port, site.token("alice")) as room:
            for told in room:
                code = told.code if isinstance(told, Lost) else code
                heard.put(type(told).__name__)
        return code

    async def hears(name: str) -> None:
        while await asyncio.to_thread(heard.get, timeout=WAIT_S) != name:
            pass

    running = asyncio.create_task(asyncio.to_thread(script))
    await hears("Welcome")
    wire.cut()
    await hears("Lost")
    await hears("Welcome")
    (await site.http.post("/v1/rooms/demo/end")).raise_for_status()
    assert await running == 4501
    await wire.stop()


async def test_who_leaves_while_another_thread_waits(site: Site) -> None:
    """The loop over the events ends; who asks for more is refused."""
    room, heard = entering(site.port, site.token("alice")), threading.Event()

    def script() -> int:
        told = 0
        for _ in room:
            told += 1
            heard.set()
        return told

    with room:
        await asyncio.to_thread(room.ready)
        running = asyncio.create_task(asyncio.to_thread(script))
        assert await asyncio.to_thread(heard.wait, WAIT_S)
        await asyncio.to_thread(room.close)
    assert await running > 0
    room.close()


async def test_who_asks_in_the_moment_of_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has stopped and is not closed yet: nobody may wait for it."""
    room, ended = entering(site.port, site.token("alice")), list[object]()

    def asks_late() -> None:
        threading.Thread.join(room._thread)
        late = threading.Thread(target=lambda: ended.append(next(room, "the end")), daemon=True)
        late.start()
        late.join(5)

    with room:
        await asyncio.to_thread(room.ready)
        monkeypatch.setattr(room._thread, "join", asks_late)
        await asyncio.to_thread(room.close)
    assert ended == ["the end"]
    with pytest.raises(Refused, match="closed"):
        room.likes()


async def test_who_is_not_let_in_learns_why(site: Site) -> None:
    def script() -> None:
        with entering(site.port, "bad") as room:
            room.ready()

    with pytest.raises(Refused, match="bad_token"):
        await asyncio.to_thread(script)
