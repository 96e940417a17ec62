"""What features register with rooms at import: handlers, reactors, periodic work, parts of the snapshot."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import protocol
from protocol.wire import Command, Event, Ok

if TYPE_CHECKING:
    from server.journal.people import Standing
    from server.rooms.about import About
    from server.rooms.room import Member, Room

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
Handler = Callable[["Room", "Member", Any], Awaitable[Ok | None]]
Reactor = Callable[["Room", Any], None]
Periodic = Callable[["Room"], Awaitable[None]]
Hook = Callable[["Room", "Member"], None]
Changed = Callable[["Room", "About"], None]
Aside = Callable[["Room", bytes], None]
OnStanding = Callable[["Room", str, "Standing"], None]
Badge = Callable[["Room", "Member"], str | None]
Screen = Callable[["Room", "Member", Any, Any], Awaitable[Ok | None]]

HANDLERS: dict[type[Command], Handler] = {}
REACTORS: dict[str, list[Reactor]] = {}
PERIODICS: list[tuple[float, Periodic]] = []
JOINED: list[Hook] = []
LEFT: list[Hook] = []
CHANGED: list[Changed] = []
CLOSING: list[Periodic] = []
STANDINGS: list[OnStanding] = []
SCREENS: list[tuple[int, Screen]] = []  # in their order
BADGES: list[tuple[int, Badge]] = []  # in their order
ASIDES: dict[bytes, Aside] = {}
SNAPSHOT_PARTS: dict[str, Callable[[dict[str, str]], Any]] = {}


def handles(command: type[C]) -> Callable[[Callable[["Room", "Member", C], Awaitable[Ok | None]]], Handler]:
    """Register a command's only handler. It returns the Ok (None for a plain one), or raises Refused or Closed."""

    def register(handler: Callable[["Room", "Member", C], Awaitable[Ok | None]]) -> Handler:
        assert command not in HANDLERS, f"{command} has a handler already"
        HANDLERS[command] = handler
        return handler

    return register


def reacts(event: type[E]) -> Callable[[Callable[["Room", E], None]], Reactor]:
    """Call a function with every such event of a room, on every node that has the room open. It must not wait."""

    def register(reactor: Callable[["Room", E], None]) -> Reactor:
        REACTORS.setdefault(str(event.__struct_config__.tag), []).append(reactor)
        return reactor

    return register


def every(seconds: float) -> Callable[[Periodic], Periodic]:
    """Call a function every `seconds` for each room of the node. One room's calls never overlap."""

    def register(periodic: Periodic) -> Periodic:
        PERIODICS.append((seconds, periodic))
        return periodic

    return register


def on_closing(periodic: Periodic) -> Periodic:
    """Call a function when the node closes a room."""
    CLOSING.append(periodic)
    return periodic


def on_joined(hook: Hook) -> Hook:
    """Call a function for each member that joins. It must not wait."""
    JOINED.append(hook)
    return hook


def on_left(hook: Hook) -> Hook:
    """Call a function for each member that leaves. It must not wait."""
    LEFT.append(hook)
    return hook


def on_changed(hook: Changed) -> Changed:
    """Call a function with the old definition when the room's definition has changed. It must not wait."""
    CHANGED.append(hook)
    return hook


def on_standing(hook: OnStanding) -> OnStanding:
    """Call a function when the decisions about somebody have changed, with the former ones. It must not wait."""
    STANDINGS.append(hook)
    return hook


def screens(order: int) -> Callable[[Screen], Screen]:
    """Look at each chat that is not of staff, before it is sent: with the command and the event that would be.

    What it returns is the reply, and the chat is not sent; None lets it go on. It may raise Refused. Lower orders come
    first.
    """

    def register(screen: Screen) -> Screen:
        SCREENS.append((order, screen))
        SCREENS.sort(key=lambda each: each[0])
        return screen

    return register


def badge(order: int) -> Callable[[Badge], Badge]:
    """Show a badge beside somebody's name in chat and gifts, if the function returns one. Lower orders come first.

    It is asked for each message, and must not wait.
    """

    def register(found: Badge) -> Badge:
        BADGES.append((order, found))
        BADGES.sort(key=lambda each: each[0])
        return found

    return register


def on_aside(kind: str) -> Callable[[Aside], Aside]:
    """Call a function with what a script has published as `<epoch> 0 <kind> <body>`. It must not wait."""

    def register(listener: Aside) -> Aside:
        assert kind.encode() not in ASIDES, f"{kind} has a listener already"
        ASIDES[kind.encode()] = listener
        return listener

    return register


def snapshot_part(field: str) -> Callable[[Callable[[dict[str, str]], Any]], Callable[[dict[str, str]], Any]]:
    """Register the source of a SnapshotPart's field. It gets the state that features keep for the room."""

    def register(part: Callable[[dict[str, str]], Any]) -> Callable[[dict[str, str]], Any]:
        assert field in protocol.SNAPSHOT.__struct_fields__, f"no SnapshotPart has the field {field}"
        assert field not in SNAPSHOT_PARTS, f"{field} has a source already"
        SNAPSHOT_PARTS[field] = part
        return part

    return register
