"""A room's boards of the day, the week and all time: counted with each gift, and again from the journal when lost."""

import secrets
from collections.abc import Iterable, Sequence

from msgspec import Struct

from protocol.ids import uuid7_ms
from server import limits
from server.journal import given as journal
from server.journal.database import ask
from server.rooms.given import Gift, given_before, not_taken_back_yet
from server.rooms.room import Services
from server.store import hooks, keys, scripts
from server.store.client import Arg

BEGIN = scripts.load("tally_begin")
ADD = scripts.load("tally_add")
SCRIPTS = (BEGIN, ADD)
TALLY = keys.of_room("tally", "Sorted set per window and kind of board: coins by user, or by gift and user.")
WHOLE = keys.of_room("tally_whole", "String: the epoch for which the boards are whole, or `~` and who fills them.")
NAMES = keys.of_room("tally_names", "Hash: display names of those on the boards of more than a broadcast.")
hooks.supply(
    "boards_on_gift_shown",
    singles_max=limits.SINGLES_MAX,
    day_s=limits.BOARD_DAY_S,
    week_s=limits.BOARD_WEEK_S,
    all_s=limits.BOARD_ALL_S,
)


class Row(Struct, frozen=True):
    """Coins to add to a board."""

    board: str
    member: str
    coins: int
    user_id: str
    name: str = ""


def window_of(window: str, at_ms: int) -> str:
    """A window's name in the store, as boards_windows.lua makes it."""
    day = at_ms // limits.DAY_MS
    return {"day": f"day-{day}", "week": f"week-{(day + 3) // 7}"}.get(window, window)


def board_key(room_id: str, window: str, by: str) -> str:
    return keys.room(room_id, TALLY, window, by)


async def fill(services: Services, room_id: str, epoch: str) -> None:
    """Count the boards again unless they are whole. Raises NoSuchRoom, StoreError, SQLAlchemyError."""
    now_ms, token = services.clock.now_ms(), secrets.token_hex(8)
    windows = [window_of(window, now_ms) for window in ("day", "week", "all")]
    boards = [(window, by) for window in windows for by in ("sum", "single")]
    begun = await services.history.change(
        room_id,
        BEGIN,
        epoch=epoch,
        token=token,
        marked_s=limits.BOARD_MARKED_S,
        each=[{"board_key": board_key(room_id, *board), "name": ""} for board in boards],
    )
    if begun[0] != b"ok":
        return
    week_ms = (now_ms // limits.DAY_MS + 3) // 7 * 7 * limits.DAY_MS - 3 * limits.DAY_MS
    since_ms = min(week_ms, now_ms - limits.ONCE_S * 1000) - limits.GIFT_ID_LIFE_MS
    gifts = await given_before(services, room_id, int(begun[1]), since_ms)
    rows = [*_rows_of(gifts, windows), *await _older(services, room_id, int(begun[1]), since_ms)]
    for first in range(0, len(rows), limits.PEOPLE_BATCH):
        await _add(services, room_id, epoch, token, rows[first : first + limits.PEOPLE_BATCH])
    expires = (limits.BOARD_DAY_S, limits.BOARD_WEEK_S, limits.BOARD_ALL_S)
    last = [Row(f"{window}:{by}", str(expires[windows.index(window)]), 0, "") for window, by in boards]
    await _add(services, room_id, epoch, token, last, whole=True)


def _rows_of(gifts: Iterable[Gift], windows: Sequence[str]) -> list[Row]:
    """What each gift brings to each board of these windows."""
    rows: list[Row] = []
    for gift in gifts:
        if gift.user_id and gift.coins:
            at_ms = uuid7_ms(gift.id)
            for window in {window_of("day", at_ms), window_of("week", at_ms), "all"} & set(windows):
                rows.append(Row(f"{window}:sum", gift.user_id, gift.coins, gift.user_id, gift.name))
                rows.append(Row(f"{window}:single", f"{gift.id} {gift.user_id}", gift.coins, gift.user_id))
    return rows


async def _older(services: Services, room_id: str, seq: int, before_ms: int) -> list[Row]:
    """What was given before that, for the boards of all time. Raises StoreError, SQLAlchemyError."""
    old = await ask(journal.before, services.engine, room_id, before_ms, limits.SINGLES_MAX, within_s=limits.GIVEN_S)
    rows = [Row("all:sum", user_id, coins, user_id, old.names.get(user_id, "")) for user_id, coins in old.sums.items()]
    rows += [Row("all:single", f"{gift_id} {user_id}", coins, user_id) for gift_id, user_id, coins in old.singles]
    ever = {(gift_id, user_id) for gift_id, user_id, _ in old.singles}
    late = await not_taken_back_yet(services, room_id, old.taken_back, seq)
    for part in old.taken_back:
        if part not in late:
            rows.append(Row("all:sum", part.user_id, -part.coins, part.user_id))
            if (part.gift_id, part.user_id) in ever:
                rows.append(Row("all:single", f"{part.gift_id} {part.user_id}", -part.coins, part.user_id))
    return rows


async def _add(
    services: Services, room_id: str, epoch: str, token: str, rows: Sequence[Row], *, whole: bool = False
) -> None:
    each: list[dict[str, Arg]] = [
        {
            "board_key": keys.room(room_id, TALLY, row.board),
            "member": "" if whole else row.member,
            "amount": row.coins,
            "user_id": row.user_id,
            "name": row.name,
            "expires_s": row.member if whole else 0,
        }
        for row in rows
    ]
    await services.history.change(
        room_id,
        ADD,
        epoch=epoch,
        token=token,
        whole=int(whole),
        singles_max=limits.SINGLES_MAX,
        kept_s=limits.BOARD_ALL_S,
        marked_s=limits.BOARD_MARKED_S,
        each=each,
    )
