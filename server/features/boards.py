"""The board of gifters. Every gift changes it in the store; the room gets it at most once a second."""

from protocol.boards import BoardChanged
from protocol.gifts import GiftRefunded, GiftSent
from protocol.wire import Named, Rank, encode
from server import limits
from server.rooms.registry import every, reacts
from server.rooms.room import Room
from server.store import scripts
from server.store.scripts import hole

PUBLISH = scripts.load("boards_publish")
SCRIPTS = (PUBLISH,)
_ROW = encode(Rank(hole("rank"), Named(hole("user_id"), hole("name")), hole("coins")))


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
        )
    except BaseException:
        board.changed = True
        raise
    if outcome[0] == b"later":
        board.changed = True
