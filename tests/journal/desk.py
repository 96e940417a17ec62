"""The host platform's desk sells coins and orders reversals. Afterwards it checks that all sums are right."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Engine, func, select

from protocol.refusals import Refused
from server import limits
from server.journal import derived
from server.journal.audit import Audit, Report
from server.journal.database import reading
from server.journal.derived import Drift
from server.journal.drain import Drain
from server.journal.lots import Lots
from server.journal.tables import entries, positions, postings, quarantine, reversals, topups
from server.orders.rows import CannotReverse, NotFound, NotYet, Reversed
from server.orders.topups import TopUp
from server.processes.retell import drain_and_retell
from server.store.client import Store
from tests.money import a_gift
from tests.site import WAIT_S, Site, new_gift_id

Gift = tuple[str, str]  # (viewer, id)


def drifts(engine: Engine, *users: str) -> list[Drift]:
    """Where derived tables differ from the entries, of all creators and of these wallets, or all."""
    every = select(entries.c.user_id).distinct()
    with reading(engine).connect() as connection:
        found = derived.wrong_days(connection)
        for user_id in users or connection.execute(every).scalars().all():
            found += derived.wrong_parts(connection, user_id) + derived.wrong_snapshot(connection, user_id)
    return found


class Desk:
    """A site whose journal moves only when the test says so. `money` connects to the wallet store, past every wire."""

    def __init__(self, site: Site, drain: Drain, money: Store) -> None:
        self.site = site
        self.drain = drain
        self.money = money
        self.forgot = False  # then the audit misses receipts

    # --- money in and out ----------------------------------------------------------------------------------------
    async def buy(self, user: str, coins: int, id: str | None = None) -> str:
        """A person buys coins. Returns the top-up's id."""
        id = id or f"t-{new_gift_id()}"
        assert not (await self.site.node.purchases.top_up(user, TopUp(id, coins, "test"))).duplicate
        return id

    async def give(
        self, user: str, coins: int, diamonds: int | None = None, *, to: str = "ann", id: str | None = None
    ) -> str:
        """A person sends a gift, which is paid. Returns its id."""
        spend = a_gift(user, coins, diamonds=diamonds, creator=to, id=id)
        assert not (await self.site.node.wallet.spend(spend)).duplicate
        return spend.gift_id

    async def refund(self, gift_id: str, site: Site | None = None) -> Reversed:
        return await (site or self.site).node.refunds.refund(gift_id, "a test")

    async def charge_back(self, topup_id: str, site: Site | None = None) -> Reversed:
        """Order a chargeback while the journal moves, because a chargeback waits for the journal."""
        await self.journal()
        async with self.journaling():
            return await (site or self.site).node.chargebacks.charge_back(topup_id, "a test")

    async def outcome(self, order: Any) -> str:
        """What an order led to, in a word: `done`, `duplicate`, or the reason against it."""
        try:
            async with asyncio.timeout(WAIT_S * 3):
                done = await order
        except Refused as refused:
            return refused.reason.value
        except (NotFound, CannotReverse, NotYet) as no:
            return type(no).__name__
        return "duplicate" if getattr(done, "duplicate", False) else "done"

    async def holds(self, user: str) -> int:
        return (await self.site.node.wallet.view(user)).coins

    async def status(self, user: str) -> str:
        return (await self.site.node.wallet.view(user)).status

    # --- the journal ---------------------------------------------------------------------------------------------
    async def journal(self) -> None:
        """Move everything in the log into the journal."""
        while await self.drain.drain_once():
            pass

    @contextlib.asynccontextmanager
    async def journaling(self) -> AsyncIterator[None]:
        """The journal moves in the background until the block ends, as in its own process."""
        stopping = asyncio.Event()
        task = asyncio.create_task(self.drain.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await task

    async def forget(self) -> None:
        """Delete the store's receipts, as if their time were over."""
        self.forgot = True
        receipts = [key for kind in (b"k", b"r") async for key in self._keys(kind)]
        assert receipts
        await self.money.call("DEL", *receipts)

    async def _keys(self, kind: bytes) -> AsyncIterator[bytes]:
        for key in await self.money.call("KEYS", "*"):
            if key.partition(b"}:")[2].partition(b":")[0] == kind:
                yield key

    def rows(self, query: Any) -> list[Any]:
        with reading(self.site.node.engine).connect() as connection:
            return list(connection.execute(query))

    def earned(self, creator: str) -> int:
        """The diamonds that a creator has earned, by the journal's postings."""
        account = f"creator:{creator}"
        query = select(func.sum(postings.c.amount)).where(postings.c.account == account, postings.c.asset == "diamonds")
        return int(self.rows(query)[0][0] or 0)

    def orders(self) -> dict[tuple[str, str], str]:
        """Every order's state."""
        return {(row.kind, row.ref): row.state for row in self.rows(select(reversals))}

    # --- what must be true at the end ------------------------------------------------------------------------------
    async def assert_sound(self) -> Report:
        """Nothing is lost, doubled or invented: by the audit, the postings, the lots, and each price."""
        await self.journal()
        aside = [(row.partition, row.reason) for row in self.rows(select(quarantine))]
        assert not aside, aside
        report = await Audit(self.site.node.engine, self.money, self.site.node.clock).run()
        wrong = [each for each in report.wrong if not (self.forgot and each.where.startswith("receipt:"))]
        assert not wrong, wrong
        assert report.ok or self.forgot, report
        assert report.not_compared == {}, report
        self._assert_postings()
        self._assert_report(report)
        self._assert_reversed_once()
        assert drifts(self.site.node.engine) == []
        await self._assert_wallets()
        return report

    def _assert_report(self, report: Report) -> None:
        """The report has all that was sold and awarded, and all that was taken back of it."""
        charged_back = sum(row.coins for row in self.rows(select(topups)) if row.id in self._charged_back())
        assert report.coins_charged_back == charged_back
        spent = report.coins_spent - report.coins_refunded - report.coins_charged_back_from_gifts
        assert report.coins_sold - report.coins_charged_back == spent + report.coins_held
        of_creators = postings.c.account.like("creator:%"), postings.c.asset == "diamonds"
        of_creators += (postings.c.partition != limits.BOOKS,)
        [(net,)] = self.rows(select(func.sum(postings.c.amount)).where(*of_creators))
        assert report.diamonds_awarded - report.diamonds_taken_back == int(net or 0)

    def _charged_back(self) -> set[str]:
        """The top-ups whose chargebacks are journaled."""
        return {row.ref for row in self.rows(select(entries.c.ref).where(entries.c.kind == "chargeback"))}

    def _assert_postings(self) -> None:
        sums = select(postings.c.asset, func.sum(postings.c.amount)).group_by(postings.c.asset)
        unbalanced = {asset: total for asset, total in self.rows(sums) if total}
        assert not unbalanced, unbalanced
        of_creators = select(postings.c.account, func.sum(postings.c.amount)).where(
            postings.c.account.like("creator:%")
        )
        negative = {
            account: total for account, total in self.rows(of_creators.group_by(postings.c.account)) if total < 0
        }
        assert not negative, negative

    def _assert_reversed_once(self) -> None:
        """No gift gives back more than its price; a chargeback takes exactly what its top-up brought."""
        prices: dict[Gift, tuple[int, int]] = {}  # two viewers may use the same gift id
        taken: Counter[Gift] = Counter()
        diamonds: Counter[Gift] = Counter()
        bought: dict[str, int] = {}
        for row in self.rows(select(entries).order_by(entries.c.partition, entries.c.epoch, entries.c.n)):
            gift = row.user_id, row.ref
            match row.kind:
                case "topup":
                    bought[row.ref] = row.coins
                case "gift":
                    prices[gift] = row.coins, row.diamonds
                case "refund":
                    taken[gift] += row.coins
                    diamonds[gift] += row.diamonds
                case "chargeback":
                    parts = self._parts_of(row)
                    assert row.coins + sum(part["coins"] for part in parts) == bought[row.ref], row.body
                    taken.update({(row.user_id, part["gift_id"]): part["coins"] for part in parts})
                    diamonds.update({(row.user_id, part["gift_id"]): part["diamonds"] for part in parts})
        beyond = {gift for gift in taken if taken[gift] > prices[gift][0] or diamonds[gift] > prices[gift][1]}
        assert not beyond, f"given back more than once: {beyond}"

    def _parts_of(self, chargeback: Any) -> list[dict[str, Any]]:
        """What a chargeback took, gift by gift; its ledger entry has one sum for each creator."""
        where = reversals.c.kind == "chargeback", reversals.c.ref == chargeback.ref
        [order] = self.rows(select(reversals).where(*where))
        parts: list[dict[str, Any]] = json.loads(order.body)["reversed"]
        sums: dict[str, Counter[str]] = {}
        for part in parts:
            sums.setdefault(part["creator"], Counter()).update(coins=part["coins"], diamonds=part["diamonds"])
        shares = json.loads(chargeback.body)["reversed"]
        assert shares == [{"creator": creator, **sum_} for creator, sum_ in sums.items()]
        return parts

    async def _assert_wallets(self) -> None:
        """Each wallet, its position in the journal and its lots have the same balance."""
        for row in self.rows(select(positions).where(positions.c.account.like("viewer:%"))):
            user = row.account.removeprefix("viewer:")
            query = select(entries).where(entries.c.user_id == user).order_by(entries.c.epoch, entries.c.n)
            lots = Lots().take(self.rows(query)).lots
            said = await self.holds(user), sum(lot.left for lot in lots.values())
            assert said == (row.balance, row.balance), f"{user}: wallet and lots have {said}, journal {row.balance}"


@contextlib.asynccontextmanager
async def a_desk(site: Site, money: str) -> AsyncIterator[Desk]:
    """A desk at a site; everything must be sound at the end. `money` is the wallet store's own address."""
    store = Store("wallet", money)
    await store.start()
    await store.wait_up(WAIT_S)
    try:
        node = site.node
        desk = Desk(site, drain_and_retell(node.engine, store, node.history, node.clock), store)
        yield desk
        await desk.assert_sound()
    finally:
        await store.stop()
