"""The board of gifters: it moves with each gift in the store, and is told at most once a second."""

from protocol.boards import BoardChanged
from protocol.gifts import GiftSent
from protocol.wire import Named, Rank, encode
from server import limits
from server.rooms.registry import every, reacts
from server.rooms.room import Room
from server.store import scripts
from server.store.scripts import hole

TELL = scripts.load("boards_tell")
SCRIPTS = (TELL,)
_ROW = encode(Rank(hole("rank"), Named(hole("user_id"), hole("name")), hole("coins")))


class _Board:
    """Whether gifts came since the last telling."""

    __slots__ = ("moved",)

    def __init__(self) -> None:
        self.moved = True  # a node that comes new may have to finish what a dead one began


@reacts(GiftSent)
def gift_moves_board(room: Room, _event: GiftSent) -> None:
    board: _Board = room.memory("boards", _Board)
    board.moved = True


@every(limits.HOUSEKEEPING_S)
async def tell_board(room: Room) -> None:
    """Any node of the room may tell; the store lets one per second through."""
    board: _Board = room.memory("boards", _Board)
    if not board.moved:
        return
    board.moved = False  # a gift that comes during the call sets it again
    try:
        outcome = await room.services.history.change(
            room.id,
            TELL,
            every_ms=limits.BOARD_EVERY_MS,
            rows=limits.BOARD_ROWS,
            event=encode(BoardChanged(id=room.services.clock.new_id(), top=hole("top"))),
            row=_ROW,
        )
    except BaseException:
        board.moved = True
        raise
    if outcome[0] == b"later":
        board.moved = True
