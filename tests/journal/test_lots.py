"""Lots: each coin of a top-up is left or spent on a gift, oldest first, and returns to the lot it came from."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.journal import folding
from server.journal.lots import Lots
from server.journal.parts import Gift, Part, SoFar, part_of


def entry(kind: str, ref: str, coins: int = 0, diamonds: int = 0, creator: str | None = None) -> Any:
    """A journal row, as far as lots need it."""
    room = None if creator is None else f"{creator}s-room"
    return SimpleNamespace(kind=kind, ref=ref, coins=coins, diamonds=diamonds, creator_id=creator, room_id=room)


def bought(topup: str, coins: int) -> Any:
    return entry("topup", topup, coins)


def gave(gift: str, coins: int, diamonds: int | None = None, to: str = "ann") -> Any:
    return entry("gift", gift, coins, coins // 2 if diamonds is None else diamonds, to)


def refunded(gift: str) -> Any:
    return entry("refund", gift)


def charged_back(topup: str) -> Any:
    return entry("chargeback", topup)


# (name, what happened, what each top-up has left, what each top-up paid for)
HISTORIES: list[tuple[str, list[Any], dict[str, int], dict[str, dict[str, int]]]] = [
    ("nothing", [], {}, {}),
    ("only bought", [bought("t1", 100)], {"t1": 100}, {"t1": {}}),
    ("a part is spent", [bought("t1", 100), gave("g1", 30)], {"t1": 70}, {"t1": {"g1": 30}}),
    ("all is spent", [bought("t1", 100), gave("g1", 100)], {"t1": 0}, {"t1": {"g1": 100}}),
    (
        "spent between a chargeback's decision and its entry: the next one has paid",
        [bought("t1", 10), bought("t2", 10), gave("g1", 6), gave("g2", 4), entry("chargeback", "t1", 4)],
        {"t1": 0, "t2": 6},
        {"t1": {}, "t2": {"g2": 4}},
    ),
    (
        "the oldest goes first",
        [bought("t1", 100), bought("t2", 100), gave("g1", 100), gave("g2", 1)],
        {"t1": 0, "t2": 99},
        {"t1": {"g1": 100}, "t2": {"g2": 1}},
    ),
    (
        "a gift that two paid for",
        [bought("t1", 100), bought("t2", 100), gave("g1", 130)],
        {"t1": 0, "t2": 70},
        {"t1": {"g1": 100}, "t2": {"g1": 30}},
    ),
    (
        "a gift that three paid for",
        [bought("t1", 10), bought("t2", 20), bought("t3", 30), gave("g1", 5), gave("g2", 50)],
        {"t1": 0, "t2": 0, "t3": 5},
        {"t1": {"g1": 5, "g2": 5}, "t2": {"g2": 20}, "t3": {"g2": 25}},
    ),
    (
        "a refund goes back to both",
        [bought("t1", 100), bought("t2", 100), gave("g1", 130), refunded("g1")],
        {"t1": 100, "t2": 100},
        {"t1": {}, "t2": {}},
    ),
    (
        "refunded coins are the oldest again",
        [bought("t1", 50), gave("g1", 50), bought("t2", 50), gave("g2", 20), refunded("g1"), gave("g3", 60)],
        {"t1": 0, "t2": 20},
        {"t1": {"g3": 50}, "t2": {"g2": 20, "g3": 10}},
    ),
    (
        "a refund leaves the other gifts",
        [bought("t1", 100), gave("g1", 30), gave("g2", 40), refunded("g1")],
        {"t1": 60},
        {"t1": {"g2": 40}},
    ),
    ("charged back, nothing spent", [bought("t1", 100), charged_back("t1")], {"t1": 0}, {"t1": {}}),
    ("charged back, a part spent", [bought("t1", 100), gave("g1", 30), charged_back("t1")], {"t1": 0}, {"t1": {}}),
    (
        "charged back, the other stands",
        [bought("t1", 100), bought("t2", 100), gave("g1", 130), charged_back("t1")],
        {"t1": 0, "t2": 70},
        {"t1": {}, "t2": {"g1": 30}},
    ),
    (
        "the newer one charged back",
        [bought("t1", 100), bought("t2", 100), gave("g1", 130), charged_back("t2")],
        {"t1": 0, "t2": 0},
        {"t1": {"g1": 100}, "t2": {}},
    ),
    (
        "spent after a chargeback",
        [bought("t1", 100), bought("t2", 100), gave("g1", 30), charged_back("t1"), gave("g2", 60)],
        {"t1": 0, "t2": 40},
        {"t1": {}, "t2": {"g2": 60}},
    ),
    (
        "charged back after a refund",
        [bought("t1", 100), gave("g1", 30), refunded("g1"), charged_back("t1")],
        {"t1": 0},
        {"t1": {}},
    ),
    (
        "what moves no coins",
        [bought("t1", 100), entry("freeze", "f1"), gave("g1", 30), entry("unfreeze", "u1")],
        {"t1": 70},
        {"t1": {"g1": 30}},
    ),
]


@pytest.mark.parametrize(
    ("history", "left", "parts"), [row[1:] for row in HISTORIES], ids=[row[0] for row in HISTORIES]
)
def test_after_a_history(history: list[Any], left: dict[str, int], parts: dict[str, dict[str, int]]) -> None:
    """What is left of each top-up, and what it paid for."""
    lots = Lots().take(history).lots
    assert {topup: lot.left for topup, lot in lots.items()} == left
    assert {topup: lot.parts for topup, lot in lots.items()} == parts


# (coins of the gift, its diamonds, coins paid by the first of two top-ups, diamonds of each part)
SHARES = [
    (10, 5, 10, (5,)),
    (10, 5, 4, (2, 3)),
    (10, 5, 5, (2, 3)),
    (3, 2, 1, (0, 2)),
    (100, 0, 50, (0, 0)),
    (7, 7, 3, (3, 4)),
    (999_999_999, 999_999_999, 999_999_998, (999_999_998, 1)),
]


@pytest.mark.parametrize(("coins", "diamonds", "first", "shares"), SHARES)
def test_diamonds_of_a_part(coins: int, diamonds: int, first: int, shares: tuple[int, ...]) -> None:
    """A part has its share of the diamonds, rounded down; the last part has the rest."""
    gift = Gift("g1", "cleo", "bea", "beas-room", coins, diamonds, 0, 7)
    before, parts = SoFar(), []
    for paid in (first, coins - first)[: len(shares)]:
        parts.append(part_of(gift, paid, before))
        before = SoFar(before.coins + paid, before.diamonds + parts[-1].diamonds)
    paid_by_each = (first, coins - first)[: len(shares)]
    assert parts == [Part("g1", "bea", "beas-room", c, d) for c, d in zip(paid_by_each, shares, strict=True)]
    assert before == SoFar(coins, diamonds)


@pytest.mark.parametrize("coins", [101, 1_000])
def test_more_than_was_bought(coins: int) -> None:
    """A journal that spends more than was bought is an error, not a silent result."""
    with pytest.raises(ValueError, match="g1"):
        Lots().take([bought("t1", 100), gave("g1", coins)])


def test_charged_back_and_bought_again() -> None:
    """A lot that was charged back stays empty when its gift is refunded twice over, and the newest pays."""
    lots = Lots().take([bought("t1", 10), gave("g1", 10), charged_back("t1"), bought("t2", 10), refunded("g1")])
    assert {topup: lot.left for topup, lot in lots.lots.items()} == {"t1": 0, "t2": 10}
    assert lots.take([gave("g2", 10)]).lots["t2"].parts == {"g2": 10}


# --- any history -----------------------------------------------------------------------------------------------------
class Model:
    """A wallet coin by coin: each coin knows its top-up, and is held, spent on a gift, or gone."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.held: list[tuple[int, int]] = []  # each coin is (number of its top-up, its own number)
        self.gifts: dict[str, list[tuple[int, int]]] = {}
        self.prices: dict[str, tuple[int, int]] = {}
        self.topups = 0
        self.gone: set[int] = set()

    def buy(self, coins: int) -> None:
        self.rows.append(bought(f"t{self.topups}", coins))
        self.held += [(self.topups, coin) for coin in range(coins)]
        self.topups += 1

    def give(self, coins: int, diamonds: int) -> None:
        coins = min(coins, len(self.held))
        if coins:
            gift = f"g{len(self.gifts)}"
            self.rows.append(gave(gift, coins, diamonds))
            self.held.sort()
            self.gifts[gift], self.held = self.held[:coins], self.held[coins:]
            self.prices[gift] = coins, diamonds

    def refund(self, which: int) -> None:
        whole = [gift for gift, coins in self.gifts.items() if len(coins) == self.prices[gift][0]]
        if whole:
            gift = whole[which % len(whole)]
            self.rows.append(refunded(gift))
            self.held += self.gifts[gift]
            self.gifts[gift] = []

    def charge_back(self, which: int) -> None:
        standing = [topup for topup in range(self.topups) if topup not in self.gone]
        if standing:
            topup = standing[which % len(standing)]
            self.rows.append(charged_back(f"t{topup}"))
            self.gone.add(topup)
            self.held = [coin for coin in self.held if coin[0] != topup]
            self.gifts = {gift: [coin for coin in coins if coin[0] != topup] for gift, coins in self.gifts.items()}

    def left(self) -> Counter[str]:
        return Counter(f"t{topup}" for topup, _ in self.held)

    def parts(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {f"t{topup}": Counter() for topup in range(self.topups)}
        for gift, coins in self.gifts.items():
            for topup, _ in coins:
                found[f"t{topup}"][gift] += 1
        return found


STEPS = st.one_of(
    st.tuples(st.just("buy"), st.integers(1, 40)),
    st.tuples(st.just("give"), st.integers(1, 60), st.integers(0, 60)),
    st.tuples(st.just("refund"), st.integers(0, 9)),
    st.tuples(st.just("charge_back"), st.integers(0, 9)),
)


@given(st.lists(STEPS, max_size=40))
def test_any_history(steps: list[tuple[Any, ...]]) -> None:
    """At every step of any history, lots agree with a wallet that is kept coin by coin."""
    model, lots = Model(), Lots()
    for name, *args in steps:
        known = len(model.rows)
        getattr(model, name)(*args)
        lots.take(model.rows[known:])
        assert {topup: lot.left for topup, lot in lots.lots.items() if lot.left} == model.left()
        assert {topup: lot.parts for topup, lot in lots.lots.items()} == model.parts()
        assert sum(lot.left for lot in lots.lots.values()) == len(model.held)
        for topup, lot in lots.lots.items():
            whole = 0 if int(topup[1:]) in model.gone else lot.coins
            assert lot.left + sum(lot.parts.values()) == whole
            assert lot.left >= 0
            assert all(coins > 0 for coins in lot.parts.values())
    assert Lots().take(model.rows).lots == lots.lots


@given(st.lists(STEPS, max_size=40), st.integers(0, 40))
def test_lots_that_were_kept(steps: list[tuple[Any, ...]], kept_after: int) -> None:
    """Lots that were kept after some entries continue as if they had never been put away."""
    model = Model()
    for name, *args in steps:
        getattr(model, name)(*args)
    kept = folding.encode(Lots().take(model.rows[:kept_after]))
    again = folding.decode(kept)
    assert folding.encode(again) == kept
    assert again.take(model.rows[kept_after:]).lots == Lots().take(model.rows).lots


@given(st.lists(STEPS, max_size=30), st.integers(1, 60), st.integers(0, 60))
def test_a_refund_is_exact(steps: list[tuple[Any, ...]], coins: int, diamonds: int) -> None:
    """A gift that is refunded immediately leaves every lot as it was."""
    model = Model()
    for name, *args in steps:
        getattr(model, name)(*args)
    before, known = Lots().take(model.rows).lots, len(model.rows)
    model.give(coins, diamonds)
    given_now = [refunded(row.ref) for row in model.rows[known:]]
    assert Lots().take([*model.rows, *given_now]).lots == before
