"""The Python client on a real node: it holds the room as a newcomer sees it, resumes, and gives once."""

import asyncio
import contextlib
from typing import Any, cast

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from protocol.chat import ChatSent
from protocol.client import Answered, Lost, Missed, RoomClient
from protocol.gifts import GiftComboEnded, GiftSent, SendGift
from protocol.likes import LikesCounted
from protocol.rooms import RoomEnded
from protocol.session import Welcome
from protocol.wire import Codec
from tests.site import WAIT_S, Site
from tests.test_client_python import now_ms


class Person:
    """A client with a socket to a site."""

    def __init__(self, site: Site, user: str, codec: Codec = "json", role: str = "viewer") -> None:
        self.site, self.user, self.role = site, user, role
        self.client = RoomClient(now_ms, codec=codec)
        self.socket: ClientConnection
        self.told: list[Any] = []

    async def join(self) -> "Person":
        """Connect and resume, and send again what has no reply."""
        address = self.site.address(token=self.site.token(self.user, self.role)) + "&" + self.client.resume_query()
        codec = websockets.Subprotocol(f"liveroom.v1.{self.client.codec}")
        self.socket = await websockets.connect(address, subprotocols=[codec], compression=None, proxy=None)
        await self.until(Welcome, fresh=True)
        for frame in self.client.resend():
            await self.socket.send(frame)
        return self

    async def until(self, kind: type[Any], *, fresh: bool = False, **fields: Any) -> Any:
        """The first message of this kind with these fields; with `fresh` only if it comes after this call."""
        start = len(self.told) if fresh else 0
        while True:
            for told in self.told[start:]:
                if isinstance(told, kind) and all(getattr(told, name) == value for name, value in fields.items()):
                    return told
            async with asyncio.timeout(WAIT_S):
                self.told += self.client.receive(await self.socket.recv())

    async def ask(self, frame: str | bytes) -> Answered:
        """Send a command. Returns its reply."""
        command = self.client.unanswered[-1]
        await self.socket.send(frame)
        return cast(Answered, await self.until(Answered, command=command))

    async def ended(self) -> None:
        """Read until the server has closed the socket."""
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(websockets.ConnectionClosed):
                async for frame in self.socket:
                    self.told += self.client.receive(frame)

    async def leave(self) -> None:
        await self.socket.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_folded_room_is_what_a_newcomer_is_told(site: Site, codec: Codec) -> None:
    """After chat, gifts, a streak, likes and new settings, the client's room equals the snapshot of that seq."""
    alice = await Person(site, "alice", codec).join()
    bob = await Person(site, "bob").join()
    assert (await alice.ask(alice.client.chat("hello"))).ok
    for count in (1, 4):
        assert (await alice.ask(alice.client.gift("rose", count, combo="c", message="x"))).ok
    assert (await bob.ask(bob.client.gift("heart", 2))).ok
    assert (await bob.ask(bob.client.likes(7))).ok
    await site.put_room("demo", slow_mode_s=3)
    await alice.until(LikesCounted, total=7)
    await alice.until(GiftComboEnded)
    while alice.client.room is None or len(alice.client.room.top) < 2 or alice.client.room.viewers.now < 2:
        alice.told += alice.client.receive(await alice.socket.recv())

    newcomer = await Person(site, "creator", role="host").join()
    behind = newcomer.told[0].seq - alice.client.seq
    while alice.client.seq < newcomer.told[0].seq:
        alice.told += alice.client.receive(await alice.socket.recv())
    while newcomer.client.seq < alice.client.seq:
        newcomer.told += newcomer.client.receive(await newcomer.socket.recv())
    assert alice.client.room == newcomer.client.room, f"{behind} behind"
    assert alice.client.room is not None
    assert alice.client.room.coins == alice.client.gift_coins == 15
    assert alice.client.you is not None
    assert alice.client.you.coins == await site.coins("alice") == 9_995
    assert alice.client.skipped == alice.client.unknown == 0
    for person in (alice, bob, newcomer):
        await person.leave()


async def test_a_gift_whose_reply_was_lost_is_paid_once(site: Site) -> None:
    """The socket breaks after the gift is sent; the client reconnects and repeats it: it is paid once."""
    alice = await Person(site, "alice").join()
    bob = await Person(site, "bob").join()
    await alice.socket.send(alice.client.gift("heart"))
    gift_id = cast(SendGift, alice.client.unanswered[0]).id
    await bob.until(GiftSent, id=gift_id)  # it was paid, but alice no longer reads
    alice.socket.transport.abort()
    await alice.socket.wait_closed()
    assert alice.client.lost(alice.socket.close_code or 1006).comes_back
    await alice.join()
    answered = await alice.until(Answered)
    assert answered.ok
    assert answered.fields["id"] == gift_id
    assert answered.fields["duplicate"] is True
    assert await site.coins("alice") == 9_995
    await alice.until(GiftSent, id=gift_id)
    assert alice.client.gift_coins == 5
    await alice.leave()
    await bob.leave()


async def test_a_resumed_client_has_seen_every_event_once(site: Site) -> None:
    """Events of its absence are replayed; none is missing and none comes twice."""
    alice = await Person(site, "alice", "msgpack").join()
    bob = await Person(site, "bob").join()
    await bob.ask(bob.client.chat("one"))
    await alice.until(ChatSent, text="one")
    await alice.leave()
    alice.client.lost(1001)
    for text in ("two", "three"):
        await bob.ask(bob.client.chat(text))
    await alice.join()
    await bob.ask(bob.client.chat("four"))
    await alice.until(ChatSent, text="four")
    assert [each.text for each in alice.told if isinstance(each, ChatSent)] == ["one", "two", "three", "four"]
    assert not any(isinstance(each, Missed) for each in alice.told)
    assert alice.client.skipped == alice.client.missed == 0
    await alice.leave()
    await bob.leave()


async def test_the_end_of_a_broadcast_is_no_reason_to_come_back(site: Site) -> None:
    """The host ends the room: the client gets the event, and a close code that says to stay away."""
    alice = await Person(site, "alice").join()
    (await site.http.post("/v1/rooms/demo/end")).raise_for_status()
    await alice.until(RoomEnded)
    await alice.ended()
    lost = alice.client.lost(alice.socket.close_code or 0)
    assert lost == Lost(code=4501, comes_back=False, unanswered=())
    assert alice.client.room is not None
    assert alice.client.room.status == "ended"
