"""A month of a site: people buy and give, some take it back, creators are paid by a bank that fails, processes die.

All that is stored is real: the wallet store, the journal, the drain, the audit and the desk of payouts. Only the
payment service's server is the test's own.
"""

import asyncio
import contextlib
import random
import signal
import sys
from collections import Counter
from typing import Any

from sqlalchemy import event, select

from protocol.refusals import Refused
from server import limits
from server.journal import earnings
from server.journal.audit import Audit, Report
from server.journal.database import reading
from server.journal.drain import Drain
from server.journal.payouts import payouts
from server.journal.trial import lines, out_of_balance
from server.money.results import Paid
from server.orders.chargebacks import Chargebacks
from server.orders.freezes import Freezes
from server.orders.refunds import Refunds
from server.orders.rows import CannotReverse, NotYet
from server.orders.topups import Purchases, TopUp
from server.payouts import rows
from server.payouts.asking import NotPaid, Standing
from server.payouts.rows import Payout
from server.payouts.states import OPEN, OUT, State
from tests.money import a_gift
from tests.payouts.house import House
from tests.program import ROOT
from tests.torture import rounds
from tests.torture.bank import WAIT_S
from tests.torture.clocks import World

DAYS, SETTLING_DAYS, DAY_MINUTES = rounds(10, 30), rounds(6, 8), 1_440
REGIONS = "default", "JP", "KW", "DE"  # of the card of tests/payouts/house.py: EUR, JPY, KWD, EUR
FAULTS = ("drop", "drop_before", "500", "500_done", "duplicate", "429", "400", "garbage", "twice", "other_amount")
AT_ONCE = 50


class Died(BaseException):
    """The process was killed here."""


