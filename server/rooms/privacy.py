"""What rooms keep of a person in the room store: to hand it out, and to erase names and texts of it."""

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
from msgspec import Struct

from server.journal.privacy import scrubbed
from server.rooms.admin import ENDED, Host, PatchRoom, RoomsAdmin
from server.rooms.history import History, NoSuchRoom
from server.rooms.newest import OWN
from server.store import keys, scripts

REWRITE = scripts.load("privacy_rewrite")
SCRIPTS = (REWRITE,)
HASHES = ("state", "held", ENDED)  # what features keep of a room, with people and texts in it


class InRoom(Struct, frozen=True):
    """What a room keeps of a person: their messages and gifts, as everybody got them."""

    room_id: str
    host: bool
    events: list[msgspec.Raw]


async def of_rooms(history: History, user_id: str) -> AsyncIterator[InRoom]:
    """What each room keeps of a person. Raises StoreError."""
    for room_id in sorted(await history.room_ids()):
        try:
            meta = await history.meta(room_id)
        except NoSuchRoom:  # deleted meanwhile
            continue
        events = [msgspec.Raw(body) for _, body in await _events(history, room_id, user_id) if _says(body, user_id)]
        host = meta["host_id"] == user_id
        if host or events:
            yield InRoom(room_id, host, events)


async def erase(history: History, admin: RoomsAdmin, user_id: str) -> int:
    """Erase a person's names and texts in all rooms. Returns in how many. Raises Busy, StoreError."""
    rooms = 0
    for room_id in sorted(await history.room_ids()):
        try:
            meta = await history.meta(room_id)
            if meta["host_id"] == user_id and meta["host_name"] != user_id:
                await admin.patch(room_id, PatchRoom(host=Host(user_id, user_id)))
            changes = [*await _of_hashes(history, room_id, user_id), *await _of_history(history, room_id, user_id)]
            own = keys.room(room_id, OWN, user_id)
            await history.change(room_id, REWRITE, own=own, user_id=user_id, each=changes)
        except NoSuchRoom:
            continue
        rooms += bool(changes)
    return rooms


async def _of_history(history: History, room_id: str, user_id: str) -> list[dict[str, Any]]:
    found = []
    for seq, shown in await _events(history, room_id, user_id):
        body = b"{" + shown.split(b",", 2)[2]  # without seq and time, which stand in front
        after = _line(body, user_id)
        if after != body:
            key = keys.room(room_id, keys.EVENTS)
            found.append({"key": key, "field": f"{seq}-1", "before": body, "after": after})
    return found


async def _of_hashes(history: History, room_id: str, user_id: str) -> list[dict[str, Any]]:
    found = []
    for name in HASHES:
        key = keys.room(room_id, name)
        kept = cast(dict[bytes, bytes], await history.store.call("HGETALL", key))
        for field, before in kept.items():
            after = b"\n".join(_line(line, user_id) for line in before.split(b"\n"))
            if after != before:
                found.append({"key": key, "field": field, "before": before, "after": after})
    return found


def _line(line: bytes, user_id: str) -> bytes:
    """JSON, or something with a part of JSON in it."""
    if _named(user_id) not in line:
        return line
    try:
        said = msgspec.json.decode(line)
        less = scrubbed(said, user_id)
        return line if less == said else msgspec.json.encode(less)
    except msgspec.DecodeError:
        shown = re.compile(re.escape(_named(user_id)) + rb',"name":"(?:[^"\\]|\\.)*"')
        return shown.sub(lambda _: _named(user_id) + b',"name":"%b"' % user_id.encode(), line)


async def _events(history: History, room_id: str, user_id: str) -> list[tuple[int, bytes]]:
    """The kept events that name somebody: the seq, and the event as everybody got it."""
    _, seq = await history.position(room_id)
    kept = await history.kept(room_id, 0, seq)
    return [(each.seq, each.json) for each in kept if _named(user_id) in each.json]


def _says(body: bytes, user_id: str) -> bool:
    event = msgspec.json.decode(body)
    return any(isinstance(who := event.get(name), dict) and who.get("user_id") == user_id for name in ("user", "from"))


def _named(user_id: str) -> bytes:
    return b'"user_id":"%b"' % user_id.encode()
