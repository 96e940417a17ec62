"""A room's overlays: how they are set, and their links. SQL has it; each node keeps a copy (`rooms.catalogues`)."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from protocol.overlay import OverlayChanged, OverlaySettings
from protocol.refusals import Refusal, Refused
from server import limits
from server.journal import catalogues as journal
from server.journal.catalogues import Key
from server.journal.database import ask
from server.rooms import catalogues
from server.rooms.room import Room, Services
from server.store import scripts

TELL = scripts.load("overlays_tell")
SCRIPTS = (TELL,)
KIND = "overlay"
CHANGED = "overlay"  # the aside after a change; nodes then read it


class Link(Struct, frozen=True):
    """A link that opens the overlay. `secret` is the digest of its key; `host` was the room's host when it was made."""

    id: str
    secret: str
    host: str
    made_ms: int


class Overlays(Struct, frozen=True, kw_only=True):
    """All that is kept of a room's overlays."""

    settings: OverlaySettings = OverlaySettings()
    paused: bool = False
    muted: bool = False
    cleared_ms: int = 0
    links: tuple[Link, ...] = ()


class _Kept(Overlays, frozen=True, kw_only=True):
    settings: dict[str, Any] = {}  # type: ignore[assignment]  # msgspec copies it


_NONE = OverlayChanged(version=0, settings=OverlaySettings(), paused=False, muted=False, cleared_ms=0)
Change = Callable[[Overlays], Overlays]


def overlays_of(body: bytes) -> Overlays:
    """What SQL has. Settings that only a newer program knows are as if they had not been set."""
    if not body:
        return Overlays()
    kept = msgspec.json.decode(body, type=_Kept)
    known = {}
    for field in msgspec.structs.fields(OverlaySettings):
        with contextlib.suppress(msgspec.ValidationError, KeyError):
            known[field.name] = msgspec.convert(kept.settings[field.name], field.type)
    return Overlays(**{**msgspec.structs.asdict(kept), "settings": OverlaySettings(**known)})


def _made(version: int, body: bytes) -> OverlayChanged:
    kept = overlays_of(body)
    return OverlayChanged(
        version=version, settings=kept.settings, paused=kept.paused, muted=kept.muted, cleared_ms=kept.cleared_ms
    )


catalogues.of_kind(KIND, _made, _NONE, rooms=True)


def shown(room: Room) -> OverlayChanged:
    """How the overlays are set, as far as this node knows."""
    found: OverlayChanged = room.services.catalogues.of(KIND, room.id)
    return found


async def look(room: Room) -> None:
    """Read it, if this node has not yet."""
    await room.services.catalogues.fetch(KIND, room.id)


async def read(services: Services, room_id: str) -> Overlays:
    """What SQL has now. Raises SQLAlchemyError."""
    return overlays_of((await ask(journal.read, services.engine, Key(KIND, room_id))).body)


async def write(services: Services, room_id: str, changed: Change) -> None:
    """Change it in SQL. Raises Refused, and what `changed` raises."""

    def written(before: bytes) -> bytes:
        return msgspec.json.encode(changed(overlays_of(before)))

    try:
        await ask(journal.change, services.engine, Key(KIND, room_id), services.clock.now_ms(), written)
    except SQLAlchemyError:
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS) from None


async def change(services: Services, room_id: str, changed: Change) -> None:
    """Change it in SQL, then tell every node. Raises Refused, what `changed` raises, NoSuchRoom, StoreError."""
    await write(services, room_id, changed)
    await tell(services, room_id, CHANGED, b"")


async def tell(services: Services, room_id: str, kind: str, body: bytes) -> None:
    """Tell every node that has the room open. Raises NoSuchRoom, StoreError."""
    await services.history.change(room_id, TELL, kind=kind, body=body)
