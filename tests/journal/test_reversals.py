"""Refunds, chargebacks and freezes: each takes and gives once, forever, whatever was spent in between."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from protocol.refusals import Refused
from server.journal.parts import Part
from server.money.results import TopUpConflict
from server.orders.rows import CannotReverse, NotFound, Reversed
from server.orders.topups import TopUp
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.money import a_gift
from tests.site import Site, Viewer, new_gift_id


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """A desk of the host platform; everything must be sound after the test."""
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


# --- what a chargeback takes -----------------------------------------------------------------------------------------
T1, HALF, T2 = ("buy", "t1", 100), ("buy", "t1", 50), ("buy", "t2", 100)
Story = list[tuple[Any, ...]]

# (name, what happened, the top-up, coins from the wallet, (gift, creator, coins, diamonds) taken back, coins left)
CHARGEBACKS: list[tuple[str, Story, str, int, list[tuple[str, str, int, int]], int]] = [
    ("nothing spent", [T1], "t1", 100, [], 0),
    ("a part spent", [T1, ("give", "g1", 30, 15, "ann")], "t1", 70, [("g1", "ann", 30, 15)], 0),
    ("all spent", [T1, ("give", "g1", 100, 50, "ann")], "t1", 0, [("g1", "ann", 100, 50)], 0),
    (
        "several gifts and creators",
        [T1, ("give", "g1", 10, 5, "ann"), ("give", "g2", 20, 10, "ben"), ("give", "g3", 30, 15, "ann")],
        "t1",
        40,
        [("g1", "ann", 10, 5), ("g2", "ben", 20, 10), ("g3", "ann", 30, 15)],
        0,
    ),
    ("another stands beside it", [T1, T2, ("give", "g1", 30, 15, "ann")], "t1", 70, [("g1", "ann", 30, 15)], 100),
    ("the newer, not yet touched", [T1, T2, ("give", "g1", 30, 15, "ann")], "t2", 100, [], 70),
    ("the older half of a gift", [T1, T2, ("give", "g1", 130, 65, "ann")], "t1", 0, [("g1", "ann", 100, 50)], 70),
    ("the newer half of a gift", [T1, T2, ("give", "g1", 130, 65, "ann")], "t2", 70, [("g1", "ann", 30, 15)], 0),
    ("diamonds that do not divide", [T1, T2, ("give", "g1", 101, 3, "ann")], "t1", 0, [("g1", "ann", 100, 2)], 99),
    ("a gift without diamonds", [T1, ("give", "g1", 30, 0, "ann")], "t1", 70, [("g1", "ann", 30, 0)], 0),
    (
        "both halves, one after the other",
        [T1, T2, ("give", "g1", 131, 66, "ann"), ("charge_back", "t1")],
        "t2",
        69,
        [("g1", "ann", 31, 16)],
        0,
    ),
    ("after a refund", [T1, ("give", "g1", 30, 15, "ann"), ("refund", "g1")], "t1", 100, [], 0),
    (
        "after a refund of one of two",
        [T1, ("give", "g1", 30, 15, "ann"), ("give", "g2", 50, 25, "ben"), ("refund", "g1")],
        "t1",
        50,
        [("g2", "ben", 50, 25)],
        0,
    ),
    (
        "refunded coins are spent first",
        [HALF, ("give", "g1", 50, 25, "ann"), ("buy", "t2", 50), ("refund", "g1"), ("give", "g2", 60, 30, "ben")],
        "t1",
        0,
        [("g2", "ben", 50, 25)],
        40,
    ),
]


class Teller:
    """Plays a story at a desk; gifts have names in it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.gifts: dict[str, str] = {}

    async def tell(self, story: Story) -> None:
        for verb, name, *rest in story:
            match verb:
                case "buy":
                    await self.desk.buy("cleo", *rest, name)
                case "give":
                    coins, diamonds, to = rest
                    self.gifts[name] = await self.desk.give("cleo", coins, diamonds, to=to)
                case "refund":
                    await self.desk.journal()
                    await self.desk.refund(self.gifts[name])
                case "charge_back":
                    await self.desk.charge_back(name)
                    await self.desk.site.node.freezes.unfreeze("cleo", f"after-{name}")


