"""Orders whose row was written and whose wallet call was lost: they are carried out once, without a retry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import update

from protocol.ids import UserId
from server import limits
from server.entries import FREEZE, LIMIT, REFUND, UNFREEZE, FreezeEntry, UnfreezeEntry
from server.journal.tables import reversals, topups
from server.money.results import Overtaken
from server.orders import rows
from server.orders.chargebacks import Bought
from server.orders.own_limits import _entry
from server.orders.rows import CannotReverse
from server.orders.topups import TopUp
from server.store import keys
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.lossy import LossyWire
from tests.program import eventually
from tests.site import WAIT_S, Site

AnotherSite = Callable[[], Awaitable[Site]]


@pytest.fixture
def rarely_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes look for pending orders when they start, and never again."""
    monkeypatch.setattr(limits, "RECOVER_EVERY_S", 3_600.0)


@pytest.fixture
async def desk(rarely_looking: None, site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """A desk whose node looks for pending orders when a test says so; everything must be sound at the end."""
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order counts as pending as soon as it is written, and only the test looks for it."""
    monkeypatch.setattr(limits, "RECOVER_AFTER_MS", -1_000)
    monkeypatch.setattr(limits, "RECOVER_EVERY_S", 3_600)


@pytest.fixture
def always_looking(at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes look for pending orders many times a second."""
    monkeypatch.setattr(limits, "RECOVER_EVERY_S", 0.05)


async def topup_row(desk: Desk, id: str, user: str = "cleo", coins: int = 100) -> None:
    """Write an order down without carrying it out, as if the node had died."""
    assert await asyncio.to_thread(desk.site.node.purchases._record, user, TopUp(id, coins, "test")) is None


async def refund_row(desk: Desk, gift: str) -> None:
    engine = desk.site.node.engine
    with engine.begin() as connection:
        paid = rows.gift_of(connection, gift)
        now_ms = desk.site.node.clock.now_ms()
        rows.record(connection, rows.Pending(REFUND.name, paid.ref, paid.user_id, now_ms, "a test"))


async def chargeback_row(desk: Desk, topup: str, user: str) -> None:
    await asyncio.to_thread(desk.site.node.chargebacks._record, Bought(topup, user), "a test")


def states(desk: Desk) -> dict[str, str]:
    """The state of every top-up, except the demo's."""
    return {row.id: row.state for row in desk.rows(topups.select()) if not row.id.startswith("demo-")}


def everything_posted(desk: Desk) -> bool:
    return {*states(desk).values(), *desk.orders().values()} == {"posted"}


LOSSES = [
    ("request", '"kind":"topup"', "topup"),
    ("reply", '"kind":"topup"', "topup"),
    ("request", '"kind":"refund"', "refund"),
    ("reply", '"kind":"refund"', "refund"),
    ("request", '"kind":"freeze"', "chargeback"),
    ("request", '"kind":"chargeback"', "chargeback"),
    ("reply", '"kind":"chargeback"', "chargeback"),
    ("request", '"kind":"freeze"', "freeze"),
    ("reply", '"kind":"freeze"', "freeze"),
    ("request", '"kind":"unfreeze"', "unfreeze"),
    ("reply", '"kind":"unfreeze"', "unfreeze"),
    ("request", '"kind":"limit"', "limit"),
    ("reply", '"kind":"limit"', "limit"),
]


@pytest.mark.parametrize(("what", "word", "order"), LOSSES)
async def test_a_lost_order_is_carried_out(
    always_looking: None, far_site: Site, stores: Stores, money_wire: LossyWire, what: str, word: str, order: str
) -> None:
    """Its request or reply is lost and nobody retries: soon it is carried out, once."""
    node, ref, left = (
        far_site.node,
        {"topup": "t2"}.get(order, "t1"),
        {"topup": 90, "refund": 100, "chargeback": 0}.get(order, 40),
    )
    async with a_desk(far_site, f"unix://{stores.wallet.socket}") as desk:
        await desk.buy("cleo", 100, "t1")
        gift = await desk.give("cleo", 60, 30)
        await desk.journal()
        viewer = await far_site.join("cleo")

        async def ask() -> object:
            if order == "refund":
                return await node.refunds.refund(gift, "a test")
            if order in ("freeze", "unfreeze"):
                return await getattr(node.freezes, order)("cleo", "f1")
            if order == "limit":
                return await node.own_limits.set("cleo", "l1", 50)
            if order == "chargeback":
                return await node.chargebacks.charge_back("t1", "a test")
            return await node.purchases.top_up(UserId("cleo"), TopUp("t2", 50, "test"))

        async with desk.journaling():
            (money_wire.lose_request if what == "request" else money_wire.lose_reply)(word)
            asked = await desk.outcome(ask())
            assert money_wire.lost
            assert asked in ("wallet_unavailable", "done", "duplicate")  # the node's own recovery may be first
            ref = gift if order == "refund" else ref
            if what == "request" and left != 40:  # otherwise it may be journaled before recovery looks
                await viewer.happened("wallet.changed", cause=order, ref=ref, coins=left)
            await eventually(lambda: everything_posted(desk), WAIT_S, "all orders in the journal")
        assert await desk.holds("cleo") == left
        assert await desk.status("cleo") == ("frozen" if order in ("freeze", "chargeback") else "ok")
        if order == "limit":
            assert await limit_of(stores, "cleo") == "50"
        else:
            assert await desk.outcome(ask()) == "duplicate"


async def limit_of(stores: Stores, user: str) -> str | None:
    with stores.wallet.client() as look:
        return str(look.hget(keys.wallet(user), "limit"))


async def test_the_newest_limit_decides(at_once: None, desk: Desk, stores: Stores) -> None:
    """A limit that never reached the wallet, or comes late, does not undo a later one; the last is recovered."""
    limits_, recovery = desk.site.node.own_limits, desk.site.node.recovery
    await asyncio.to_thread(limits_._record, "cleo", "l1", 10)
    [late] = recovery._pending(LIMIT)
    await limits_.set("cleo", "l2", 30)
    await recovery.once()
    assert desk.orders()["limit", "l1"] == "refused"
    with pytest.raises(Overtaken):
        await desk.site.node.wallet.order(_entry("cleo", "l1", 10, late.at_ms))
    assert await limit_of(stores, "cleo") == "30"
    await asyncio.to_thread(limits_._record, "cleo", "l3", 20)
    await recovery.once()
    await desk.journal()
    assert await limit_of(stores, "cleo") == "20"
    assert desk.orders() == {("limit", "l1"): "refused", ("limit", "l2"): "posted", ("limit", "l3"): "posted"}


@pytest.mark.parametrize("newer", ["unfreeze", "freeze", "chargeback"])
async def test_an_order_that_comes_late(
    at_once: None, desk: Desk, stores: Stores, another_site: AnotherSite, newer: str
) -> None:
    """Recovery has read a pending order when a newer one is carried out: the older one changes nothing any more."""
    await desk.buy("cleo", 100, "t1")
    await desk.journal()
    node, older = desk.site.node, FREEZE if newer == "unfreeze" else UNFREEZE
    await asyncio.to_thread(node.freezes._record, older, "cleo", "o1")
    [late] = node.recovery._pending(older)
    if newer == "chargeback":
        await desk.charge_back("t1")
    else:
        await getattr(node.freezes, newer)("cleo", "n1")
    body = FreezeEntry if older is FREEZE else UnfreezeEntry
    with pytest.raises(CannotReverse, match="newer order"):
        await node.freezes._carry_out(body, "cleo", late.ref, late.at_ms)
    expected = "ok" if newer == "unfreeze" else "frozen"
    assert await desk.status("cleo") == expected
    await desk.journal()
    with stores.wallet.client() as look:
        look.flushall()
    back = await another_site()
    with pytest.raises(CannotReverse, match="newer order"):  # a store that was filled again knows it, too
        await back.node.freezes._carry_out(body, "cleo", late.ref, late.at_ms)
    assert (await back.node.wallet.view("cleo")).status == expected


@pytest.mark.parametrize("spent", [0, 100])
async def test_a_late_chargeback_takes_its_coins(at_once: None, desk: Desk, spent: int) -> None:
    """Its coins go whatever came after it, from the wallet or the gifts; only the status follows the newest order."""
    await desk.buy("cleo", 100, "t1")
    node = desk.site.node
    if spent:
        await desk.give("cleo", spent, 50)
    await desk.journal()
    await chargeback_row(desk, "t1", "cleo")
    await node.freezes.freeze("cleo", "f1")
    await desk.charge_back("t1")
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (0, "frozen")
    await desk.journal()
    await node.freezes.unfreeze("cleo", "u1")
    assert await desk.status("cleo") == "ok"


@pytest.mark.parametrize("newer", ["unfreeze", "freeze", "chargeback"])
async def test_a_newer_order_decides(at_once: None, desk: Desk, newer: str) -> None:
    """A freeze or unfreeze that never reached the wallet does not undo a later order."""
    await desk.buy("cleo", 100, "t1")
    await desk.journal()
    node, older = desk.site.node, FREEZE if newer == "unfreeze" else UNFREEZE
    assert await asyncio.to_thread(node.freezes._record, older, "cleo", "o1")
    if newer == "chargeback":
        await desk.charge_back("t1")
    else:
        await getattr(node.freezes, newer)("cleo", "n1")
    expected = "ok" if newer == "unfreeze" else "frozen"
    await node.recovery.once()
    assert await desk.status("cleo") == expected
    assert desk.orders()[older.name, "o1"] == "refused"
    if newer != "chargeback":  # repeating the order carries it out
        assert not (await getattr(node.freezes, older.name)("cleo", "o1")).duplicate
        assert await desk.status("cleo") != expected
    await desk.journal()
    assert "pending" not in desk.orders().values()


async def test_a_node_that_is_started(at_once: None, desk: Desk, another_site: AnotherSite) -> None:
    """A node that starts first carries out what is pending."""
    await topup_row(desk, "t1")
    site = await another_site()
    await eventually(lambda: site.node.recovery.recovered, WAIT_S, "a recovered order")
    assert await desk.holds("cleo") == 100


async def test_two_at_once(at_once: None, desk: Desk, another_site: AnotherSite) -> None:
    """Nodes that recover at the same moment do nothing twice, journaled or not."""
    sites = [desk.site, await another_site(), await another_site()]
    await desk.buy("cleo", 100, "t1")
    gifts = [await desk.give("cleo", 10, 5) for _ in range(3)]
    await desk.buy("dan", 100, "t2")
    await desk.give("dan", 40, 20)
    await desk.journal()
    for n in range(5):
        await topup_row(desk, f"lost-{n}", coins=10)
    for gift in gifts:
        await refund_row(desk, gift)
    await chargeback_row(desk, "t2", "dan")
    async with desk.journaling():
        await asyncio.gather(*(site.node.recovery.once() for site in sites * 3))
    assert sum(site.node.recovery.recovered for site in sites) == 9
    assert [await desk.holds(user) for user in ("cleo", "dan")] == [150, 0]
    await desk.journal()
    assert everything_posted(desk)
    for site in sites:
        await site.node.recovery.once()
    assert sum(site.node.recovery.recovered for site in sites) == 9


async def test_a_refund_that_has_become_impossible(at_once: None, desk: Desk) -> None:
    """A chargeback has taken the gift, so the pending refund is refused for good."""
    await desk.buy("cleo", 100, "t1")
    gift = await desk.give("cleo", 60, 30)
    await desk.charge_back("t1")
    await desk.journal()
    await refund_row(desk, gift)
    assert desk.orders()["refund", gift] == "pending"
    await desk.site.node.recovery.once()
    assert desk.orders()["refund", gift] == "refused"
    assert desk.site.node.recovery._pending(REFUND) == []
    assert (await desk.holds("cleo"), desk.site.node.recovery.recovered) == (0, 0)


async def test_orders_that_cannot_be_done_now(
    at_once: None, desk: Desk, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round takes a limited number of orders; those behind a frozen partition still get their turn."""
    monkeypatch.setattr(limits, "RECOVER_BATCH", 2)
    stuck = keys.wallet_meta(keys.partition_of("alice"))
    with stores.wallet.client() as look:
        look.hset(stuck, "frozen", "1")
        for n in range(5):
            await topup_row(desk, f"stuck-{n}", "alice")
        for n in range(3):
            await topup_row(desk, f"free-{n}")
        with desk.site.node.engine.begin() as connection:
            connection.execute(update(topups).where(topups.c.id.like("stuck-%")).values(at_ms=topups.c.at_ms - 1_000))
        held = []
        for _ in range(5):
            await desk.site.node.recovery.once()
            held.append(await desk.holds("cleo"))
        assert held[:2] == [0, 0]
        assert held[-1] == 300
        look.hdel(stuck, "frozen")
    for _ in range(5):
        await desk.site.node.recovery.once()
    assert await desk.holds("alice") == 10_500


async def test_orders_that_are_left_alone(desk: Desk) -> None:
    """Skip an order that a node may still be working on, and one so old that its receipt may be gone."""
    now_ms = desk.site.node.clock.now_ms()
    ages_ms = (-limits.RECOVER_AFTER_MS, 0, limits.RECOVER_AFTER_MS, limits.RECOVER_UNTIL_MS + 1)
    for n, age_ms in enumerate(ages_ms):
        await topup_row(desk, f"t{n}")
        with desk.site.node.engine.begin() as connection:
            connection.execute(update(topups).where(topups.c.id == f"t{n}").values(at_ms=now_ms - age_ms))
    await desk.site.node.recovery.once()
    await desk.journal()
    assert states(desk) == {"t0": "pending", "t1": "pending", "t2": "posted", "t3": "pending"}


async def test_a_chargeback_waits_for_the_journal(at_once: None, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the journal is stopped a round tries only one chargeback; once it moves, all are done."""
    for user in ("cleo", "dan"):
        await desk.buy(user, 100, f"of-{user}")
    await desk.journal()
    for user in ("cleo", "dan"):
        await chargeback_row(desk, f"of-{user}", user)
    monkeypatch.setattr(limits, "JOURNALED_POLLS", 2)
    await desk.site.node.recovery.once()
    assert sorted([await desk.status(user) for user in ("cleo", "dan")]) == ["frozen", "ok"]
    monkeypatch.undo()
    monkeypatch.setattr(limits, "RECOVER_AFTER_MS", -1_000)
    async with desk.journaling():
        await desk.site.node.recovery.once()
    await desk.journal()
    assert [await desk.holds(user) for user in ("cleo", "dan")] == [0, 0]
    assert {row.state for row in desk.rows(reversals.select())} == {"posted"}
