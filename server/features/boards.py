"""The boards of gifters. Every gift changes them in the store; the room gets the broadcast's at most once a second."""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.boards import BoardChanged, BoardClimbed, BoardLimit, By, GetBoard, GetBoardOk, Place, Window
from protocol.gifts import GiftRefunded, GiftSent
from protocol.refusals import Refusal, Refused
from protocol.wire import Named, Rank, encode
from server import limits
from server.http.api import answer, query, room_id_of, route
from server.rooms.people import People, read_people
from server.rooms.registry import every, handles, reacts
from server.rooms.room import Member, Room, Services
from server.rooms.tally import NAMES, board_key, fill, window_of
from server.rooms.tally import SCRIPTS as TALLY_SCRIPTS
from server.store import keys, scripts
from server.store.client import Arg
from server.store.scripts import hole

PUBLISH = scripts.load("boards_publish")
GET = scripts.load("boards_get")
SCRIPTS = (PUBLISH, GET, *TALLY_SCRIPTS)
_ROW = encode(Rank(hole("rank"), Named(hole("user_id"), hole("name")), hole("coins")))
_CLIMBED = encode(BoardClimbed(id=hole("id"), user=Named(hole("user_id"), hole("name")), rank=hole("rank")))


class _Board:
    """Whether gifts came since the board was last published."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed = True  # a node that died may have left a change unpublished


@reacts(GiftSent)
def gift_changes_board(room: Room, _event: GiftSent) -> None:
    board: _Board = room.memory("boards", _Board)
    board.changed = True


@reacts(GiftRefunded)
def refund_changes_board(room: Room, _event: GiftRefunded) -> None:
    board: _Board = room.memory("boards", _Board)
    board.changed = True


@every(limits.HOUSEKEEPING_S)
async def publish_board(room: Room) -> None:
    """Publish a changed board. Every node of the room tries; the script lets one through per second."""
    board: _Board = room.memory("boards", _Board)
    if not board.changed:
        return
    board.changed = False  # a gift that comes during the call sets it again
    try:
        outcome = await room.services.history.change(
            room.id,
            PUBLISH,
            every_ms=limits.BOARD_EVERY_MS,
            rows=limits.BOARD_ROWS,
            event=encode(BoardChanged(id=room.services.clock.new_id(), top=hole("top"))),
            row=_ROW,
            climbed=_CLIMBED,
            first_places=limits.BOARD_FIRST,
        )
    except BaseException:
        board.changed = True
        raise
    if outcome[0] == b"later":
        board.changed = True


@handles(GetBoard)
async def get_board(room: Room, member: Member, command: GetBoard) -> GetBoardOk:
    """Somebody looks at a board. Raises Refused."""
    asked = BoardQuery(window=command.window, by=command.by, limit=command.limit)
    try:
        top, you = await _read(room.services, room.id, asked, room.people, member.user_id)
    except SQLAlchemyError:
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS) from None
    return GetBoardOk(top=top, you=you)


class BoardQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which board, and how many of its first places."""

    window: Window = "broadcast"
    by: By = "sum"
    limit: BoardLimit = 10


async def _read(
    services: Services, room_id: str, asked: BoardQuery, people: People, user_id: str
) -> tuple[tuple[Rank, ...], Place]:
    """A board, counted again first if it is lost. Raises NoSuchRoom, StoreError, SQLAlchemyError, Refused."""
    epoch, _ = await services.history.position(room_id)
    hidden = [user for user, standing in people.everybody() if standing.hidden and user != user_id]
    args: dict[str, Any] = {
        **_which(services, room_id, asked),
        "epoch": epoch,
        "rows": asked.limit,
        "user_id": user_id,
        "hidden": msgspec.json.encode(dict.fromkeys(hidden, True)),
    }
    outcome = await services.history.change(room_id, GET, **args)
    if outcome[0] == b"not_whole":
        await fill(services, room_id, epoch)
        outcome = await services.history.change(room_id, GET, **args)
    if outcome[0] == b"not_whole":  # another node counts them just now
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS)
    found = [each.decode() for each in outcome[1]]
    each = zip(found[::3], found[1::3], found[2::3], strict=True)
    top = tuple(Rank(n, Named(user, name), int(float(coins))) for n, (user, name, coins) in enumerate(each, 1))
    rank, mine, ahead = (int(float(value)) for value in outcome[2])
    return top, Place(rank=rank or None, coins=mine, behind=None if ahead < 0 else ahead - mine)


def _which(services: Services, room_id: str, asked: BoardQuery) -> dict[str, Arg]:
    """The keys of a board, and how it is read. Only those of more than a broadcast are counted again."""
    own, single = asked.window == "broadcast", asked.by == "single"
    window = window_of(asked.window, services.clock.now_ms())
    return {
        "one": keys.room(room_id, "board") if own and not single else board_key(room_id, window, asked.by),
        "names_of": keys.room(room_id, NAMES if single or not own else "names"),
        "checked": int(not own),
        "single": int(single),
    }


class BoardShown(Struct, frozen=True):
    """The first places of a board."""

    top: tuple[Rank, ...]


def routes(services: Services) -> list[Route]:
    """The boards, for the platform."""

    async def board(request: Request) -> Response:
        room_id, asked = room_id_of(request), query(request, BoardQuery)
        epoch, _ = await services.history.position(room_id)
        people = await read_people(services.history, services.engine, room_id, epoch)
        top, _you = await _read(services, room_id, asked, people, "")
        return answer(BoardShown(top))

    path = "/v1/rooms/{room}/board"
    return [route(path, board, summary="A board of gifters", query=BoardQuery, gives=BoardShown)]