@pytest.mark.parametrize(
    ("story", "topup", "taken", "reversed_", "left"), [pytest.param(*row[1:], id=row[0]) for row in CHARGEBACKS]
)
async def test_chargeback(
    desk: Desk, story: Story, topup: str, taken: int, reversed_: list[tuple[str, str, int, int]], left: int
) -> None:
    """The rest of the top-up leaves the wallet, creators give back what it paid for, and the wallet is frozen."""
    teller = Teller(desk)
    await teller.tell(story)
    await desk.journal()
    before = {creator: desk.earned(creator) for creator in ("ann", "ben")}
    parts = [Part(teller.gifts[gift], to, "demo", coins, diamonds) for gift, to, coins, diamonds in reversed_]
    lost = sum(part.diamonds for part in parts)
    expected = Reversed(
        id=topup, duplicate=False, user_id="cleo", coins=-taken, balance=left, diamonds=lost, reversed=parts
    )
    assert await desk.charge_back(topup) == expected
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (left, "frozen")
    await desk.journal()
    for creator, had in before.items():
        assert desk.earned(creator) == had - sum(part.diamonds for part in parts if part.creator == creator)
    assert desk.orders()["chargeback", topup] == "posted"
    assert await desk.charge_back(topup) == msgspec.structs.replace(expected, duplicate=True)


async def test_chargebacks_of_two_top_ups_at_once(desk: Desk) -> None:
    """Two top-ups that paid for one gift are charged back together: each takes its own share."""
    await Teller(desk).tell([T1, T2, ("give", "g1", 130, 65, "ann")])
    await desk.journal()
    async with desk.journaling():
        done = await asyncio.gather(*(desk.site.node.chargebacks.charge_back(topup, "") for topup in ("t1", "t2")))
    assert [(one.coins, one.diamonds, one.duplicate) for one in done] == [(0, 50, False), (-70, 15, False)]
    await desk.journal()
    assert (await desk.holds("cleo"), desk.earned("ann")) == (0, 0)


async def test_a_gift_of_many_top_ups(desk: Desk) -> None:
    """A gift that a hundred small top-ups paid for gives back all of its diamonds when all of them are taken back."""
    topups = [await desk.buy("cleo", 2) for _ in range(100)]
    await desk.give("cleo", 200, 120)
    await desk.journal()
    async with desk.journaling():
        for first in range(0, 100, 10):
            some = topups[first : first + 10]
            await asyncio.gather(*(desk.site.node.chargebacks.charge_back(topup, "") for topup in some))
    await desk.journal()
    assert (await desk.holds("cleo"), desk.earned("ann")) == (0, 0)
    told = await desk.site.node.earnings.of("ann")
    assert (told.credited, told.taken_back, told.pending, told.available) == (120, 120, 0, 0)


async def test_the_same_chargeback_at_once(desk: Desk, another_site: Callable[[], Awaitable[Site]]) -> None:
    """One order comes many times at two nodes: it is carried out once, and all get the same answer."""
    other = await another_site()
    await Teller(desk).tell([T1, ("give", "g1", 30, 15, "ann")])
    await desk.journal()
    async with desk.journaling():
        nodes = [desk.site.node, other.node] * 4
        done = await asyncio.gather(*(node.chargebacks.charge_back("t1", "") for node in nodes))
    assert sorted(one.duplicate for one in done) == [False] + [True] * 7
    assert {(one.coins, one.balance, one.diamonds, len(one.reversed)) for one in done} == {(-70, 0, 15, 1)}


@pytest.mark.parametrize("topup", ["never-sold", "demo-alic", "T1"])
async def test_chargeback_of_an_unknown_top_up(desk: Desk, topup: str) -> None:
    """An id that the journal does not know freezes nobody and leaves no order."""
    await desk.buy("cleo", 100, "t1")
    await desk.journal()
    with pytest.raises(NotFound):
        await desk.charge_back(topup)
    assert (await desk.holds("cleo"), await desk.status("cleo"), desk.orders()) == (100, "ok", {})


async def test_chargeback_while_gifts_are_sent(desk: Desk) -> None:
    """Gifts acked before the freeze are reversed to the last coin; later gifts are refused."""
    old, bad = await desk.buy("cleo", 5), await desk.buy("cleo", 1_000)
    await desk.journal()
    viewer, acked, reasons, some = await desk.site.join("cleo"), set[str](), set[str](), asyncio.Event()

    async def keep_giving() -> None:
        for _ in range(40):
            id = new_gift_id()
            reply = await viewer.gift("rose", id=id)
            if reply["type"] == "refused":
                reasons.add(reply["reason"])
                return
            acked.add(id)
            if len(acked) == 20:
                some.set()

    async with asyncio.TaskGroup() as tasks:
        givers = [tasks.create_task(keep_giving()) for _ in range(4)]
        await some.wait()
        charging = tasks.create_task(desk.site.node.chargebacks.charge_back(bad, ""))
        await asyncio.wait(givers)  # their gifts are not journaled yet
        async with desk.journaling():
            done = await charging
    assert reasons <= {"wallet_frozen"}
    assert (await viewer.gift("rose"))["reason"] == "wallet_frozen"
    reversed_ = {part.gift_id for part in done.reversed}
    assert (len(acked - reversed_), reversed_ - acked) == (5, set())
    assert (done.coins, done.balance) == (len(reversed_) - 1_000, 0)
    assert (await desk.charge_back(old)).coins == 0
    await desk.journal()
    assert desk.earned("creator") == 0


