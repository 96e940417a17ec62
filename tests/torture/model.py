"""What the bank should do, in plain Python: no store, no SQL, one thing after the other."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from server.money.results import Spend
from server.store import keys


class Row(NamedTuple):
    """One entry of a partition's journal."""

    kind: str
    user: str
    ref: str
    coins: int
    diamonds: int
    balance: int
    credited: int | None
    combo_count: int


class Told(NamedTuple):
    """The reply to a paid gift."""

    balance: int
    combo_count: int
    duplicate: bool


@dataclass
class Model:
    """Wallets, counters and journal as they should be."""

    coins: Counter[str] = field(default_factory=Counter)
    frozen: set[str] = field(default_factory=set)
    credits: Counter[tuple[int, str]] = field(default_factory=Counter)
    combos: Counter[tuple[str, str]] = field(default_factory=Counter)
    paid: dict[str, tuple[Spend, Told]] = field(default_factory=dict)
    bought: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    limits: dict[str, tuple[int, int | None, int | None]] = field(default_factory=dict)
    spent: Counter[tuple[str, int]] = field(default_factory=Counter)
    journal: dict[int, list[Row]] = field(default_factory=dict)

    def gift(self, spend: Spend, today: int) -> Told | str:
        """Pay a gift on this day, or return why not."""
        if spend.gift_id in self.paid:
            before, told = self.paid[spend.gift_id]
            return told._replace(duplicate=True) if before.fingerprint == spend.fingerprint else "conflict"
        if spend.viewer in self.frozen:
            return "wallet_frozen"
        if self.coins[spend.viewer] < spend.coins:
            return "insufficient_coins"
        most = self.limit_on(spend.viewer, today)
        if most and self.spent[(spend.viewer, today)] + spend.coins > most:
            return "spend_limit"
        self.spent[(spend.viewer, today)] += spend.coins
        counter = (keys.partition_of(spend.viewer), spend.creator)
        self.coins[spend.viewer] -= spend.coins
        self.credits[counter] += spend.diamonds
        streak = 0
        if spend.combo:
            self.combos[(spend.viewer, spend.combo)] += spend.count
            streak = self.combos[(spend.viewer, spend.combo)]
        told = Told(self.coins[spend.viewer], streak, False)
        self.paid[spend.gift_id] = spend, told
        row = Row("gift", spend.viewer, spend.gift_id, spend.coins, spend.diamonds, told.balance, None, streak)
        self._write(row._replace(credited=self.credits[counter]))
        return told

    def top_up(self, user: str, id: str, coins: int) -> tuple[int, bool] | str:
        """Sell coins. Returns the balance after it, and whether the order was a duplicate."""
        if id in self.bought:
            same = self.bought[id][:2] == (user, coins)
            return (self.bought[id][2], True) if same else "conflict"
        self.coins[user] += coins
        self.bought[id] = user, coins, self.coins[user]
        self._write(Row("topup", user, id, coins, 0, self.coins[user], None, 0))
        return self.coins[user], False

    def refund(self, gift_id: str) -> bool:
        """Give a gift back. Returns whether that was a duplicate."""
        if gift_id in self.refunded:
            return True
        self.refunded.add(gift_id)
        spend = self.paid[gift_id][0]
        self.coins[spend.viewer] += spend.coins
        self._write(
            Row("refund", spend.viewer, gift_id, spend.coins, spend.diamonds, self.coins[spend.viewer], None, 0)
        )
        return False

    def set_frozen(self, user: str, order: str, frozen: bool) -> None:
        (self.frozen.add if frozen else self.frozen.discard)(user)
        self._write(Row("freeze" if frozen else "unfreeze", user, order, 0, 0, self.coins[user], None, 0))

    def limit_on(self, user: str, day: int) -> int:
        """The limit that applies on a day; 0 for none."""
        now, later, from_day = self.limits.get(user, (0, None, None))
        return later if later is not None and from_day is not None and day >= from_day else now

    def set_limit(self, user: str, order: str, coins: int, today: int) -> None:
        """A lower limit applies at once; a higher one, or none, from tomorrow."""
        own = self.limit_on(user, today)
        lower = own == 0 or 0 < coins <= own
        self.limits[user] = (coins, None, None) if lower else (own, coins, today + 1)
        self._write(Row("limit", user, order, 0, 0, self.coins[user], None, 0))

    def _write(self, row: Row) -> None:
        self.journal.setdefault(keys.partition_of(row.user), []).append(row)
