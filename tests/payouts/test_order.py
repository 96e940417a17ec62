"""Whatever comes, in any order, twice, late or from several processes: the numbers add up, and money leaves once."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from server import limits
from server.payouts import bounds
from server.payouts.asking import NotPaid
from server.payouts.desk import ACTS
from server.payouts.rows import Forbidden, NoSuchPayout
from server.payouts.states import OPEN, State
from server.providers.interface import Outcome, Standing
from tests.payouts.house import House

FAULTS = ("ok", "drop", "drop_before", "500", "500_done", "duplicate", "429", "400", "garbage", "twice", "other_amount")
steps = st.one_of(
    st.tuples(st.just("earn"), st.integers(1, 600)),
    st.tuples(st.just("ask"), st.integers(200, 900)),
    st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from(["olga", "pat"])),
    st.tuples(st.just("round"), st.sampled_from([1_000, 3_600_000, limits.DAY_MS])),
    st.tuples(st.just("fault"), st.sampled_from(FAULTS)),
    st.tuples(st.just("becomes"), st.sampled_from(["paid", "failed", "returned", "in_transit"])),
    st.tuples(st.just("webhook"), st.integers(0, 5)),
    st.tuples(st.just("says"), st.sampled_from(list(Standing))),
    st.tuples(st.just("refund"), st.integers(0, 5)),
    st.tuples(st.just("charge_back"), st.integers(0, 5)),
)


class World:
    """One house, driven step by step; webhooks are kept, so that they come late, twice, or never."""

    def __init__(self, house: House, name: str) -> None:
        self.house, self.name = house, name
        self.sent: list[Any] = []
        self.asked = 0

    @property
    def newest(self) -> str:
        return f"{self.name}-p{self.asked}"

    def do(self, step: str, value: Any) -> None:
        if step in ACTS:
            return self._desk(step, value)
        getattr(self, f"_{step}")(value)

    def _desk(self, act: str, by: str) -> None:
        with contextlib.suppress(Forbidden, NoSuchPayout):
            self.house.do(act, self.newest, by)

    def _earn(self, diamonds: int) -> None:
        self.house.earn(self.name, diamonds, fans=1)

    def _ask(self, diamonds: int) -> None:
        try:
            self.house.ask(diamonds, f"{self.name}-p{self.asked + 1}", self.name)
        except NotPaid:
            return
        self.asked += 1

    def _round(self, ms: int) -> None:
        self.house.round(ms)

    def _fault(self, fault: str) -> None:
        self.house.bank.faults.append(fault)

    def _becomes(self, status: str) -> None:
        if self.asked and (key := self.house.payout(self.newest).key) in self.house.bank.payouts:
            self.sent.append(self.house.bank.becomes(key, status))

    def _webhook(self, which: int) -> None:
        if self.sent:
            self.house.webhook(self.sent[which % len(self.sent)])

    def _says(self, standing: Standing) -> None:
        if self.asked:
            self.house.hear(Outcome(standing), self.newest, self.house.payout(self.newest).batch or None)

    def _refund(self, which: int) -> None:
        self._reverse("refund", "gifts", which)

    def _charge_back(self, which: int) -> None:
        self._reverse("charge_back", "topups", which)

    def _reverse(self, verb: str, of: str, which: int) -> None:
        shop = self.house.shops.get(f"fan0-{self.name}")
        if shop is None:
            return
        ids = list(getattr(shop, of))
        getattr(shop, verb)(ids[which % len(ids)])
        while shop.under_way:
            shop.journal()

    def check(self) -> None:
        """Section 2's equation; what is held is the open payout's, and what is paid is the paid ones'."""
        _, held, paid, _ = self.house.numbers(self.name)
        rows = [self.house.payout(f"{self.name}-p{n}") for n in range(1, self.asked + 1)]
        assert held == sum(row.diamonds for row in rows if row.state in OPEN)
        assert paid == sum(row.diamonds for row in rows if row.state is State.PAID)
        posts = [key for verb, key in self.house.bank.requests if verb == "POST"]
        for row in rows:
            taken = [key for key in posts if key == row.key]
            again = [act for act in self.house.acts(row.id) if act.act == "not_sent"]
            assert len(taken) <= 1 + len(again), "sent again only when it surely had not left"


