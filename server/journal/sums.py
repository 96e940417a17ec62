"""What a partition's entries add up to, kind by kind."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from server.journal.books import LogEntry


class Sums(Struct):
    """What one partition's journal adds up to, up to its watermark."""

    entries: int = 0
    spent: int = 0
    bought: int = 0
    refunded: int = 0
    charged_back: int = 0
    awarded: int = 0
    held: int = 0


def add_kind(sums: Sums, kind: str, coins: int, diamonds: int) -> None:
    """Add what entries of a kind moved."""
    if kind == "gift":
        sums.spent += coins
        sums.awarded += diamonds
    elif kind == "topup":
        sums.bought += coins
    elif kind == "refund":
        sums.refunded += coins
    elif kind == "chargeback":
        sums.charged_back += coins


def moved_on(sums: Sums, balances: dict[str, int], waiting: Sequence[LogEntry]) -> list[tuple[str, int]]:
    """Move the sums by entries that are not journaled yet; the balances that the store has after them."""
    for entry in waiting:
        add_kind(sums, entry.about.kind, entry.about.coins, entry.about.diamonds)
        if entry.balance is not None and entry.about.viewer in balances:
            balances[entry.about.viewer] = entry.balance
    return list(balances.items())


def total_of(each: Iterable[Sums]) -> Sums:
    """All partitions together."""
    total = Sums()
    for sums in each:
        for field in total.__struct_fields__:
            setattr(total, field, getattr(total, field) + getattr(sums, field))
    return total
