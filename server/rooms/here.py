"""The rooms that are open on this node: opens them at the store's state, keeps them, and drops idle ones."""

import asyncio

from server import background, limits
from server.rooms.people import read_people
from server.rooms.room import Room, Services


class Rooms:
    """The rooms that are open on this node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: dict[str, Room] = {}
        self._opening: dict[str, asyncio.Task[Room]] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._tasks = background.Tasks("rooms-turn")
        self._task: asyncio.Task[None] | None = None

    def here(self) -> list[Room]:
        return list(self._open.values())

    def opened(self, room_id: str) -> Room | None:
        """The room, if it is open and in use."""
        room = self._open.get(room_id)
        return None if room is None or room.gone else room

    async def open(self, room_id: str) -> Room:
        """Return the room, subscribed and at the store's state. Raises NoSuchRoom, StoreError."""
        room = self.opened(room_id)
        if room is not None:
            return room
        opening = self._opening.get(room_id)
        if opening is None:
            opening = self._opening[room_id] = self._tasks.share(self._begin(room_id))
            opening.add_done_callback(lambda _: self._opening.pop(room_id, None))
        return await asyncio.shield(opening)

    async def _begin(self, room_id: str) -> Room:
        history, fanout = self._services.history, self._services.fanout
        old = self._open.get(room_id)
        if old is not None:
            self._drop(old)
        closing = self._closing.get(room_id)
        if closing is not None:  # the old room's last work would undo the new room's first
            await asyncio.wait({closing})
        await history.position(room_id)  # an unknown room leaves no subscription behind
        await history.enlist(room_id)  # if a crash or an older program has left it out
        try:
            await fanout.listen(room_id)
            raw = await history.snapshot(room_id)
            recent = await history.read(room_id, max(0, raw.seq - limits.REPLAY_EVENTS_MAX), raw.seq)
            people = await read_people(history, self._services.engine, room_id, raw.epoch)
            await self._services.catalogues.load(room_id, raw.meta["host_id"])
            await self._services.users.load(raw.meta["host_id"])
            room = Room(room_id, self._services)
            room.begin(raw, recent or [], people)
            fanout.attach(room)
        except BaseException:
            fanout.forget(room_id)
            raise
        self._open[room_id] = room
        return room

    def _drop(self, room: Room) -> None:
        """Take this room off the node, and close it in a task. Nothing here may await."""
        if self._open.get(room.id) is not room:
            return
        room.gone = True
        del self._open[room.id]
        closing = self._closing[room.id] = self._tasks.spawn(room.close())
        closing.add_done_callback(lambda _: self._closing.pop(room.id, None))
        self._services.fanout.forget(room.id)

    async def start(self) -> None:
        self._task = background.forever("rooms", self._keep)

    async def stop(self) -> None:
        await background.end(self._task)
        for opening in tuple(self._opening.values()):
            await background.end(opening)
        for room in self.here():
            self._drop(room)
        await self._tasks.wait()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.HOUSEKEEPING_S)
            self._look_at_all(loop.time())

    def _look_at_all(self, now: float) -> None:  # a function of its own, which holds no room while it waits
        for room in self.here():
            try:
                self._drop_or_keep(room, now)
            except Exception as error:  # one faulty room must not stop the work of the others
                background.failed("rooms", error, room=room.id)

    def _drop_or_keep(self, room: Room, now: float) -> None:
        """Drop the room if it is idle, else keep it. Nothing here may await: the list of rooms must stay valid."""
        if room.gone and room.members:
            return
        if room.gone or (not room.members and now - room.idle_since > limits.ROOM_IDLE_S):
            self._drop(room)
        else:
            room.keep(now)