_names = iter(range(10**9))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=st.lists(steps, max_size=30))
def test_any_order_adds_up(house: House, walk: list[tuple[str, Any]]) -> None:
    """Gifts, reversals, requests, acts and answers (late, doubled, lost, contradictory) keep the equation."""
    house.bank.faults.clear()
    world = World(house, f"c{next(_names)}")
    for step in [("earn", 500), ("ask", 400), *walk]:
        world.do(*step)
        world.check()
    house.check()


# --- crashes -------------------------------------------------------------------------------------------------------
class Died(BaseException):
    """The process was killed here."""


def _killed(house: House, at: int, run: Any) -> bool:
    """Kill the process before its `at`-th statement. False when it has ended before."""
    count = 0

    def die(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise Died

    event.listen(house.engine, "before_cursor_execute", die)
    event.listen(house.engine, "commit", die)
    try:
        run()
    except Died:
        return True
    finally:
        event.remove(house.engine, "before_cursor_execute", die)
        event.remove(house.engine, "commit", die)
    return False


@pytest.mark.parametrize("fault", ["ok", "drop"])
def test_a_crash_between_any_two_lines(house: House, fault: str) -> None:
    """Whichever statement of a round is the last one, the payout leaves at most once and its hold ends once."""
    for at in range(1, 60):
        creator, id = f"c{at}", f"p{at}"
        house.earn(creator)
        house.ask(id=id, creator=creator)
        house.do("approve", id)
        house.bank.faults.clear()
        house.bank.faults.append(fault)
        house.later(1_000)
        house.audited()
        died = _killed(house, at, house.runner.once)
        house.bank.faults.clear()
        house.round(bounds.POLL_MS)
        key = house.payout(id).key
        assert [verb for verb, of in house.bank.requests if of == key].count("POST") <= 1
        if key in house.bank.payouts:
            sent = house.bank.becomes(key, "paid")
            _killed(house, at, lambda sent=sent: house.webhook(sent))
            house.webhook(sent)
            assert house.numbers(creator) == (0, 0, 1_000, 0)
        else:
            assert house.state(id) == "unknown", "it was committed as submitted, and nobody knows"
            house.do("fail", id)
            assert house.numbers(creator) == (1_000, 0, 0, 0)
        if not died:
            break
    else:
        raise AssertionError("the round is longer than this test")
    house.check()


def test_everybody_at_once(house: House) -> None:
    """Two processes' rounds, two operators, a webhook sent many times, and a late failure: one hold, one end."""
    for n in range(8):
        creator, id = f"c{n}", f"p{n}"
        house.earn(creator)
        house.ask(id=id, creator=creator)
        house.do("approve", id)
        house.later()
        house.audited()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: house.make_runner().once(), range(4)))
        key = house.payout(id).key
        assert [each for each in house.bank.requests if each == ("POST", key)] == [("POST", key)]
        paid = house.bank.becomes(key, "paid")
        begin = threading.Barrier(6)

        def act(which: int, id: str = id, paid: Any = paid, begin: threading.Barrier = begin) -> None:
            begin.wait()
            if which < 3:
                return house.webhook(paid)
            with contextlib.suppress(Forbidden):
                house.do(("paid", "fail", "cancel")[which - 3], id, f"operator-{which}")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(act, range(6)))
        available, held, redeemed, debt = house.numbers(creator)
        assert (held, debt, available + redeemed) == (0, 0, 1_000)
        assert house.state(id) in ("paid", "failed", "returned")
    house.check()
