"""A room's definition, from the store and from `room.*` events, and people's roles in the room."""

import functools
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from protocol.rooms import Details, Settings, ShownSettings, Status
from protocol.wire import Event, Named, Role
from server import limits
from server.tokens import Claims


class About(Struct, frozen=True, kw_only=True, dict=True):
    """The room's definition, as in the store."""

    status: Status
    title: str
    host: Named
    settings: Settings
    broadcast_id: str | None
    started_at_ms: int | None
    details: Details = Details()

    @functools.cached_property
    def in_force(self) -> Settings:
        """The settings that count now."""
        return in_force(self.settings)


def about_of(meta: dict[str, str]) -> About:
    """The room's definition from its meta hash."""
    return About(
        status=msgspec.convert(meta["status"], Status),
        title=meta["title"],
        host=Named(meta["host_id"], meta["host_name"]),
        settings=settings_of(meta["settings"]),
        broadcast_id=meta.get("broadcast"),
        started_at_ms=int(meta["started_at_ms"]) if "started_at_ms" in meta else None,
        details=details_of(meta),
    )


def details_of(meta: dict[str, str]) -> Details:
    """By what people find the room. An older program has written none."""
    return msgspec.json.decode(written, type=Details) if (written := meta.get("details")) else Details()


def changed_by(event: Event, about: About) -> About:
    """The room after a `room.*` event. What the event does not say, such as the blocked words, stays the same."""
    names = ("title", "host", "status", "broadcast_id", "started_at_ms")
    changed = {name: value for name in names if (value := getattr(event, name, UNSET)) is not UNSET}
    if (settings := getattr(event, "settings", UNSET)) is not UNSET:
        changed["settings"] = msgspec.structs.replace(about.settings, **msgspec.structs.asdict(settings))
    found = {name: value for name in Details.__struct_fields__ if (value := getattr(event, name, UNSET)) is not UNSET}
    if found:
        changed["details"] = msgspec.structs.replace(about.details, **found)
    return msgspec.structs.replace(about, **changed)


# What the first programs know. They refuse a room in which they find another name.
_FIRST = ("chat", "gifts", "slow_mode_s", "unique_chat_s", "chat_per_s", "blocked_words")


def stored(settings: Settings) -> bytes:
    """The settings for the store: newer ones only if they are set, so that older nodes can read all other rooms."""
    default = Settings()
    said = msgspec.structs.asdict(settings).items()
    return msgspec.json.encode({n: value for n, value in said if n in _FIRST or value != getattr(default, n)})


def settings_of(text: str) -> Settings:
    """The settings from the store, but what only a newer program knows."""
    found = msgspec.json.decode(text, type=dict[str, Any])
    return msgspec.convert({n: value for n, value in found.items() if n in Settings.__struct_fields__}, Settings)


def shown_settings(settings: Settings) -> ShownSettings:
    """What everybody may see: what is in force."""
    now = in_force(settings)
    return ShownSettings(**{name: getattr(now, name) for name in ShownSettings.__struct_fields__})


def in_force(settings: Settings) -> Settings:
    """The settings that count now. The shield changes none: the stricter of its own and the room's counts.

    So off, all is as it was, whatever was restarted, and a setting changed meanwhile is as it was set.
    """
    if not settings.shield:
        return settings
    return msgspec.structs.replace(
        settings,
        slow_mode_s=max(settings.slow_mode_s, limits.SHIELD_SLOW_S),
        unique_chat_s=max(settings.unique_chat_s, limits.SHIELD_UNIQUE_S),
        automod=max(settings.automod, limits.SHIELD_AUTOMOD),
        chat_for="followers" if settings.chat_for == "everyone" else settings.chat_for,
        followers_min_age_s=max(settings.followers_min_age_s, limits.SHIELD_FOLLOWED_S),
        links=False,
    )


def granted(claims: Claims, room_id: str) -> Role:
    """The role that a token grants in a room. A host's token without this `room` claim is only a viewer's."""
    return "viewer" if claims.role == "host" and claims.room != room_id else claims.role


def role_in(about: About, user_id: str, granted: Role) -> Role:
    """Somebody's role in the room now: `host` for a viewer whom the room names as its host, else as granted."""
    return "host" if granted == "viewer" and user_id == about.host.user_id else granted
