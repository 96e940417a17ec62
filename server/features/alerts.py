"""Alerts: staff controls the overlays' queue, overlays prove what they have shown, and silent ones start again."""

import asyncio
from typing import Annotated, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.alerts import AckAlert, AlertsControlled, AlertsStatus, ControlAlerts
from protocol.gifts import GiftSent
from protocol.refusals import Refusal, Refused
from protocol.wire import encode
from server import limits
from server.http.api import answer, query, room_id_of, route
from server.rooms.overlays import Change, change, tell
from server.rooms.registry import every, handles, on_aside, on_joined, on_left, reacts
from server.rooms.room import Member, Room, Services
from server.rooms.staff import STAFF, Deed, actor, check, note
from server.store import keys, scripts

ACK = scripts.load("alerts_ack")
SCRIPTS = (ACK,)
ACKS = keys.of_room("acks", "Stream: how far alerts are, as overlays said: stage `s`, overlay `o`, gift ids `i`.")
ACKS_KEPT = 2_000  # of a room: some hours of alerts
ACKS_S = 7 * 24 * 3600  # as long as the room's history
CONTROLLED, STATUS = "controlled", "alerts"  # asides

LOOK_S = 2.0
TOLD_AGAIN_S = 10.0  # a node tells the others of its overlays when something has changed, and as often as this
FORGOTTEN_S = 25.0  # of a node that tells nothing more
RESET_AFTER_S = 30.0  # an overlay that owes an answer for so long must reset its queue
RELOAD_AFTER_S = 60.0  # and then to load its page again
SHOWN_S_MAX = 90.0  # an alert is over by then: the longest one, and what its sound or speech may add
RELOADS_EVERY_S = 600.0  # one reload in this time: too many stop the rendering of some programs


# --- control ---------------------------------------------------------------------------------------------------------
def _kept(command: ControlAlerts, now_ms: int) -> Change | None:
    """What of a control outlives the moment."""
    match command.verb:
        case "pause" | "resume":
            return lambda now: replace(now, paused=command.verb == "pause")
        case "mute" | "unmute":
            return lambda now: replace(now, muted=command.verb == "mute")
        case "clear":
            return lambda now: replace(now, cleared_ms=now_ms)
        case _:
            return None


@handles(ControlAlerts)
async def control(room: Room, member: Member, command: ControlAlerts) -> None:
    """Control all overlays of the room. Raises Refused."""
    by = actor(member)
    said = {"verb": command.verb, **({} if command.id is None else {"id": command.id})}
    deed = Deed(act="alerts.control", data=said)
    check(room, by, deed)
    kept = _kept(command, room.services.clock.now_ms())
    if kept is not None:
        await change(room.services, room.id, kept)
    message = AlertsControlled(verb=command.verb, id=command.id, by=by.named)
    await tell(room.services, room.id, CONTROLLED, encode(message))
    await note(room.services, room.id, by, deed)


@on_aside(CONTROLLED)
def tell_controlled(room: Room, body: bytes) -> None:
    """Pass a control to the overlays, and to staff, who sees what the others do."""
    for member in room.members:
        if member.role == "overlay" or member.role in STAFF:
            member.pass_on(body)


# --- what overlays say -----------------------------------------------------------------------------------------------
class _Overlay:
    """One overlay's socket: since when it owes an answer, and what it shows."""

    __slots__ = ("owes_since", "playing", "queued", "reset", "started")

    def __init__(self) -> None:
        self.owes_since: float | None = None
        self.started = 0.0
        self.playing: str | None = None
        self.queued = 0
        self.reset = False  # whether it was told to, since it last answered


class Said(Struct, frozen=True, array_like=True):
    """What a node tells the others of its overlays of a room."""

    node: str
    overlays: int
    silent_ms: int
    queued: int
    playing: str | None


class _Alerts:
    """The overlays of a room on this node, and what the other nodes have said of theirs."""

    __slots__ = ("here", "others", "reloaded", "told", "told_at", "told_staff")

    def __init__(self) -> None:
        self.here: dict[Member, _Overlay] = {}
        self.others: dict[str, tuple[float, Said]] = {}
        self.reloaded: dict[str, float] = {}  # by link
        self.told: Said | None = None
        self.told_at = 0.0
        self.told_staff: AlertsStatus | None = None


def _of(room: Room) -> _Alerts:
    found: _Alerts = room.memory("alerts", _Alerts)
    return found


@on_joined
def overlay_joined(room: Room, member: Member) -> None:
    if member.role == "overlay":
        _of(room).here[member] = _Overlay()
    elif member.role in STAFF:
        member.say(_status(room))


@on_left
def overlay_left(room: Room, member: Member) -> None:
    _of(room).here.pop(member, None)


@reacts(GiftSent)
def gift_is_due(room: Room, _event: GiftSent) -> None:
    _owe(room)


