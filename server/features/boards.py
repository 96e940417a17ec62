"""The board of gifters: it moves with each gift in the store, and is told at most once a second."""

from protocol.gifts import GiftSent
from server import limits
from server.history import event_keys
from server.registry import every, reacts
from server.room import Room
from server.store import keys, scripts

TELL = scripts.load("boards_tell")
SCRIPTS = (TELL,)


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
        outcome = await room.services.history.run(
            TELL,
            [*event_keys(room.id), keys.room_board(room.id), keys.room_names(room.id)],
            [limits.HISTORY_EVENTS_MAX, limits.BOARD_EVERY_MS, limits.BOARD_ROWS, room.services.clock.new_id()],
        )
    except BaseException:
        board.moved = True
        raise
    if outcome[0] == b"later":
        board.moved = True
