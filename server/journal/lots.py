"""Lots: which top-up paid for which gift. A gift spends the oldest coins; a refund returns them to their top-up.

Lots are computed from a wallet's journal entries when needed, so that no gift pays for the bookkeeping.
"""

from collections.abc import Iterable
from typing import Any, assert_never

from msgspec import Struct

from server.entries import KINDS, LotMove, Share


class Part(Struct, frozen=True):
    """The part of a gift that one top-up paid for."""

    gift_id: str
    creator: str
    room: str | None
    coins: int
    diamonds: int


class Lot(Struct):
    """The coins of one top-up: how many are left, and which gifts the others paid for."""

    topup_id: str
    coins: int
    left: int
    gone: bool = False  # charged back
    parts: dict[str, int] = {}  # msgspec copies it; gift id: coins


class _Gift(Struct):
    creator: str
    room: str | None
    coins: int
    diamonds: int


class Lots:
    """A wallet's lots after some entries."""

    def __init__(self) -> None:
        self.lots: dict[str, Lot] = {}
        self.gifts: dict[str, _Gift] = {}

    def take(self, rows: Iterable[Any]) -> "Lots":
        """Apply journal rows (kind, ref, creator_id, room_id, coins, diamonds), oldest first."""
        for row in rows:
            kind = KINDS.get(row.kind)
            match LotMove.NOTHING if kind is None else kind.lot:
                case LotMove.BRINGS:
                    self.lots[row.ref] = Lot(row.ref, row.coins, row.coins)
                case LotMove.SPENDS:
                    self.gifts[row.ref] = _Gift(row.creator_id, row.room_id, row.coins, row.diamonds)
                    self._spend(row.ref, row.coins)
                case LotMove.GIVES_BACK:
                    self._give_back(row.ref)
                case LotMove.TAKES_BACK:
                    self._charge_back(row.ref, row.coins)
                case LotMove.NOTHING:
                    pass
                case other:
                    assert_never(other)
        return self

    def _spend(self, gift_id: str, coins: int) -> None:
        for lot in self.lots.values():
            part = min(lot.left, coins)
            if part:
                lot.left -= part
                lot.parts[gift_id] = lot.parts.get(gift_id, 0) + part
                coins -= part
            if not coins:
                return
        raise ValueError(f"gift {gift_id} spends {coins} coins that no top-up brought")

    def _charge_back(self, topup_id: str, coins: int) -> None:
        """Remove the lot. `coins` of it were left when the chargeback was decided.

        A wallet that was unfrozen in between may have spent some of them: then the next lots pay for those gifts.
        """
        lot = self.lots[topup_id]
        spent, parts = coins - lot.left, lot.parts
        lot.left, lot.gone, lot.parts = 0, True, {}
        for gift_id in reversed(parts):
            part = min(parts[gift_id], spent)
            if part <= 0:
                break
            self._spend(gift_id, part)
            spent -= part

    def _give_back(self, gift_id: str) -> None:
        for lot in self.lots.values():
            lot.left += lot.parts.pop(gift_id, 0)

    def parts_of(self, topup_id: str) -> list[Part]:
        """The gifts that this top-up pays for: coins exactly, diamonds in proportion and rounded down."""
        found = []
        for gift_id, coins in self.lots[topup_id].parts.items():
            gift = self.gifts[gift_id]
            diamonds = gift.diamonds * coins // gift.coins
            found.append(Part(gift_id, gift.creator, gift.room, coins, diamonds))
        return found

    def paid_by(self, gift_id: str) -> int:
        """A gift's coins that are neither refunded nor charged back."""
        return sum(lot.parts.get(gift_id, 0) for lot in self.lots.values())


def shares_of(parts: Iterable[Part]) -> list[Share]:
    """Sum the parts by creator."""
    sums: dict[str, Share] = {}
    for part in parts:
        so_far = sums.get(part.creator, Share(part.creator, 0, 0))
        sums[part.creator] = Share(part.creator, so_far.coins + part.coins, so_far.diamonds + part.diamonds)
    return list(sums.values())
