"""Sums over a partition's entries, by kind."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from server.entries import KINDS, TOTALS, Kind, Total
from server.journal.books import LogEntry


class Sums(Struct):
    """The sums over one partition's journal, up to its watermark."""

    entries: int = 0
    spent: int = 0
    bought: int = 0
    refunded: int = 0
    charged_back: int = 0
    awarded: int = 0
    held: int = 0


assert {total.sum for total in TOTALS} < set(Sums.__struct_fields__)


def add_kind(sums: Sums, kind: Kind | None, coins: int, diamonds: int) -> None:
    """Add what entries of a kind moved. An unknown kind, from a newer program, moves none of these sums."""
    if kind is not None and kind.total is not None:
        _add(sums, kind.total, coins)
    if kind is not None and kind.total_diamonds is not None:
        _add(sums, kind.total_diamonds, diamonds)


def _add(sums: Sums, total: Total, amount: int) -> None:
    setattr(sums, total.sum, getattr(sums, total.sum) + amount)


def held_by(sums: Sums) -> tuple[int, str]:
    """The coins that must be in the wallets according to the sums, and the formula for a finding."""
    held, formula = 0, ""
    for kind in KINDS.values():
        if kind.coins and kind.total is not None:
            amount = getattr(sums, kind.total.sum)
            held += kind.coins * amount
            formula += f" {'+' if kind.coins > 0 else '-'} {kind.total.sum.replace('_', ' ')} {amount}"
    return held, formula.removeprefix(" + ")


def with_waiting(sums: Sums, balances: dict[str, int], waiting: Sequence[LogEntry]) -> list[tuple[str, int]]:
    """Add entries that are not journaled yet to the sums. Returns the balances that the store has after them."""
    for entry in waiting:
        add_kind(sums, entry.kind, entry.about.coins, entry.about.diamonds)
        if entry.balance is not None and entry.about.viewer in balances:
            balances[entry.about.viewer] = entry.balance
    return list(balances.items())


def total_of(each: Iterable[Sums]) -> Sums:
    """The sums over all partitions."""
    total = Sums()
    for sums in each:
        for field in total.__struct_fields__:
            setattr(total, field, getattr(total, field) + getattr(sums, field))
    return total
