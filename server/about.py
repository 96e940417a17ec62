"""What a room is: from the store, from the events of its life, and who somebody is in it."""

import msgspec
from msgspec import UNSET, Struct

from protocol.rooms import Settings, ShownSettings, Status
from protocol.wire import Event, Named, Role
from server.tokens import Claims


class About(Struct, frozen=True, kw_only=True):
    """What the room is, from the store."""

    status: Status
    title: str
    host: Named
    settings: Settings
    broadcast_id: str | None
    started_at_ms: int | None


def about_of(meta: dict[str, str]) -> About:
    """The room's definition from its meta hash."""
    return About(
        status=msgspec.convert(meta["status"], Status),
        title=meta["title"],
        host=Named(meta["host_id"], meta["host_name"]),
        settings=msgspec.json.decode(meta["settings"], type=Settings),
        broadcast_id=meta.get("broadcast"),
        started_at_ms=int(meta["started_at_ms"]) if "started_at_ms" in meta else None,
    )


def told(about: About, event: Event) -> About:
    """The room after an event of its life; what is not told, such as its blocked words, is as before."""
    names = ("title", "host", "status", "broadcast_id", "started_at_ms")
    changed = {name: value for name in names if (value := getattr(event, name, UNSET)) is not UNSET}
    if (settings := getattr(event, "settings", UNSET)) is not UNSET:
        changed["settings"] = msgspec.structs.replace(about.settings, **msgspec.structs.asdict(settings))
    return msgspec.structs.replace(about, **changed)


def shown_settings(settings: Settings) -> ShownSettings:
    return ShownSettings(settings.chat, settings.gifts, settings.slow_mode_s, settings.unique_chat_s)


def granted(claims: Claims, room_id: str) -> Role:
    """What a token makes of its person in a room: a host's without this `room` claim no more than a viewer's."""
    return "viewer" if claims.role == "host" and claims.room != room_id else claims.role


def role_in(about: About, user_id: str, granted: Role) -> Role:
    """Whom somebody is in a room as it is now: its host is who the room names, or whom a token made one."""
    return "host" if granted == "viewer" and user_id == about.host.user_id else granted
