"""Everything in any order against a plain model: every wallet, counter and journal row must agree."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from protocol.refusals import Refused
from server import limits
from server.journal.database import reading
from server.journal.tables import entries
from server.money.results import Spend, TopUpConflict
from server.orders.freezes import Freezes
from server.orders.own_limits import OwnLimits
from server.orders.refunds import Refunds
from server.orders.topups import TopUp
from server.store import keys
from tests.conftest import Stores
from tests.money import a_gift
from tests.stores import ValkeyProcess
from tests.torture import rounds
from tests.torture.bank import CLOCK, Bank, Node
from tests.torture.model import Model, Row, Told

USERS = ("ann", "ben", next(f"cy{n}" for n in range(10_000) if keys.partition_of(f"cy{n}") == keys.partition_of("ann")))
CREATORS = ("creator1", "creator2")
FIELDS = ("c", "st", "limit", "next_limit", "next_day", "day", "spent")
GIFT = st.tuples(
    st.sampled_from(USERS), st.sampled_from(CREATORS), st.integers(1, 40), st.sampled_from((None, None, "c1", "c2"))
)
PICK = st.integers(0, 1_000)


class BankAgainstModel(RuleBasedStateMachine):
    """One bank per run of rules; the test supplies `room` and `empty_journal`."""

    room: ValkeyProcess
    empty_journal: Path

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.refused: list[Spend] = []
        self.numbers = 0
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="lrt-", dir="/tmp")
        self.bank = Bank(Path(self.folder.name), self.empty_journal, self.room, seed=0)
        self.look = self.bank.look()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        self.bank.store.start()
        self.run(self.bank.node.start())
        for user in USERS:
            self.sell(user, 100)

    def teardown(self) -> None:
        try:
            if self.bank.store.process is not None:
                self.journal_agrees()
        finally:
            self.look.close()
            self.run(self.bank.close())
            self.runner.close()
            self.folder.cleanup()

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # --- what people and the host platform do ------------------------------------------------------------------
    @rule(gifts=st.lists(GIFT, min_size=1, max_size=6))
    def send(self, gifts: list[tuple[str, str, int, str | None]]) -> None:
        """Send new gifts, all at once."""
        self.pay([a_gift(viewer, coins, creator=to, combo=combo) for viewer, to, coins, combo in gifts])

    @rule(pick=PICK, times=st.integers(1, 3))
    @precondition(lambda self: self.model.paid)
    def send_again(self, pick: int, times: int) -> None:
        """Repeat a paid gift unchanged."""
        self.pay([self.a_paid_one(pick)] * times)

    @rule(pick=PICK, coins=st.integers(1, 40))
    @precondition(lambda self: self.model.paid)
    def send_altered(self, pick: int, coins: int) -> None:
        """Reuse a paid gift's id for something else, together with the gift itself."""
        paid = self.a_paid_one(pick)
        self.pay([a_gift(paid.viewer, coins + paid.coins, creator=paid.creator, id=paid.gift_id), paid])

    @rule(pick=PICK)
    @precondition(lambda self: self.refused)
    def send_refused_one(self, pick: int) -> None:
        """Repeat a refused gift under its id: it may be paid by now."""
        self.pay([self.refused[pick % len(self.refused)]])

    @rule(user=st.sampled_from(USERS), coins=st.integers(1, 60))
    def sell(self, user: str, coins: int) -> None:
        self.buy(user, f"topup-{self.number()}", coins)

    @rule(pick=PICK, user=st.sampled_from(USERS), coins=st.integers(1, 60))
    def sell_again(self, pick: int, user: str, coins: int) -> None:
        """Repeat an order's id, usually for something else."""
        id = list(self.model.bought)[pick % len(self.model.bought)]
        self.buy(*((user, id, coins) if pick % 2 else (self.model.bought[id][0], id, self.model.bought[id][1])))

    @rule(pick=PICK)
    @precondition(lambda self: self.model.paid)
    def refund(self, pick: int) -> None:
        gift = self.a_paid_one(pick)
        self.run(self.bank.drain())  # only a journaled gift can be refunded
        done = self.run(Refunds(self.bank.engine, self.bank.node.wallet, CLOCK).refund(gift.gift_id, "a test"))
        assert done.duplicate is self.model.refund(gift.gift_id)

    @rule(user=st.sampled_from(USERS), frozen=st.booleans())
    def freeze(self, user: str, frozen: bool) -> None:
        order, freezes = f"order-{self.number()}", Freezes(self.bank.engine, self.bank.node.wallet, CLOCK)
        self.run((freezes.freeze if frozen else freezes.unfreeze)(user, order))
        self.model.set_frozen(user, order, frozen)
        self.pay([a_gift(user, 1)])

    @rule(user=st.sampled_from(USERS), coins=st.integers(0, 80))
    def limit(self, user: str, coins: int) -> None:
        """Set a viewer's own daily limit; 0 removes it from tomorrow."""
        order = f"order-{self.number()}"
        done = self.run(OwnLimits(self.bank.engine, self.bank.node.wallet, CLOCK).set(user, order, coins))
        self.model.set_limit(user, order, coins, self.today())
        assert (done.coins_per_day or 0) == self.model.limit_on(user, self.today())
        self.pay([a_gift(user, 20), a_gift(user, 1)])

    # --- what happens to the bank ------------------------------------------------------------------------------
    @rule()
    def drain(self) -> None:
        self.run(self.bank.drain())

    @rule()
    def the_store_dies(self) -> None:
        """It comes back from its disk with everything."""
        self.bank.store.kill()
        self.bank.store.start()
        self.run(self.bank.node.reconnected())

    @rule()
    def the_store_is_lost(self) -> None:
        """Everything is journaled, then the store is replaced by an empty one; streaks begin again."""
        self.run(self.bank.drain())
        self.bank.store.kill()
        shutil.rmtree(self.bank.data)
        self.bank.store.start()
        self.run(self.bank.node.reconnected())
        self.model.combos.clear()

    @rule()
    def the_node_is_restarted(self) -> None:
        self.run(self.bank.node.stop())
        self.bank.node = Node(self.bank.settings, self.bank.book)
        self.run(self.bank.node.start())

    @rule()
    def audit(self) -> None:
        """The audit finds nothing wrong with what is journaled by now."""
        report = self.run(self.bank.audit())
        assert report.wrong == [], report

    # --- what must be true -------------------------------------------------------------------------------------
    @invariant()
    def wallets_agree(self) -> None:
        if self.bank.store.process is None:
            return
        for user in USERS:
            held, status, *limit, day, spent = self.look.hmget(keys.wallet(user), *FIELDS)
            assert int(held or 0) == self.model.coins[user]
            assert (status == "frozen") is (user in self.model.frozen)
            now, later, from_day = self.model.limits.get(user, (0, None, None))
            assert [int(limit[0] or 0), *(None if each is None else int(each) for each in limit[1:])] == [
                now,
                later,
                from_day,
            ]
            assert (int(spent) if day == str(self.today()) else 0) == self.model.spent[(user, self.today())]
            for creator in CREATORS:
                counter = (keys.partition_of(user), creator)
                assert int(self.look.get(keys.credit(*counter)) or 0) == self.model.credits[counter]

    def journal_agrees(self) -> None:
        """At the end of a run the journal has the model's rows, in order, and the audit is clean."""
        self.run(self.bank.drain())
        found: dict[int, list[Row]] = {}
        with reading(self.bank.engine).connect() as connection:
            in_order = select(entries).where(entries.c.kind != "open").order_by(entries.c.epoch, entries.c.n)
            for row in connection.execute(in_order):
                known = (row.kind, row.user_id, row.ref, row.coins, row.diamonds, row.balance, row.credited)
                found.setdefault(row.partition, []).append(Row(*known, row.combo_count))
        assert found == self.model.journal
        assert self.bank.set_aside() == {}
        report = self.run(self.bank.audit())
        assert report.ok, report
        assert report.not_compared == {}
        assert report.coins_held == sum(self.model.coins.values())

    # --- helpers -----------------------------------------------------------------------------------------------
    def today(self) -> int:
        """The day by the store's clock, UTC."""
        return int(self.look.time()[0]) // 86_400

    def a_paid_one(self, pick: int) -> Spend:
        return list(self.model.paid.values())[pick % len(self.model.paid)][0]

    def pay(self, gifts: list[Spend]) -> None:
        """Send gifts to the wallet at once, and compare its answers with the model's, in order."""
        said = self.run(self._pay(gifts))
        for gift, one in zip(gifts, said, strict=True):
            expected = self.model.gift(gift, self.today())
            assert one == expected, gift
            if isinstance(expected, str) and expected != "conflict":
                self.refused.append(gift)

    async def _pay(self, gifts: list[Spend]) -> list[Told | str]:
        outcomes = await asyncio.gather(*map(self.bank.node.wallet.spend, gifts), return_exceptions=True)
        told: list[Told | str] = []
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                told.append(outcome.reason.value)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                told.append(Told(outcome.balance, outcome.combo_count, outcome.duplicate))
        return told

    def buy(self, user: str, id: str, coins: int) -> None:
        expected = self.model.top_up(user, id, coins)
        try:
            done = self.run(self.bank.node.purchases.top_up(user, TopUp(id, coins, "test")))
            assert (done.balance, done.duplicate) == expected
        except TopUpConflict:
            assert expected == "conflict"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit waits for a journal that moves, and here nobody journals meanwhile."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.1)


