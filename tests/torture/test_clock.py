"""Wrong clocks, the senders', the store's or the journal's: no id is paid twice, and a fresh one can be paid."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from protocol.ids import uuid7_ms
from protocol.refusals import Refusal, Refused
from server import limits
from server.orders.own_limits import OwnLimits
from server.store import keys
from tests.site import new_gift_id
from tests.torture.bank import CLOCK, WAIT_S, Bank
from tests.torture.clocks import World, connected

DAY_MS = 86_400_000
MakeBank = Callable[..., Awaitable[Bank]]


@pytest.mark.parametrize("shift_ms", [-DAY_MS, -7_230_000, 630_000, DAY_MS])
async def test_an_id_of_a_wrong_clock(bank: Bank, shift_ms: int) -> None:
    """An id from long ago or from the future has expired and is not paid; a small difference is fine."""
    await bank.give(10)
    for _ in range(3):
        outcome = await bank.node.send(bank.gift(id=new_gift_id(shift_ms)))
        assert isinstance(outcome, Refused)
        assert outcome.reason is Refusal.EXPIRED_ID
    for off_ms in (-7_100_000, -60_000, 60_000, 570_000):
        await bank.one_more("viewer1", id=new_gift_id(off_ms))
    await bank.check()


@pytest.fixture
async def world(cut_bank: MakeBank) -> AsyncIterator[World]:
    bank = await cut_bank()
    wallet = connected(bank)
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    made = World(bank, wallet)
    await made.move()
    await made.away(15)  # the machine has run for a while: its wall clock is believed
    await made.move()
    yield made
    await wallet.stop()


# Each scene is a list of steps (see World), with minutes. Afterwards everybody asks again, and the books are checked.
SCENES = {
    "the store's clock is three hours ahead, and back": (
        "give, store 180, again, fresh, move, again, live 5, again, store -180, again, fresh, live 5, again, fresh"
    ),
    "the store's clock is three hours behind, and back": (
        "give, store -180, again, fresh, live 5, again, fresh, store 180, again, fresh"
    ),
    "the store's clock is thirty days ahead, and back": (
        "give, store 43200, again, fresh, live 5, give, again, store -43200, again, fresh, live 5, again, fresh"
    ),
    "the store's clock is right again while the journal is away": (
        "give, store 180, give, away 5, store -180, again, fresh, move, again, fresh"
    ),
    "the journal's wall clock jumps ahead, and back": (
        "give, wall 43200, live 15, again, fresh, wall -43200, live 5, again, fresh"
    ),
    "the journal's wall clock jumps behind, and back": (
        "give, wall -180, live 15, again, fresh, wall 180, live 15, again, fresh"
    ),
    "the journal is away for two days": (
        "give, away 2880, fresh, give, give 2000, again, move, again, live 9, again, fresh, live 20, again, fresh"
    ),
    "a gift is sent with the floor two days behind, just before it jumps, and again": (
        "away 1440, give 1500, restart, move, restart, move, again, live 9, again, fresh"
    ),
    "the journal is in a crash loop": "give, crash 30, again, fresh, give 119, crash 9, again, crash 20, again, fresh",
    "an answer is lost at the floor": "live 5, give 119, live 2, again, live 7, again, live 15, again, fresh",
    "the store fails over and is filled": "give, give 100, lose, again, fresh, live 5, again, lose, again, fresh",
    "an answer is lost at the floor, and then the store": "give 119, live 7, lose, again, fresh, live 5, again",
    "the store is filled while its clock is wrong": (
        "give, store 180, lose, again, fresh, store -180, again, fresh, lose, again, fresh"
    ),
    "the store is filled after the journal was away": "give, away 300, give, give 119, lose, again, fresh, move, again",
    "the machine was suspended": "give 60, away 480, fresh, move, again, fresh, give 119, live 9, again",
    "the machine was switched off": (
        "give, off 600, give, boot, move, again, fresh, live 9, again, live 15, again, give 119, live 9, again, fresh"
    ),
    "the machine starts with a clock far ahead": (
        "give, off 1, boot, wall 43200, live 5, again, fresh, wall -43200, live 15, again, fresh"
    ),
    "the machine starts with a clock far behind": (
        "give, off 1, boot, wall -43200, live 5, again, fresh, wall 43200, live 15, again, fresh"
    ),
}


@pytest.mark.parametrize("steps", SCENES.values(), ids=SCENES.keys())
async def test_no_clock_pays_twice(world: World, steps: str) -> None:
    """Whatever a clock does, an id is paid once, a sender whose answer was lost learns it, and fresh ids are taken."""
    for step in steps.split(", "):
        name, _, minutes = step.partition(" ")
        await getattr(world, name)(int(minutes or 0))
    await world.again()
    await world.fresh()
    await world.bank.check()


@pytest.mark.parametrize(
    ("steps", "hours"),
    [
        ("live 180", 3),
        ("away 2880, move", 48),
        ("away 2880, restart, move, crash 20", 48),
        ("off 2880, boot, live 20", 48),
        ("off 2880, boot, wall 43200, live 5, wall -43200, live 20", 48),
        ("wall 180, live 60, wall -180, live 1", 1),
        ("wall -180, live 60, wall 180, live 20", 1),
    ],
)
async def test_money_time_keeps_up(world: World, steps: str, hours: int) -> None:
    """Money time is right again after every absence: at once if the machine ran on, else after some minutes."""
    began = await world.move()
    minutes = 0
    for step in steps.split(", "):
        name, _, number = step.partition(" ")
        await getattr(world, name)(int(number or 0))
        minutes += int(number or 0) if name in ("live", "away", "off", "crash") else 0
    now = await world.move()
    assert abs(now.now_ms - began.now_ms - minutes * 60_000) < 30_000
    assert minutes // 60 == hours


async def test_receipts_are_forgotten_in_the_end(world: World) -> None:
    """A receipt goes ten to thirty minutes after its id was too old, from the oldest on; younger ones stay."""
    old = await world.bank.one_more("viewer1", id=world.new_id())
    await world.live(60)
    new = await world.bank.one_more("viewer1", id=world.new_id())
    with world.bank.look() as look:
        names = [keys.receipts(keys.partition_of("viewer1"), uuid7_ms(gift.gift_id)) for gift in (old, new)]
        await world.live(69)  # two hours and nine minutes
        assert [look.exists(name) for name in names] == [1, 1]
        await world.live(22)
        assert [look.exists(name) for name in names] == [0, 1]
    outcome = await world.bank.node.send(old)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Refusal.EXPIRED_ID


async def test_ids_of_forgotten_receipts_stay_refused(world: World) -> None:
    """Even if a partition's money time is lost or set back, an id whose receipt was deleted is not paid."""
    gift = await world.bank.one_more("viewer1", id=world.new_id())
    await world.away(300)
    await world.move()
    await world.live(22)
    meta = keys.wallet_meta(keys.partition_of("viewer1"))
    with world.bank.look() as look:
        look.hset(meta, "now", uuid7_ms(gift.gift_id))
    outcome = await world.bank.node.send(gift)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Refusal.EXPIRED_ID