class Month:
    """Plays a month, day by day, and adds up what was done."""

    def __init__(self, world: World, house: House, viewers: int, creators: int, gifts_a_day: int) -> None:
        self.world, self.house, self.engine = world, house, house.engine
        self.random = random.Random(30)
        self.viewers = [f"fan{n}" for n in range(viewers)]
        self.creators = [f"star{n}" for n in range(creators)]
        self.gifts_a_day = gifts_a_day
        self.gifts: list[str] = []
        self.topups: list[str] = []
        self.late: list[Any] = []  # webhooks that come another day
        self.did: Counter[str] = Counter()
        self.asked = 0
        wallet = world.bank.node.wallet
        self.purchases = Purchases(self.engine, wallet, house.clock)
        self.refunds = Refunds(self.engine, wallet, house.clock)
        freezes = Freezes(self.engine, wallet, house.clock)
        self.chargebacks = Chargebacks(self.engine, wallet, house.clock, self.refunds, freezes)
        for n, creator in enumerate(self.creators):
            house.standings[creator] = Standing(region=REGIONS[n % len(REGIONS)], tax="none")
        house.now_ms = world.now_ms

    # --- a day -----------------------------------------------------------------------------------------------------
    async def play(self, drain: Drain, audit: Audit) -> Report:
        """All days. Returns the last audit's report."""
        for day in range(DAYS):
            await self._day(day, drain)
            report = await audit.run(freeze=True)
            assert report.ok, f"day {day}: {report.why_not()}"
            self._pay()
            self._tell()
            if day % 7 == 6:
                self.check()
        await self._settle(drain, audit)
        report = await audit.run(freeze=True)
        assert report.ok, report.why_not()
        self.check()
        return report

    async def _day(self, day: int, drain: Drain) -> None:
        await self._next_day()
        buyers = self.viewers if day == 0 else self.random.sample(self.viewers, len(self.viewers) // 20)
        await self._together([self._buy(viewer) for viewer in buyers])
        for done in range(0, self.gifts_a_day, AT_ONCE):
            await self._together([self._give() for _ in range(min(AT_ONCE, self.gifts_a_day - done))])
            if done == 0 and day % 5 == 2:
                await self._kill_store()
        if day % rounds(10, 5) == 3:
            await self._kill_drain()
        await self._journal(drain)
        await self._take_back(drain)
        await self._journal(drain)

    async def _next_day(self) -> None:
        await self.world.away(DAY_MINUTES)
        await self.world.move()
        self.house.now_ms = self.world.now_ms

    async def _together(self, acts: list[Any]) -> None:
        for at in range(0, len(acts), AT_ONCE):
            await asyncio.gather(*acts[at : at + AT_ONCE])

    # --- viewers ---------------------------------------------------------------------------------------------------
    async def _buy(self, viewer: str) -> None:
        topup = TopUp(f"t-{self.world.new_id()}", self.random.randint(500, 5_000), "shop")
        with contextlib.suppress(Refused):  # a frozen wallet buys nothing
            await self.purchases.top_up(viewer, topup)
            self.topups.append(topup.id)
            self.did["coins bought"] += topup.coins

    async def _give(self) -> None:
        coins = self.random.randint(1, 400)
        creator = self.creators[min(self.random.randrange(len(self.creators)) for _ in range(2))]
        gift = a_gift(self.random.choice(self.viewers), coins, creator=creator, id=self.world.new_id())
        try:
            paid = await self.world.bank.node.wallet.spend(gift)
        except Refused as refused:
            self.did[f"gift {refused.reason.value}"] += 1
            return
        assert isinstance(paid, Paid)
        self.gifts.append(gift.gift_id)
        self.did["gifts"] += 1

    async def _take_back(self, drain: Drain) -> None:
        stopping = asyncio.Event()
        draining = asyncio.create_task(drain.run(stopping))
        for _ in range(max(1, self.gifts_a_day // 60)):
            await self._try("refunds", self.refunds.refund(self.random.choice(self.gifts), "a month"))
        for _ in range(max(1, len(self.viewers) // 1_000)):
            await self._try("chargebacks", self.chargebacks.charge_back(self.random.choice(self.topups), "a month"))
        stopping.set()
        await draining

    async def _try(self, what: str, order: Any) -> None:
        try:
            done = await order
        except (CannotReverse, NotYet) as no:
            self.did[f"{what} {type(no).__name__}"] += 1
        else:
            self.did[f"{what} asked twice" if done.duplicate else what] += 1

    # --- processes -------------------------------------------------------------------------------------------------
    async def _kill_store(self) -> None:
        bank = self.world.bank
        await bank.kill_store()
        bank.store.start()
        await bank.node.reconnected()
        await self.world.wait_up()
        self.did["store killed"] += 1

    async def _kill_drain(self) -> None:
        """Drains in processes of their own are killed around a commit, one after the other (see drainer.py)."""
        of = self.world.bank.settings
        moments = "begin:1", "commit:1", "committed:1"
        said = "".join(f"{of.wallet_address} {of.journal_address} {moment}\n" for moment in moments)
        line = [sys.executable, "-m", "tests.torture.drainer"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdin=pipe, stdout=pipe)
        async with asyncio.timeout(WAIT_S):
            ended, _ = await process.communicate(said.encode())
        assert [int(code) for code in ended.split()] == [-signal.SIGKILL] * len(moments)
        self.did["drain killed"] += len(moments)

    async def _journal(self, drain: Drain) -> None:
        """Move the log into the journal."""
        while await drain.drain_once():
            pass

    def _dying(self, run: Any) -> None:
        """Do something in a process that is killed before one of its first statements, or lives on."""
        at, count = self.random.randint(1, 40), 0

        def die(*_: Any) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise Died

        event.listen(self.engine, "before_cursor_execute", die)
        event.listen(self.engine, "commit", die)
        try:
            run()
        except Died:
            self.did["process killed"] += 1
        finally:
            event.remove(self.engine, "before_cursor_execute", die)
            event.remove(self.engine, "commit", die)

    # --- payouts ---------------------------------------------------------------------------------------------------
    def _pay(self) -> None:
        """Who has something asks; people approve; what was approved before this day's audit leaves."""
        faults = self.house.bank.faults
        faults.extend(self.random.choice(FAULTS) for _ in range(2))
        self._dying(self.house.runner.once)
        self.house.runner.once()
        faults.clear()
        self._ask_the_bank()
        for creator in self.creators:
            if self.random.random() < 0.4:
                self._ask(creator)

    def _ask(self, creator: str) -> None:
        available = self.figures(creator).available
        if not available:
            return
        id = f"m{self.asked}"
        self.asked += 1
        diamonds = available if self.random.random() < 0.5 else max(1, available // 2)
        self._dying(lambda: self._request(id, creator, diamonds))
        if not self._request(id, creator, diamonds):  # the creator asks again under the same id
            return
        for by in ("olga", "pat"):
            if self.house.payout(id).state is State.REVIEWING:
                self.house.do("reject" if self.random.random() < 0.05 else "approve", id, by)

    def _request(self, id: str, creator: str, diamonds: int) -> bool:
        try:
            self.house.ask(diamonds, id, creator)
        except NotPaid as no:
            self.did[f"not paid: {no.reason}"] += 1
            return False
        return True

    def _ask_the_bank(self) -> None:
        """People look after what is overdue: they ring the bank, and write down what it says."""
        for each in self.payouts():
            if each.state in OUT and each.alarm:
                known = self.house.bank.payouts.get(each.key, {"status": "failed"})["status"]
                if known in ("paid", "returned", "failed"):
                    self.house.do("fail" if known == "failed" else "paid", each.id, "olga", "the bank says so")
                    self.did[f"overdue, ended as {known}"] += 1

    def _tell(self) -> None:
        """The bank gets on with its payouts. Its webhooks come once, twice, late, out of order, or never."""
        sent, self.late = self.late, []
        for key, known in list(self.house.bank.payouts.items()):
            becomes = {"pending": ["paid", "paid", "paid", "failed", "in_transit"], "in_transit": ["paid", "failed"]}
            chance, may = (0.7, becomes[known["status"]]) if known["status"] in becomes else (0.02, ["returned"])
            if known["status"] not in ("failed", "returned") and self.random.random() < chance:
                sent.append(self.house.bank.becomes(key, self.random.choice(may), "no_account"))
        self.random.shuffle(sent)
        for each in sent:
            match self.random.choice(("once", "twice", "late", "never")):
                case "once":
                    self.house.webhook(each)
                case "twice":
                    self._dying(lambda each=each: self.house.webhook(each))
                    self.house.webhook(each)
                case "late":
                    self.late.append(each)
                case _:
                    self.did["webhooks lost"] += 1

    async def _settle(self, drain: Drain, audit: Audit) -> None:
        """Some more days without new gifts: what is under way ends, or somebody gets an alarm."""
        for day in range(SETTLING_DAYS):
            await self._next_day()
            await self._journal(drain)
            if day % 3 == 0:  # the runner wants a recent one for what was approved last
                assert (await audit.run(freeze=True)).ok
            self.house.runner.once()
            for each in self.house.bank.payouts.values():
                if each["status"] in ("pending", "in_transit"):
                    self.house.webhook(self.house.bank.becomes(each["key"], "paid"))
            self.house.runner.once()
            self._ask_the_bank()

    # --- what must be so -------------------------------------------------------------------------------------------
    def figures(self, creator: str) -> earnings.Figures:
        with reading(self.engine).connect() as connection:
            return earnings.read(connection, creator, self.house.now_ms)

    def payouts(self) -> list[Payout]:
        with reading(self.engine).connect() as connection:
            return [rows.of_row(row) for row in connection.execute(select(payouts))]

    def check(self) -> None:
        """The trial balance is zero; each creator's numbers add up; what is held and paid is that of payouts."""
        with reading(self.engine).connect() as connection:
            trial = lines(connection, 0, self.house.now_ms + limits.DAY_MS)
        assert out_of_balance(trial) == {}
        held, paid = Counter[str](), Counter[str]()
        for each in self.payouts():
            held[each.creator] += each.diamonds if each.state in OPEN else 0
            paid[each.creator] += each.diamonds if each.state is State.PAID else 0
        sums: Counter[str] = Counter()
        for creator in self.creators:
            of = self.figures(creator)
            assert of.credited - of.taken_back == of.pending + of.available + of.held + of.paid - of.debt, of
            assert (of.held, of.paid) == (held[creator], paid[creator]), of
            sums.update(credited=of.credited, taken=of.taken_back, held=of.held, paid=of.paid)
        by_account = {line.account: line.after for line in trial if line.asset == "diamonds"}
        assert by_account["creators"] + by_account.get("held", 0) == sums["credited"] - sums["taken"] - sums["paid"]
        assert by_account.get("held", 0) == sums["held"] == sum(held.values())
        self.did["checks"] += 1

    def check_ended(self) -> None:
        """Each payout is at its end, or says why not; it was sent once, unless it surely had not left.

        What the journal says of it is what the bank says.
        """
        said = {key: known["status"] for key, known in self.house.bank.payouts.items()}
        posts = Counter(key for verb, key in self.house.bank.requests if verb == "POST")
        for each in self.payouts():
            assert each.state not in OPEN or each.alarm or each.reason or each.state is State.REVIEWING, each
            unsent = [act for act in self.house.acts(each.id) if act.act == "not_sent"]
            assert posts[each.key] <= 1 + len(unsent), each
            if each.state in (State.PAID, State.RETURNED) or each.key in said:
                assert each.alarm or each.state.value == said[each.key], (each, said[each.key])

    def page(self, report: Report) -> str:
        """The report of the month, on one page."""
        with reading(self.engine).connect() as connection:
            trial = lines(connection, 0, self.house.now_ms + limits.DAY_MS)
        states = Counter((each.currency, each.state.value, each.alarm or "-") for each in self.payouts())
        page = [f"{len(self.viewers)} viewers, {len(self.creators)} creators, {DAYS} days, {self.engine.dialect.name}"]
        found = "ok" if report.ok else report.why_not()
        page += [f"audit: {found}, {report.entries} entries, {report.coins_sold} coins sold, {report.coins_held} held"]
        page += [f"  {what:32} {count:>10}" for what, count in sorted(self.did.items())]
        page += [f"  {' '.join(key):32} {count:>10}" for key, count in sorted(states.items())]
        page += [f"  {line.asset:10} {line.account:24} {line.after:>14}" for line in trial]
        return "\n".join(page)