# --- refunds ---------------------------------------------------------------------------------------------------------
async def test_refund(desk: Desk) -> None:
    """The gift's coins go back and the creator loses its diamonds; other gifts stay."""
    await desk.buy("cleo", 100)
    gift, other = await desk.give("cleo", 30, 15), await desk.give("cleo", 20, 10)
    await desk.journal()
    part = Part(gift, "ann", "demo", 30, 15)
    expected = Reversed(id=gift, duplicate=False, user_id="cleo", coins=30, balance=80, diamonds=15, reversed=[part])
    assert await desk.refund(gift) == expected
    await desk.journal()
    assert (await desk.holds("cleo"), desk.earned("ann")) == (80, 10)
    assert desk.orders() == {("refund", gift): "posted"}
    await desk.refund(other)
    assert await desk.holds("cleo") == 100


async def test_a_refund_counts_once(desk: Desk, another_site: Callable[[], Awaitable[Site]]) -> None:
    """Ordered many times, together or later, at two nodes, journaled or not: the coins go back once."""
    other = await another_site()
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 30)
    await desk.journal()
    at_once = await asyncio.gather(*(desk.refund(gift, site) for site in [desk.site, other] * 4))
    assert sorted(one.duplicate for one in at_once) == [False] + [True] * 7
    await desk.give("cleo", 1)
    later = [await desk.refund(gift)]
    await desk.journal()
    later.append(await desk.refund(gift, other))
    assert [one.duplicate for one in later] == [True, True]
    assert {(one.coins, one.balance) for one in (*at_once, *later)} == {(30, 100)}
    assert await desk.holds("cleo") == 99


async def test_refund_of_a_gift_that_is_not_journaled(desk: Desk) -> None:
    """Only a journaled gift can be refunded: before the drain has read it, it is not found."""
    await desk.buy("cleo", 100)
    await desk.journal()
    gift = await desk.give("cleo", 30)
    for unknown in (gift, new_gift_id()):
        with pytest.raises(NotFound):
            await desk.refund(unknown)
    assert (await desk.holds("cleo"), desk.orders()) == (70, {})
    await desk.journal()
    await desk.refund(gift)
    assert await desk.holds("cleo") == 100


async def test_a_refund_to_a_frozen_wallet(desk: Desk) -> None:
    """A frozen wallet cannot spend, but it gets its refunds, once the journal knows what the wallet did."""
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 30)
    await desk.journal()
    await desk.site.node.freezes.freeze("cleo", "f1")
    await desk.journal()
    await desk.refund(gift)
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (100, "frozen")


async def test_texts_that_not_every_database_takes(desk: Desk) -> None:
    """A NUL in a reason or source is taken or refused cleanly by each database, never a 503."""
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 30)
    await desk.journal()
    orders = [(f"/v1/gifts/{gift}/refund", {"reason": "a\0b"})]
    orders.append(("/v1/wallets/cleo/topups", {"id": "t1", "coins": 1, "source": "a\0b"}))
    for path, order in orders:
        assert (await desk.site.http.post(path, json=order)).status_code in (201, 400), path


@pytest.mark.parametrize("topup", ["t1", "t2"])
async def test_refund_after_a_chargeback(desk: Desk, topup: str) -> None:
    """A gift whose top-up was charged back, even in part, is not refunded as well; others are."""
    teller = Teller(desk)
    await teller.tell([T1, T2, ("give", "g1", 60, 30, "ann"), ("give", "g2", 60, 30, "ben")])
    await desk.charge_back(topup)
    await desk.journal()
    with pytest.raises(CannotReverse):
        await desk.refund(teller.gifts["g2"])
    outcome = await desk.outcome(desk.refund(teller.gifts["g1"]))
    assert outcome == ("CannotReverse" if topup == "t1" else "done")