async def test_receipts_of_an_older_program(world: World) -> None:
    """Strings with an expiry answer as long as they live, and new gifts get their receipts in hashes."""
    gift, other = [await world.bank.one_more("viewer1", id=world.new_id()) for _ in range(2)]
    partition, id_ms = keys.partition_of("viewer1"), uuid7_ms(gift.gift_id)
    receipts = keys.receipts(partition, id_ms)
    with world.bank.look() as look:  # as that program has left it
        for each in (gift, other):
            text = look.hget(receipts, keys.receipts_field("viewer1", each.gift_id))
            look.set(keys.receipt("viewer1", each.gift_id), text, pxat=id_ms + limits.GIFT_ID_LIFE_MS + 600_000)
        look.delete(receipts)
        look.hdel(keys.wallet_meta(partition), "now", "forgot", "strings")
    world.bank.book.forget(gift.gift_id)
    await world.bank.node.send(gift)  # the partition has no time: the node opens it again
    await world.bank.node.until_usable()
    await world.bank.resolve()
    paid = await world.bank.node.send(gift)
    assert not isinstance(paid, Refused)
    assert paid.duplicate
    conflict = await world.bank.node.send(world.bank.gift(viewer="viewer1", id=other.gift_id, coins=other.coins + 1))
    assert isinstance(conflict, Refused)
    assert conflict.reason is Refusal.CONFLICT
    world.bank.book.open.clear()
    world.bank.book.sent[other.gift_id] = other
    found = await world.bank.node.wallet.find("viewer1", other.gift_id)
    assert found is not None
    await world.fresh()
    await world.away(150)
    await world.move()
    await world.again()
    await world.bank.check()


def own_limits(world: World) -> OwnLimits:
    return OwnLimits(world.bank.engine, world.bank.node.wallet, CLOCK)


async def test_a_day_of_limits_is_one_of_money_time(world: World) -> None:
    """A store whose clock jumps to tomorrow does not let a viewer spend twice a day; the next day lets them."""
    await own_limits(world).set("viewer1", "l1", 20)
    await world.bank.one_more("viewer1", coins=20, id=world.new_id())

    async def one_coin_more() -> object:
        return await world.bank.node.send(world.bank.gift(viewer="viewer1", coins=1, combo=None, id=world.new_id()))

    for jump in (1440, -2880, 1440):
        await world.store(jump)
        outcome = await one_coin_more()
        assert isinstance(outcome, Refused)
        assert outcome.reason is Refusal.SPEND_LIMIT
    await world.away(1440)
    await world.move()
    assert not isinstance(await one_coin_more(), Refused)


async def test_limits_of_yesterday(world: World) -> None:
    """Yesterday's raised limit applies in a store that lost everything; only today's spending counts."""
    raised, kept = "viewer1", "viewer2"
    for user, order in ((raised, 50), (raised, 100), (kept, 50), (kept, 20)):
        await own_limits(world).set(user, f"{user}-{order}", order)
    for user, coins in ((raised, 50), (kept, 20)):
        await _spends_the_rest(world, user, coins)
    await world.away(1440)
    await world.move()
    await world.bank.one_more(kept, coins=5, id=world.new_id())
    await world.lose()
    for user, coins in ((raised, 100), (kept, 15)):
        await _spends_the_rest(world, user, coins)


async def _spends_the_rest(world: World, user: str, coins: int) -> None:
    await world.bank.one_more(user, coins=coins, id=world.new_id())
    outcome = await world.bank.node.send(world.bank.gift(viewer=user, coins=1, id=world.new_id()))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Refusal.SPEND_LIMIT
