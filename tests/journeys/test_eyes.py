"""Every acknowledged gift reaches every eye, also when the room store is killed meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import websockets

from protocol.client import Missed, RoomClient
from protocol.gifts import GiftSent
from protocol.wire import Codec
from tests.journeys.givers import Giver, givers
from tests.program import Program, eventually
from tests.site import WAIT_S

ROOM = "eyes"


class Eye:
    """A viewer with the Python client, who comes back whenever the socket is lost."""

    def __init__(self, program: Program, user: str, codec: Codec) -> None:
        self._program = program
        self._user = user
        self._client = RoomClient(lambda: 0, codec=codec)
        self.shown: list[str] = []
        self.gaps = 0

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(websockets.InvalidStatus, OSError):
                await self._watch_once()

    async def _watch_once(self) -> None:
        since = self._client.resume_query().removeprefix("since=") or None
        path = self._program.path(await self._program.token(self._user, "overlay"), room=ROOM, since=since)
        async with websockets.connect(
            f"ws://127.0.0.1:{self._program.port}{path}",
            subprotocols=[websockets.Subprotocol(f"liveroom.v1.{self._client.codec}")],
            proxy=None,
        ) as socket:
            with contextlib.suppress(websockets.ConnectionClosed):
                async for frame in socket:
                    told = self._client.receive(frame)
                    self.shown += [event.id for event in told if isinstance(event, GiftSent)]
                    self.gaps += sum(isinstance(event, Missed) for event in told)
        self._client.lost()


@pytest.fixture
async def eyes(program: Program) -> AsyncIterator[list[Eye]]:
    await program.put_room(ROOM)
    made = [Eye(program, f"eye-{codec}", codec) for codec in ("json", "msgpack")]
    watching = [asyncio.create_task(eye.watch()) for eye in made]
    yield made
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def gives_on(giver: Giver, count: int) -> None:
    """Send gifts one by one, on a new socket when one is lost, until all are answered."""
    for _ in range(count):
        if not giver.connected:
            with contextlib.suppress(websockets.InvalidStatus):
                await giver.join()
        await giver.give(1)
    await giver.give_again()


async def test_no_gift_falls_into_the_gap_of_a_new_epoch(program: Program, eyes: list[Eye]) -> None:
    """Gifts that were shown between the killed store's return and a viewer's own come again, each once."""
    people = await givers(program, ROOM, 2)
    await people[0].give(1)
    for eye in eyes:
        await eventually(lambda eye=eye: eye.shown, WAIT_S, "the first gift")
    giving = asyncio.gather(*(gives_on(giver, 150) for giver in people))
    await eventually(lambda: sum(len(giver.acked) for giver in people) > 30)
    old = await program.kill_child("room store")
    await program.child_again("room store", old)
    await giving
    acked = {gift_id for giver in people for gift_id in giver.acked}
    for eye in eyes:
        await eventually(lambda eye=eye: acked <= set(eye.shown), 40, "every gift on every screen")
        assert len(eye.shown) == len(set(eye.shown))
        assert eye.gaps == 1
