"""Rules: a gift sends custom events if the room's rules say so, once, however many nodes show the gift.

Overlays act on those whose `action` is `scene`, and the platform on `webhook`, which it reads from the room's history.
A sender of webhooks out, when there is one, has all that it needs in the same event.

SQL has the rules. A node reads them when somebody comes into the room, and gets new ones through the room's channel.
"""

from collections import deque
from collections.abc import Iterable

import msgspec
import structlog
from msgspec import UNSET, Struct
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.custom import Cause, CustomSent
from protocol.gifts import GiftSent
from protocol.rules import Rule, Rules
from protocol.wire import encode
from server import limits
from server.http.api import HttpError, answer, body, room_id_of, route
from server.journal import rules as journal
from server.journal.database import ask
from server.journal.rules import Stored
from server.rooms.history import NoSuchRoom
from server.rooms.registry import every, on_aside, on_joined, reacts
from server.rooms.room import Member, Room, Services
from server.store import keys, scripts
from server.store.client import StoreError

WAITING_MAX = 1_000  # gifts that wait for a room's rules to be read; those above it send nothing
AGAIN_S = 300.0  # rules are read again: a node may have missed that they changed
FIRE = scripts.load("rules_fire")
TELL = scripts.load("rules_tell")
RULED = keys.of_room("ruled", "String per gift: its rules have been carried out.")
SCRIPTS = (FIRE, TELL)

log = structlog.get_logger()


class _Held(Struct):
    """What this node knows of a room's rules. Version 0 has none, -1 is not known yet."""

    version: int = -1
    rules: tuple[Rule, ...] = ()
    reading: bool = False
    waiting: deque[GiftSent] = msgspec.field(default_factory=lambda: deque(maxlen=WAITING_MAX))

    def learn(self, stored: Stored | None) -> None:
        """Take newer rules."""
        version, text = stored or (0, '{"rules":[]}')
        if version > self.version:
            self.rules, self.version = msgspec.json.decode(text, type=Rules).rules, version


def _held(room: Room) -> _Held:
    held: _Held = room.memory("rules", _Held)
    return held


@on_joined
def member_needs_rules(room: Room, _member: Member) -> None:
    if _held(room).version < 0:
        _read_soon(room)


@reacts(GiftSent)
def gift_meets_rules(room: Room, event: GiftSent) -> None:
    held = _held(room)
    if held.version < 0:
        held.waiting.append(event)
        _read_soon(room)
    elif met := _met(held.rules, event):
        room.spawn(_fire(room, event, met))


def _met(rules: Iterable[Rule], event: GiftSent) -> list[Rule]:
    return [rule for rule in rules if rule.gift in (None, event.gift.id) and event.coins >= (rule.min_coins or 0)]


async def _fire(room: Room, event: GiftSent, met: Iterable[Rule]) -> None:
    """Every node of the room tries; the first sends the events of all rules that the gift meets."""
    cause = Cause(gift_id=event.id, gift=event.gift.id, count=event.count, coins=event.coins, from_=event.from_)
    sent = [
        CustomSent(
            id=room.services.clock.new_id(),
            name=done.name,
            data={**done.data, "gift_id": event.id},
            action=UNSET if action == "event" else action,  # type: ignore[arg-type]
            cause=cause,
        )
        for rule in met
        for action, done in rule.actions()
    ]
    try:
        await room.services.history.change(
            room.id,
            FIRE,
            ruled=keys.room(room.id, RULED, event.id),
            once_s=limits.ONCE_S,
            each=[{"body": encode(each)} for each in sent],
        )
    except (StoreError, NoSuchRoom) as error:  # nothing is lost but an effect
        log.info("rules_not_carried_out", room=room.id, gift_id=event.id, why=str(error))


def _read_soon(room: Room) -> None:
    held = _held(room)
    if not held.reading:
        held.reading = True
        room.spawn(_read(room, held))


async def _read(room: Room, held: _Held) -> None:
    try:
        held.learn(await ask(journal.read, room.services.engine, room.id))
    except SQLAlchemyError as error:
        log.warning("rules_later", room=room.id, why=str(error))
        return
    finally:
        held.reading = False
    while held.waiting:
        event = held.waiting.popleft()
        if met := _met(held.rules, event):
            await _fire(room, event, met)


@every(AGAIN_S)
async def read_rules_again(room: Room) -> None:
    """An aside may have got lost, and SQL may be back."""
    _read_soon(room)


@on_aside("rules")
def learn_rules(room: Room, said: bytes) -> None:
    """Take new rules, before the gifts that come after them."""
    version, _, rules = said.partition(b" ")
    _held(room).learn(Stored(int(version), rules.decode()))


def routes(services: Services) -> list[Route]:
    """A room's rules, for the platform."""

    async def get(request: Request) -> Response:
        room_id = room_id_of(request)
        await services.history.position(room_id)
        stored = await ask(journal.read, services.engine, room_id)
        return answer(Rules(()) if stored is None else msgspec.json.decode(stored.rules, type=Rules))

    async def put(request: Request) -> Response:
        room_id, rules = room_id_of(request), await body(request, Rules)
        if not all(any(rule.actions()) for rule in rules.rules):
            raise HttpError(409, "no_action", "A rule needs `event`, `scene` or `webhook`.")
        await services.history.position(room_id)
        text, now_ms = encode(rules).decode(), services.clock.now_ms()
        stored = await ask(journal.replace, services.engine, room_id, text, now_ms)
        await services.history.change(room_id, TELL, version=stored.version, rules=stored.rules)
        return answer(rules)

    path = "/v1/rooms/{room}/rules"
    return [
        route(path, get, summary="What happens in a room when a gift comes", gives=Rules),
        route(path, put, method="PUT", summary="Set all rules of a room", body=Rules, gives=Rules),
    ]
