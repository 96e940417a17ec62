"""Reversals cut off half-way, and orders that compete: each gift is reversed once, whichever order wins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from protocol.refusals import Refused
from server import limits
from server.orders.rows import NotFound, NotYet
from server.orders.topups import TopUp
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.lossy import LossyWire
from tests.site import WAIT_S, Site

FREEZE, CHARGEBACK, REFUND = '"kind":"freeze"', '"kind":"chargeback"', '"kind":"refund"'


@pytest.fixture
def wire(money_wire: LossyWire) -> LossyWire:
    return money_wire


@pytest.fixture
async def desk(far_site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """A desk at that node; everything must be sound after the test."""
    async with a_desk(far_site, f"unix://{stores.wallet.socket}") as made:
        yield made


async def gave_60_of_100(desk: Desk) -> str:
    """cleo bought t1 and spent 60 of its 100 coins on one gift. Returns the gift's id."""
    await desk.buy("cleo", 100, "t1")
    gift = await desk.give("cleo", 60, 30)
    await desk.journal()
    return gift


async def lose(desk: Desk, wire: LossyWire, what: str, word: str, order: Awaitable[object]) -> None:
    """Lose the step with this word while the order is carried out: the desk must hear `wallet_unavailable`."""
    (wire.lose_request if what == "request" else wire.lose_reply)(word)
    assert await desk.outcome(order) == "wallet_unavailable"
    assert wire.lost
    await desk.site.node.wallet.wait_up(WAIT_S)


# --- cut off half-way ------------------------------------------------------------------------------------------------
# (what is lost, in which step, the order, the outcome of the same order at another node)
LOSSES = [
    ("request", REFUND, "refund", "done"),
    ("reply", REFUND, "refund", "duplicate"),
    ("request", FREEZE, "charge_back", "done"),
    ("reply", FREEZE, "charge_back", "done"),
    ("request", CHARGEBACK, "charge_back", "done"),
    ("reply", CHARGEBACK, "charge_back", "duplicate"),
]


@pytest.mark.parametrize(("what", "word", "order", "again"), LOSSES)
async def test_an_order_is_cut_off(
    desk: Desk,
    wire: LossyWire,
    another_site: Callable[[], Awaitable[Site]],
    what: str,
    word: str,
    order: str,
    again: str,
) -> None:
    """A request or reply is lost, or the whole node: the same order at another node completes it."""
    gift = await gave_60_of_100(desk)
    subject = gift if order == "refund" else "t1"
    carry_out = getattr(desk, order)
    await lose(desk, wire, what, word, carry_out(subject))
    other = await another_site()
    assert await desk.outcome(carry_out(subject, other)) == again
    await desk.journal()
    assert await desk.outcome(carry_out(subject)) == "duplicate"
    assert (await desk.holds("cleo"), desk.earned("ann")) == ((100, 30 - 30) if order == "refund" else (0, 0))
    assert desk.orders() == {(order.replace("_", ""), subject): "posted"}


@pytest.mark.parametrize("what", ["request", "reply"])
async def test_sockets_are_told_after_a_lost_answer(desk: Desk, wire: LossyWire, what: str) -> None:
    """The user's sockets get the current balance, even if the first order's answer was lost."""
    gift = await gave_60_of_100(desk)
    viewer = await desk.site.join("cleo")
    await lose(desk, wire, what, REFUND, desk.refund(gift))
    await desk.give("cleo", 1)
    await desk.refund(gift)
    await viewer.happened("wallet.changed", coins=99, cause="refund", ref=gift)


