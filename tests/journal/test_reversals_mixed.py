"""Everything at once: people buy and give while gifts are refunded, top-ups charged back, and wallets frozen."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import select

from server.app import Node
from server.journal.tables import reversals
from server.orders.rows import CannotReverse, NotFound
from server.orders.topups import TopUp
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.money import a_gift
from tests.site import Site

PEOPLE = ("cleo", "dan", "eve", "fay")
CLERKS, STEPS = 6, 30
OUTCOMES = {
    "done",
    "duplicate",
    "NotFound",
    "NotYet",
    "CannotReverse",
    "insufficient_coins",
    "wallet_frozen",
}


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """A desk of the host platform; everything must be sound after the test."""
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


class Clerk:
    """Gives random orders at random nodes, and often repeats them."""

    def __init__(self, desk: Desk, sites: list[Site], chance: random.Random, ids: "itertools.count[int]") -> None:
        self.desk = desk
        self.sites = sites
        self.chance = chance
        self.ids = ids
        self.outcomes: set[str] = set()

    async def work(self, gifts: list[str], topups: list[str]) -> None:
        verbs = self.chance.choices(
            ["buy", "give", "refund", "charge_back", "freeze", "unfreeze"], [4, 12, 6, 2, 1, 4], k=STEPS
        )
        for verb in verbs:
            self.outcomes.add(await self.desk.outcome(self.order(verb, gifts, topups)))

    def order(self, verb: str, gifts: list[str], topups: list[str]) -> Awaitable[object]:
        node, user = self.chance.choice(self.sites).node, self.chance.choice(PEOPLE)
        match verb:
            case "buy":
                topups.append(f"t{next(self.ids)}")
                return node.purchases.top_up(user, TopUp(topups[-1], self.chance.randint(1, 60), "test"))
            case "give":
                gift = a_gift(user, self.chance.randint(1, 40), creator=self.chance.choice(["ann", "ben"]))
                gifts.append(gift.gift_id)
                return node.wallet.spend(gift)
            case "refund":
                return node.refunds.refund(self.chance.choice(gifts), "")
            case "charge_back":
                return node.chargebacks.charge_back(self.chance.choice(topups), "")
            case _:
                return getattr(node.freezes, verb)(user, f"{verb}-{next(self.ids)}")  # type: ignore[no-any-return]


async def settle(desk: Desk, node: Node) -> None:
    """Repeat pending orders, as a host platform does, until there are none; then every answer is final."""
    verbs: dict[str, Callable[[str, str], Awaitable[object]]] = {
        "refund": node.refunds.refund,
        "chargeback": node.chargebacks.charge_back,
    }
    for _ in range(10):
        pending = [order for order, state in desk.orders().items() if state == "pending" and order[0] in verbs]
        if not pending:
            break
        for kind, ref in pending:
            await desk.outcome(verbs[kind](ref, ""))
    for kind, ref in (order for order in desk.orders() if order[0] in verbs):
        assert await desk.outcome(verbs[kind](ref, "")) in ("duplicate", "CannotReverse"), (kind, ref)


@pytest.mark.parametrize("seed", range(3))
async def test_everything_at_once(desk: Desk, another_site: Callable[[], Awaitable[Site]], seed: int) -> None:
    """Whatever competes, no coin is lost or invented, and every order ends."""
    sites, ids = [desk.site, await another_site()], itertools.count()
    topups = [await desk.buy(user, 100, f"{user}-1") for user in PEOPLE]
    gifts = [await desk.give(user, 10) for user in PEOPLE]
    await desk.journal()
    clerks = [Clerk(desk, sites, random.Random(f"{seed} {n}"), ids) for n in range(CLERKS)]
    async with desk.journaling():
        await asyncio.gather(*(clerk.work(gifts, topups) for clerk in clerks))
        await settle(desk, desk.site.node)
    assert {"done"} <= set().union(*(clerk.outcomes for clerk in clerks)) <= OUTCOMES
    assert "pending" not in desk.orders().values()


async def test_a_gift_id_of_two_viewers(desk: Desk) -> None:
    """Two viewers' gifts share an id (a room can see ids): a refund does not guess which is meant."""
    refund = desk.site.node.refunds.refund
    await desk.buy("cleo", 100)
    await desk.buy("mallory", 100, "t1")
    gift = await desk.give("cleo", 30)
    await desk.give("mallory", 1, id=gift)
    await desk.journal()
    with pytest.raises(CannotReverse):
        await desk.refund(gift)
    with pytest.raises(NotFound):
        await refund(gift, "", "dan")
    assert (await desk.holds("cleo"), await desk.holds("mallory")) == (70, 99)
    assert (await refund(gift, "", "cleo")).coins == 30
    assert (await refund(gift, "", "cleo")).duplicate
    await desk.journal()
    assert await desk.charge_back("t1")
    await desk.journal()
    with pytest.raises(CannotReverse, match="chargeback"):
        await refund(gift, "", "mallory")
    states = [(row.user_id, row.state) for row in desk.rows(select(reversals).where(reversals.c.ref == gift))]
    assert sorted(states) == [("cleo", "posted"), ("mallory", "refused")]
    assert (await refund(gift, "", "cleo")).duplicate
    assert (await desk.holds("cleo"), await desk.holds("mallory")) == (100, 0)