@handles(AckAlert)
async def ack(room: Room, member: Member, command: AckAlert) -> None:
    """An overlay says how far an alert is. Raises Refused, StoreError."""
    overlay = _of(room).here.get(member)
    if overlay is None:
        raise Refused(Refusal.NOT_ALLOWED)
    overlay.owes_since, overlay.reset, overlay.queued = None, False, command.queued
    if command.stage == "started":
        overlay.playing, overlay.started = command.id, _now()
    elif command.stage != "received" and overlay.playing == command.id:
        overlay.playing = None
    ids = " ".join((command.id, *command.also))
    await room.services.history.change(
        room.id, ACK, stage=command.stage, overlay=member.user_id, ids=ids, keep=ACKS_KEPT, kept_s=ACKS_S
    )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _owe(room: Room) -> None:
    for overlay in _of(room).here.values():
        if overlay.owes_since is None:
            overlay.owes_since = _now()


# --- who is silent ---------------------------------------------------------------------------------------------------
def _silent_s(overlay: _Overlay, now: float) -> float:
    """For how long it owes an answer: to a gift, or the end of what it shows."""
    over = now - overlay.started - SHOWN_S_MAX if overlay.playing is not None else 0.0
    return max(0.0, over, 0.0 if overlay.owes_since is None else now - overlay.owes_since)


def _wake(alerts: _Alerts, member: Member, overlay: _Overlay, now: float) -> None:
    """Tell a silent overlay to reset itself; if that did not help, to load its page again."""
    silent_s = _silent_s(overlay, now)
    if silent_s >= RESET_AFTER_S and not overlay.reset:
        overlay.reset = True
        member.say(AlertsControlled(verb="reset"))
    if silent_s >= RELOAD_AFTER_S and now - alerts.reloaded.get(member.user_id, -RELOADS_EVERY_S) >= RELOADS_EVERY_S:
        alerts.reloaded = {link: at for link, at in alerts.reloaded.items() if now - at < RELOADS_EVERY_S}
        alerts.reloaded[member.user_id] = now
        member.say(AlertsControlled(verb="reload"))


@every(LOOK_S)
async def look_at_overlays(room: Room) -> None:
    """Wake silent overlays, and tell the other nodes and staff how they are."""
    alerts, now = _of(room), _now()
    for member, overlay in alerts.here.items():
        _wake(alerts, member, overlay, now)
    said = _said(room, now)
    again = said.overlays > 0 and now - alerts.told_at >= TOLD_AGAIN_S
    known = 0 if alerts.told is None else alerts.told.overlays
    if again or (said != alerts.told and (said.overlays or known)):
        await tell(room.services, room.id, STATUS, msgspec.json.encode(said))
        alerts.told, alerts.told_at = said, now
    alerts.others = {node: each for node, each in alerts.others.items() if now - each[0] < FORGOTTEN_S}
    _tell_staff(room)


def _said(room: Room, now: float) -> Said:
    here = _of(room).here.values()
    silent_s = max((_silent_s(overlay, now) for overlay in here), default=0.0)
    return Said(
        node=room.services.node_id,
        overlays=len(here),
        silent_ms=0 if silent_s < LOOK_S else int(silent_s) * 1000,
        queued=max((overlay.queued for overlay in here), default=0),
        playing=next((overlay.playing for overlay in here if overlay.playing is not None), None),
    )


@on_aside(STATUS)
def heard(room: Room, body: bytes) -> None:
    """Take what another node says of its overlays."""
    said = msgspec.json.decode(body, type=Said)
    if said.node != room.services.node_id:
        _of(room).others[said.node] = (_now(), said)
        _tell_staff(room)


def _status(room: Room) -> AlertsStatus:
    every_node = [_said(room, _now()), *(said for _, said in _of(room).others.values())]
    return AlertsStatus(
        overlays=sum(said.overlays for said in every_node),
        silent_ms=max(said.silent_ms for said in every_node),
        queued=max(said.queued for said in every_node),
        playing=next((said.playing for said in every_node if said.playing is not None), None),
    )


def _tell_staff(room: Room) -> None:
    alerts, staff = _of(room), [member for member in room.members if member.role in STAFF]
    if not staff:
        return
    status = _status(room)
    if status != alerts.told_staff:
        alerts.told_staff = status
        for member in staff:
            member.say(status)


# --- the proof -------------------------------------------------------------------------------------------------------
class AlertsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class Played(Struct, frozen=True):
    """What an overlay said of the alert of these gifts."""

    gifts: tuple[str, ...]
    stage: str
    overlay: str
    at_ms: int


class AlertsShown(Struct, frozen=True):
    """What overlays said, the newest first."""

    alerts: tuple[Played, ...]
    next: None = None


def routes(services: Services) -> list[Route]:
    """The proof that alerts were played."""

    async def played(request: Request) -> Response:
        room_id, asked = room_id_of(request), query(request, AlertsQuery)
        await services.history.position(room_id)
        rows = await services.history.store.call("XREVRANGE", keys.room(room_id, ACKS), "+", "-", "COUNT", asked.limit)
        return answer(AlertsShown(tuple(map(_played, cast(list[tuple[bytes, list[bytes]]], rows)))))

    path, about = "/v1/rooms/{room}/alerts", "What overlays have shown of a room's gifts"
    return [route(path, played, summary=about, query=AlertsQuery, gives=AlertsShown)]


def _played(row: tuple[bytes, list[bytes]]) -> Played:
    said = dict(zip(row[1][::2], row[1][1::2], strict=True))
    at_ms = int(row[0].partition(b"-")[0])
    return Played(tuple(said[b"i"].decode().split()), said[b"s"].decode(), said[b"o"].decode(), at_ms)