async def test_the_journal_is_stopped(
    desk: Desk, another_site: Callable[[], Awaitable[Site]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wallet is frozen, and the node dies before the journal catches up: another node completes the order."""
    gift = await gave_60_of_100(desk)
    last = await desk.give("cleo", 10, 5, to="ben")
    monkeypatch.setattr(limits, "JOURNALED_POLLS", 2)
    with pytest.raises(NotYet):
        await desk.site.node.chargebacks.charge_back("t1", "")
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (30, "frozen")
    with pytest.raises(Refused, match="wallet_frozen"):
        await desk.give("cleo", 1)
    monkeypatch.undo()
    done = await desk.charge_back("t1", await another_site())
    assert [part.gift_id for part in done.reversed] == [gift, last]
    assert (done.duplicate, done.coins, done.balance) == (False, -30, 0)


async def test_a_top_up_that_never_arrived(desk: Desk, wire: LossyWire) -> None:
    """A top-up that was ordered but never reached the wallet can be charged back only once it has."""
    buying = desk.site.node.purchases.top_up("cleo", TopUp("t1", 100, "test"))
    await lose(desk, wire, "request", '"kind":"topup"', buying)
    await desk.journal()
    with pytest.raises(NotFound):
        await desk.charge_back("t1")
    await desk.buy("cleo", 100, "t1")
    assert (await desk.charge_back("t1")).coins == -100


async def test_the_store_lost_everything(desk: Desk, another_site: Callable[[], Awaitable[Site]]) -> None:
    """Filled from the journal, the store has all reversals and freezes, and none is done again."""
    gift = await gave_60_of_100(desk)
    await desk.refund(gift)
    await desk.buy("dan", 100, "t2")
    other = await desk.give("dan", 60)
    await desk.charge_back("t2")
    await desk.buy("eve", 100)
    await desk.site.node.freezes.freeze("eve", "f1")
    await desk.journal()
    await desk.money.call("FLUSHALL")
    site = await another_site()
    assert [await desk.holds(user) for user in ("cleo", "dan", "eve")] == [100, 0, 100]
    assert [await desk.status(user) for user in ("cleo", "dan", "eve")] == ["ok", "frozen", "frozen"]
    await desk.assert_sound()
    assert await desk.outcome(desk.refund(gift, site)) == "duplicate"
    assert await desk.outcome(desk.charge_back("t2", site)) == "duplicate"
    assert await desk.outcome(desk.refund(other, site)) == "CannotReverse"
    assert (await site.node.freezes.freeze("eve", "f1")).duplicate
    assert not (await site.node.freezes.unfreeze("eve", "u1")).duplicate


# --- orders that compete ---------------------------------------------------------------------------------------------
async def settle(desk: Desk, gift: str) -> None:
    """Repeat both orders once all is journaled: each answer is final, and the gift was reversed once."""
    await desk.journal()
    assert await desk.outcome(desk.charge_back("t1")) in ("done", "duplicate")
    await desk.journal()
    assert await desk.outcome(desk.charge_back("t1")) == "duplicate"
    assert await desk.outcome(desk.refund(gift)) in ("duplicate", "CannotReverse")
    assert (await desk.holds("cleo"), desk.earned("ann")) == (0, 0)


async def test_refund_right_after_a_chargeback(desk: Desk) -> None:
    """A gift that was charged back is not refunded, even before the journal has the chargeback."""
    gift = await gave_60_of_100(desk)
    async with desk.journaling():
        await desk.site.node.freezes.freeze("cleo", "f1")
        await desk.site.node.chargebacks.charge_back("t1", "")
        outcome = await desk.outcome(desk.refund(gift))
    assert outcome in ("CannotReverse", "NotYet")
    await settle(desk, gift)


async def test_refund_amid_a_chargeback(desk: Desk, wire: LossyWire) -> None:
    """A gift that a chargeback is about to take back cannot be refunded."""
    gift = await gave_60_of_100(desk)
    await lose(desk, wire, "request", CHARGEBACK, desk.charge_back("t1"))
    assert await desk.outcome(desk.refund(gift)) in ("CannotReverse", "NotYet")
    await settle(desk, gift)


async def test_refund_amid_two_chargebacks(desk: Desk, wire: LossyWire) -> None:
    """Nor can it be refunded while the other top-up that paid for it is charged back."""
    await desk.buy("cleo", 50, "t1")
    await desk.buy("cleo", 100, "t2")
    gift = await desk.give("cleo", 80, 40)
    await desk.journal()
    await lose(desk, wire, "request", CHARGEBACK, desk.charge_back("t2"))
    assert await desk.outcome(desk.refund(gift)) in ("CannotReverse", "NotYet")
    assert await desk.outcome(desk.charge_back("t1")) in ("done", "NotYet")
    await desk.charge_back("t2")
    await settle(desk, gift)


async def test_chargeback_amid_a_refund(desk: Desk, wire: LossyWire) -> None:
    """A refund that never reached the wallet is completed before the chargeback, not in addition to it."""
    gift = await gave_60_of_100(desk)
    await lose(desk, wire, "request", REFUND, desk.refund(gift))
    done = await desk.charge_back("t1")
    assert (done.coins, done.reversed) == (-100, [])
    await settle(desk, gift)
    assert set(desk.orders().values()) == {"posted"}


async def test_a_borrowed_gift_id_amid_a_refund(desk: Desk, wire: LossyWire) -> None:
    """Somebody copies the id of a gift that is being refunded: its top-up can still be charged back."""
    gift = await gave_60_of_100(desk)
    await lose(desk, wire, "request", REFUND, desk.refund(gift))
    await desk.buy("mallory", 100, "t2")
    await desk.give("mallory", 1, 0, id=gift)
    assert await desk.outcome(desk.charge_back("t1")) == "done"
    await desk.journal()
    assert (await desk.holds("cleo"), desk.earned("ann"), await desk.holds("mallory")) == (0, 0, 99)


async def test_refunds_while_a_chargeback_runs(desk: Desk) -> None:
    """Gifts are refunded one by one while their top-up is charged back: each is reversed once."""
    await desk.buy("cleo", 100, "t1")
    gifts = [await desk.give("cleo", 2, 1) for _ in range(40)]
    await desk.journal()
    outcomes = []

    async def refund_all() -> None:
        for gift in gifts:
            outcomes.append(await desk.outcome(desk.refund(gift)))

    async with desk.journaling():  # a frozen wallet's refunds wait for the journal, too
        charged_back = desk.site.node.chargebacks.charge_back("t1", "a test")
        await asyncio.gather(desk.outcome(charged_back), refund_all())
    assert set(outcomes) <= {
        "done",
        "duplicate",
        "CannotReverse",
        "NotYet",
    }  # the chargeback completes pending refunds itself
    for gift in (gifts[0], gifts[-1]):
        await settle(desk, gift)


async def test_unfrozen_amid_a_chargeback(desk: Desk, wire: LossyWire) -> None:
    """Unfreezing the wallet during a chargeback does not let its user escape: the order still completes."""
    gift = await gave_60_of_100(desk)
    await lose(desk, wire, "request", CHARGEBACK, desk.charge_back("t1"))
    await desk.outcome(desk.site.node.freezes.unfreeze("cleo", "u1"))
    await desk.outcome(desk.give("cleo", 40, 20))
    await settle(desk, gift)


async def test_unfrozen_before_the_decision(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unfrozen before the chargeback has looked at what was spent, the wallet is frozen again."""
    gift = await gave_60_of_100(desk)
    await desk.give("cleo", 1)
    monkeypatch.setattr(limits, "JOURNALED_POLLS", 1)
    with pytest.raises(NotYet):
        await desk.site.node.chargebacks.charge_back("t1", "")
    monkeypatch.undo()
    await desk.outcome(desk.site.node.freezes.unfreeze("cleo", "u1"))
    await desk.journal()
    await desk.charge_back("t1")
    assert await desk.status("cleo") == "frozen"
    await settle(desk, gift)


async def test_ids_that_are_long_and_alike(desk: Desk) -> None:
    """Two long top-up ids differ only in their last letter: each chargeback freezes the wallet."""
    ids = [f"{'x' * 63}{last}" for last in "ab"]
    for id in ids:
        await desk.buy("cleo", 100, id)
        await desk.charge_back(id)
        assert await desk.status("cleo") == "frozen"
        await desk.site.node.freezes.unfreeze("cleo", f"after-{id[-1]}")
        await desk.journal()
