"""Lots: which top-up paid for which gift. A gift spends the oldest coins; a refund returns them to their top-up.

Lots are computed from a wallet's journal entries when needed, so that no gift pays for the bookkeeping.
"""

import heapq
from collections.abc import Iterable
from typing import Any, assert_never

import msgspec
from msgspec import Struct

from server.entries import KINDS, LotMove


class Lot:
    """The coins of one top-up: how many are left, and which gifts the others paid for.

    Kept lots are packed, and unpacked when somebody reads their `parts`: most have no part in a reversal.
    """

    __slots__ = ("_packed", "_parts", "coins", "gone", "left", "topup_id")

    def __init__(self, topup_id: str, coins: int, left: int, *, gone: bool = False) -> None:
        self.topup_id = topup_id
        self.coins = coins
        self.left = left
        self.gone = gone  # charged back
        self._parts: dict[str, int] | None = {}
        self._packed = msgspec.Raw()

    @property
    def parts(self) -> dict[str, int]:
        """The coins of each gift that it pays for, by the gift's id."""
        if self._parts is None:
            self._parts = _PARTS.decode(self._packed)
        return self._parts

    @parts.setter
    def parts(self, parts: dict[str, int]) -> None:
        self._parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lot) and self.pack() == other.pack()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def pack(self) -> "Packed":
        """The lot as it is kept."""
        parts = self._packed if self._parts is None else msgspec.Raw(msgspec.msgpack.encode(self._parts))
        return Packed(self.topup_id, self.coins, self.left, self.gone, parts)


class Packed(Struct, array_like=True, frozen=True):
    """A lot as it is kept; `parts` are encoded on their own."""

    topup_id: str
    coins: int
    left: int
    gone: bool
    parts: msgspec.Raw

    def unpack(self) -> Lot:
        lot = Lot(self.topup_id, self.coins, self.left, gone=self.gone)
        lot._parts, lot._packed = None, self.parts
        return lot


_PARTS = msgspec.msgpack.Decoder(dict[str, int])


class Lots:
    """A wallet's lots after some entries. It can continue from lots that were kept."""

    def __init__(self, kept: Iterable[Lot] = ()) -> None:
        self.lots: dict[str, Lot] = {lot.topup_id: lot for lot in kept}
        self._in_order = list(self.lots.values())
        self._open = [n for n, lot in enumerate(self._in_order) if lot.left]  # a heap: the oldest lot is the first
        self._number = {topup_id: n for n, topup_id in enumerate(self.lots)}
        self._payers: dict[str, list[Lot]] | None = None  # of each gift; made when a reversal needs it

    def take(self, rows: Iterable[Any]) -> "Lots":
        """Apply journal rows (kind, ref, coins), oldest first."""
        for row in rows:
            kind = KINDS.get(row.kind)
            match LotMove.NOTHING if kind is None else kind.lot:
                case LotMove.BRINGS:
                    self._bring(Lot(row.ref, row.coins, 0), row.coins)
                case LotMove.SPENDS:
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

    def spent_since(self, topup_id: str, coins: int) -> dict[str, int]:
        """The gifts, with coins, that a lot has paid for since it had `coins` left."""
        lot, found = self.lots[topup_id], {}
        spent = coins - lot.left
        for gift_id in reversed(lot.parts):
            if spent <= 0:
                break
            found[gift_id] = min(lot.parts[gift_id], spent)
            spent -= found[gift_id]
        return found

    def _bring(self, lot: Lot, coins: int) -> None:
        self.lots[lot.topup_id] = lot
        self._number[lot.topup_id] = len(self._in_order)
        self._in_order.append(lot)
        self._put_in(lot, coins)

    def _put_in(self, lot: Lot, coins: int) -> None:
        if coins and not lot.left:
            heapq.heappush(self._open, self._number[lot.topup_id])
        lot.left += coins

    def _spend(self, gift_id: str, coins: int) -> None:
        while coins:
            if not self._open:
                raise ValueError(f"gift {gift_id} spends {coins} coins that no top-up brought")
            lot = self._in_order[self._open[0]]
            if not lot.left:
                heapq.heappop(self._open)
                continue
            part = min(lot.left, coins)
            lot.left -= part
            coins -= part
            lot.parts[gift_id] = lot.parts.get(gift_id, 0) + part
            if self._payers is not None:
                self._payers.setdefault(gift_id, []).append(lot)

    def _charge_back(self, topup_id: str, coins: int) -> None:
        """Remove the lot. `coins` of it were left when the chargeback was decided.

        A wallet that was unfrozen in between may have spent some of them: then the next lots pay for those gifts.
        """
        lot, moved = self.lots[topup_id], self.spent_since(topup_id, coins)
        lot.left, lot.gone, lot.parts = 0, True, {}
        for gift_id, part in moved.items():
            self._spend(gift_id, part)

    def _give_back(self, gift_id: str) -> None:
        if self._payers is None:
            self._payers = self._find_payers()
        for lot in self._payers.pop(gift_id, ()):
            self._put_in(lot, lot.parts.pop(gift_id, 0))

    def _find_payers(self) -> dict[str, list[Lot]]:
        found: dict[str, list[Lot]] = {}
        for lot in self._in_order:
            for gift_id in lot.parts:
                found.setdefault(gift_id, []).append(lot)
        return found