@pytest.mark.timeout(rounds(240, 1_800))
def test_the_bank_agrees_with_its_model(run_stores: Stores, empty_journal: Path) -> None:
    """Gifts, sales, refunds, freezes, limits, repeats, changes, crashes, losses and audits in any order."""
    machine = type("Machine", (BankAgainstModel,), {"room": run_stores.room, "empty_journal": empty_journal})
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=rounds(6, 250),
            stateful_step_count=rounds(16, 60),
            derandomize=True,
            phases=rounds([hypothesis.Phase.generate], [hypothesis.Phase.generate, hypothesis.Phase.shrink]),
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


def test_a_story_with_every_order_before_a_loss(run_stores: Stores, empty_journal: Path) -> None:
    """The short form above rarely has limits, freezes and refunds before a lost store; this has them twice."""
    machine: Any = type("Machine", (BankAgainstModel,), {"room": run_stores.room, "empty_journal": empty_journal})()
    try:
        machine.open()
        for _ in range(2):
            for coins in (60, 90, 40):
                machine.send([("ann", "creator1", 5, None), ("ben", "creator2", 3, "c1"), ("ann", "creator2", 2, None)])
                machine.limit("ann", coins)
            machine.limit("ben", 50)
            machine.limit("ben", 0)
            machine.freeze("ben", True)
            machine.refund(1)
            machine.the_store_is_lost()
            machine.wallets_agree()
            machine.send_again(1, 2)
            machine.freeze("ben", False)
            machine.sell("ann", 40)
    finally:
        machine.teardown()