# --- frozen wallets --------------------------------------------------------------------------------------------------
async def test_freeze_and_unfreeze(desk: Desk) -> None:
    """A frozen wallet cannot spend its coins but takes top-ups; unfrozen, it can spend again."""
    node = desk.site.node
    await desk.buy("cleo", 100)
    viewer, gift = await desk.site.join("cleo"), a_gift("cleo", 30)
    await node.wallet.spend(gift)
    assert not (await node.freezes.freeze("cleo", "f1")).duplicate
    assert (await viewer.gift("rose"))["reason"] == "wallet_frozen"
    assert (await node.wallet.spend(gift)).duplicate
    await desk.buy("cleo", 10)
    assert (await node.freezes.freeze("cleo", "f1")).duplicate
    assert not (await node.freezes.freeze("cleo", "f2")).duplicate
    assert await desk.status("cleo") == "frozen"
    assert not (await node.freezes.unfreeze("cleo", "f1")).duplicate
    assert (await viewer.gift("rose"))["coins"] == 79
    assert (await node.freezes.freeze("cleo", "f2")).duplicate
    assert await desk.status("cleo") == "ok"


async def test_freezing_a_wallet_before_its_first_top_up(desk: Desk) -> None:
    """A user without a wallet can be frozen."""
    await desk.site.node.freezes.freeze("newcomer", "f1")
    await desk.buy("newcomer", 100)
    with pytest.raises(Refused, match="wallet_frozen"):
        await desk.give("newcomer", 1)


# --- once, forever ---------------------------------------------------------------------------------------------------
async def _again(desk: Desk, order: str, gift: str) -> Any:
    node = desk.site.node
    match order:
        case "topup":
            return await node.purchases.top_up("cleo", TopUp("t2", 100, "test"))
        case "refund":
            return await node.refunds.refund(gift, "")
        case "chargeback":
            return await desk.charge_back("t1")
        case _:
            return await getattr(node.freezes, order)("cleo", "f1")


@pytest.mark.parametrize("order", ["topup", "refund", "chargeback", "freeze", "unfreeze"])
async def test_an_order_counts_once_forever(desk: Desk, order: str) -> None:
    """An order repeated after the store has forgotten it moves nothing, whatever happened since."""
    teller = Teller(desk)
    await teller.tell([T1, ("give", "g1", 30, 15, "ann"), T2])
    await desk.journal()
    if order != "topup":
        assert not (await _again(desk, order, teller.gifts["g1"])).duplicate
    await desk.site.node.freezes.freeze("cleo", "other")
    if order != "unfreeze":
        await desk.site.node.freezes.unfreeze("cleo", "other")
        await desk.give("cleo", 20)
    await desk.journal()
    await desk.forget()
    was = await desk.holds("cleo"), await desk.status("cleo"), desk.earned("ann")
    again = await _again(desk, order, teller.gifts["g1"])
    await desk.journal()
    assert (await desk.holds("cleo"), await desk.status("cleo"), desk.earned("ann")) == was
    assert again.duplicate


async def test_another_order_under_a_top_ups_id(desk: Desk) -> None:
    """A top-up that was charged back cannot be bought again under its id."""
    await desk.buy("cleo", 100, "t1")
    await desk.charge_back("t1")
    await desk.journal()
    await desk.forget()
    again = await desk.site.node.purchases.top_up("cleo", TopUp("t1", 100, "test"))
    assert (again.duplicate, await desk.holds("cleo")) == (True, 0)
    with pytest.raises(TopUpConflict):
        await desk.site.node.purchases.top_up("dan", TopUp("t1", 100, "test"))


# --- who gets the news -----------------------------------------------------------------------------------------------
def changes(viewer: Viewer) -> list[tuple[int, str, str]]:
    """Each different wallet change that a socket was told about, in order."""
    told = [m for m in viewer.told if m["type"] == "wallet.changed"]
    return [key for key, _ in itertools.groupby((m["coins"], m["cause"], m["ref"]) for m in told)]


async def test_every_socket_is_told(desk: Desk, another_site: Callable[[], Awaitable[Site]]) -> None:
    """A reversal is sent to every socket of that user, on any node, and to nobody else."""
    other = await another_site()
    await desk.buy("cleo", 100, "t1")
    gift = await desk.give("cleo", 30)
    await desk.journal()
    mine = [await desk.site.join("cleo"), await other.join("cleo", codec="msgpack")]
    not_mine = await desk.site.join("dan")
    await desk.refund(gift)
    await desk.refund(gift)
    await desk.charge_back("t1")
    await desk.buy("cleo", 7, "t2")
    for viewer in mine:
        await viewer.happened("wallet.changed", cause="topup", ref="t2")
        assert list(dict.fromkeys(changes(viewer))) == [
            (100, "refund", gift),
            (0, "chargeback", "t1"),
            (7, "topup", "t2"),
        ]
    assert changes(not_mine) == []
