"""The wallet when requests, replies, callers or the store itself are lost: a gift is paid once or not at all."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest

from protocol.refusals import Refused
from server import limits
from server.money.results import Paid
from server.money.store import NotReplicated
from server.money.wallet import SPEND
from server.store import keys
from tests.lossy import LossyWire
from tests.money import Purse, a_gift
from tests.site import WAIT_S
from tests.stores import ValkeyProcess


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wallet that gives up on a missing store sooner, to keep these tests short."""
    monkeypatch.setattr(limits, "SPEND_WAIT_S", 0.2)
    monkeypatch.setattr(limits, "STORE_CALL_S_MAX", 1.0)


@pytest.fixture
async def near_purse(far_purse: Purse) -> AsyncIterator[Purse]:
    """The wallet of another node on the same store and journal, without the wire."""
    near = msgspec.structs.replace(far_purse.settings, wallet_url=f"unix://{far_purse.of.socket}")
    made = Purse(near, far_purse.of)
    await made.start()
    yield made
    await made.stop()


async def test_a_lost_reply_is_found_by_the_gifts_id(far_purse: Purse, wire: LossyWire) -> None:
    """The call was carried out but its reply was lost: the sender gets its outcome, and the sockets the change."""
    await far_purse.buy("alice", 100)
    gift = a_gift(combo="c")
    wire.lose_reply(SPEND.sha)
    paid = await far_purse.pay(gift)
    assert wire.lost
    assert isinstance(paid, Paid)
    assert (paid.balance, paid.combo_count, paid.duplicate) == (90, 1, True)
    assert await far_purse.outcome(gift) == "duplicate 90"
    assert [change.coins for change in far_purse.changes if change.cause == "gift"] == [90]


async def test_which_try_paid(far_purse: Purse, wire: LossyWire) -> None:
    """Only a reply says which try paid; if that reply is lost, another try may have paid."""
    await far_purse.buy("alice", 100)
    gift, first = a_gift(), list[bool]()
    for lost in (False, False, True):
        if lost:
            wire.lose_reply(SPEND.sha)
        paid = await far_purse.pay(gift)
        assert isinstance(paid, Paid)
        first.append(paid.first)
    assert wire.lost
    assert first == [True, False, False]


async def test_one_id_over_two_nodes_around_a_lost_request(
    far_purse: Purse, wire: LossyWire, near_purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node's call is lost, another pays the same id: the receipt that the first finds is not its own payment."""
    await far_purse.buy("alice", 100)
    gift, answers = a_gift(), list[str]()
    wait_up = far_purse.store.wait_up

    async def after_the_other_node(timeout_s: float) -> None:
        answers.append(await near_purse.outcome(gift))
        await wait_up(timeout_s)

    monkeypatch.setattr(far_purse.store, "wait_up", after_the_other_node)
    wire.lose_request(SPEND.sha)
    answers.append(await far_purse.outcome(gift))
    assert wire.lost
    assert answers == ["ok 90", "duplicate 90"]
    assert [change.coins for change in far_purse.changes if change.cause == "gift"] == [90]
    assert await far_purse.holds("alice") == 90


async def test_a_lost_reply_of_many_gifts(far_purse: Purse, wire: LossyWire) -> None:
    """Each gift of the call gets its own outcome; an unpaid one is unknown until its sender asks again."""
    for person in ("alice", "bob", "carol"):
        await far_purse.buy(person, 100)
    known = a_gift("carol", 5)
    await far_purse.outcome(known)
    sent = [a_gift("alice", 60), a_gift("alice", 60), a_gift("bob", 30), a_gift("carol", 6, id=known.gift_id)]
    wire.lose_reply(SPEND.sha)
    assert await far_purse.outcomes(*sent) == ["duplicate 40", "wallet_unavailable", "duplicate 70", "conflict"]
    assert await far_purse.outcomes(*sent) == ["duplicate 40", "insufficient_coins", "duplicate 70", "conflict"]


async def test_a_found_receipt_is_confirmed(far_purse: Purse, wire: LossyWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lost reply, too, a gift counts as paid only when it is as durable as promised."""
    await far_purse.buy("alice", 100)
    gift = a_gift()

    async def not_confirmed() -> None:
        raise NotReplicated("no replica confirmed")

    with monkeypatch.context() as patch:
        patch.setattr(far_purse.store, "_confirm", not_confirmed)
        wire.lose_reply(SPEND.sha)
        assert await far_purse.outcome(gift) == "wallet_unavailable"
    assert wire.lost
    assert await far_purse.outcome(gift) == "duplicate 90"


async def test_a_lost_request_costs_nothing(far_purse: Purse, wire: LossyWire) -> None:
    """The call never reached the store: the gift is refused for now, and paid when the same id comes again."""
    await far_purse.buy("alice", 100)
    gift = a_gift()
    wire.lose_request(SPEND.sha)
    refused = await far_purse.pay(gift)
    assert isinstance(refused, Refused)
    assert (refused.reason.value, refused.retry_after_ms) == ("wallet_unavailable", limits.SPEND_RETRY_MS)
    assert await far_purse.holds("alice") == 100
    await far_purse.settled()
    assert await far_purse.outcome(gift) == "ok 90"


async def test_a_lost_reply_of_a_top_up(far_purse: Purse, wire: LossyWire) -> None:
    """The order is repeated under its id and credited once."""
    wire.lose_reply("order-1")
    with pytest.raises(Refused, match="wallet_unavailable"):
        await far_purse.buy("alice", 100, "order-1")
    await far_purse.settled()
    assert (await far_purse.buy("alice", 100, "order-1")).balance == 100
    assert await far_purse.holds("alice") == 100


async def test_the_queue_has_a_bound(far_purse: Purse, wire: LossyWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gifts wait while a call is under way, up to a bound; above it they are refused immediately."""
    monkeypatch.setattr(limits, "SPEND_QUEUE_MAX", 10)
    await far_purse.buy("alice", 1_000)
    wire.hold()
    flying = asyncio.create_task(far_purse.outcome(a_gift()))
    while far_purse.wallet.queued or not _sent(far_purse):
        await asyncio.sleep(0)
    waiting = [asyncio.create_task(far_purse.outcome(a_gift())) for _ in range(10)]
    await asyncio.sleep(0)
    assert far_purse.wallet.queued == 10
    assert await far_purse.outcome(a_gift()) == "wallet_unavailable"
    assert not any(task.done() for task in (flying, *waiting))
    wire.release()
    assert [await task for task in (flying, *waiting)] == [f"ok {coins}" for coins in range(990, 880, -10)]


def _sent(purse: Purse) -> bool:
    """Whether a call is on its way."""
    link = purse.store._money.link
    return link is not None and link.pending > 0


async def test_a_caller_that_goes_away(far_purse: Purse, wire: LossyWire) -> None:
    """Cancelling a sender does not cancel its gift, and no other sender gets its answer."""
    await far_purse.buy("alice", 100)
    await far_purse.buy("bob", 100)
    wire.hold()
    gifts = [a_gift("alice", 10), a_gift("alice", 20), a_gift("bob", 30)]
    tasks = [asyncio.create_task(far_purse.outcome(gift)) for gift in gifts]
    while not _sent(far_purse):
        await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    wire.release()
    assert await tasks[2] == "ok 70"
    assert await far_purse.outcomes(*gifts) == ["duplicate 90", "duplicate 70", "duplicate 70"]


async def test_a_store_that_is_killed(far_purse: Purse, own_store: ValkeyProcess, impatient: None) -> None:
    """Without a store the wallet refuses at once; a new store on the same disk has every acked gift."""
    await far_purse.buy("alice", 1_000)
    paid = [a_gift() for _ in range(20)]
    assert all(outcome.startswith("ok") for outcome in await far_purse.outcomes(*paid))
    own_store.kill()
    refused = a_gift()
    assert await far_purse.outcome(refused) == "wallet_unavailable"
    assert await far_purse.wallet.coins("alice") is None
    with pytest.raises(Refused, match="wallet_unavailable"):
        await far_purse.wallet.view("alice")
    with pytest.raises(Refused, match="wallet_unavailable"):
        await far_purse.buy("alice", 5)
    own_store.start()
    await far_purse.settled()
    assert await far_purse.outcome(refused) == "ok 790"
    assert {outcome.split()[0] for outcome in await far_purse.outcomes(*paid)} == {"duplicate"}
    assert await far_purse.holds("alice") == 790


async def test_gifts_while_the_store_is_killed(far_purse: Purse, own_store: ValkeyProcess, impatient: None) -> None:
    """Whenever the store dies, each `ok` is on disk, and sending the same ids again pays each gift once."""
    await far_purse.buy("alice", 10_000)
    sent = [a_gift(coins=1) for _ in range(1_000)]
    tasks = [asyncio.create_task(far_purse.outcome(gift)) for gift in sent]
    while far_purse.wallet.gifts < 200:
        await asyncio.sleep(0)
    own_store.kill()
    first = await asyncio.gather(*tasks)
    assert {outcome.split()[0] for outcome in first} == {"ok", "wallet_unavailable"}
    own_store.start()
    await far_purse.settled()
    again = await far_purse.outcomes(*sent)
    assert all(b.startswith("duplicate") for a, b in zip(first, again, strict=True) if a.startswith("ok"))
    assert {outcome.split()[0] for outcome in again} <= {"ok", "duplicate"}
    assert await far_purse.holds("alice") == 9_000


async def test_a_store_that_is_frozen(far_purse: Purse, own_store: ValkeyProcess, impatient: None) -> None:
    """A store that stops answering is dropped in bounded time; what it still does when it goes on counts once."""
    await far_purse.buy("alice", 100)
    assert own_store.process is not None
    own_store.process.send_signal(signal.SIGSTOP)
    try:
        gift = a_gift()
        assert await far_purse.outcome(gift) == "wallet_unavailable"
    finally:
        own_store.process.send_signal(signal.SIGCONT)
    await far_purse.settled()
    assert await far_purse.outcome(gift) in ("ok 90", "duplicate 90")
    assert await far_purse.outcome(gift) == "duplicate 90"
    assert await far_purse.holds("alice") == 90


async def test_stopping_finishes_what_was_taken(far_purse: Purse, wire: LossyWire) -> None:
    """A node that stops pays the gifts it has taken and takes no more."""
    await far_purse.buy("alice", 1_000)
    wire.hold()
    tasks = [asyncio.create_task(far_purse.outcome(a_gift(coins=1))) for _ in range(250)]
    while not _sent(far_purse):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(far_purse.wallet.stop())
    await asyncio.sleep(0)
    assert await far_purse.outcome(a_gift()) == "wallet_unavailable"
    wire.release()
    await stopping
    assert [await task for task in tasks] == [f"ok {coins}" for coins in range(999, 749, -1)]


async def test_a_store_that_forgot_its_scripts(purse: Purse) -> None:
    """Nobody notices a SCRIPT FLUSH on a running store."""
    await purse.buy("alice", 100)
    purse.look.script_flush()
    assert await purse.outcomes(a_gift(), a_gift()) == ["ok 90", "ok 80"]
    purse.look.script_flush()
    assert (await purse.buy("alice", 5)).balance == 85


async def test_a_later_epoch_fences_this_node(purse: Purse) -> None:
    """When another node has opened a later epoch, this node's gifts are refused until it opens again."""
    await purse.buy("alice", 100)
    await purse.buy("bob", 100)
    partition = keys.partition_of("alice")
    purse.look.xadd(keys.log(partition), {"t": "1", "e": json.dumps({"kind": "open"})}, id="2-0")
    purse.look.hset(keys.wallet_meta(partition), "epoch", "2")
    gift = a_gift("alice")
    assert await purse.outcomes(gift, a_gift("bob")) == ["wallet_unavailable", "ok 90"]
    await purse.settled()
    async with asyncio.timeout(WAIT_S):
        while (outcome := await purse.outcome(gift)) == "wallet_unavailable":
            await purse.settled()
    assert outcome == "ok 90"
    assert purse.look.xrevrange(keys.log(partition), count=1)[0][0] == "2-1"


async def test_it_opens_again_even_when_nobody_can_be_told(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    """One gift of a call is paid and its change cannot be told, another is of an old epoch: the node opens again."""
    await purse.buy("alice", 100)
    await purse.buy("bob", 100)
    partition, reopened = keys.partition_of("alice"), list[bool]()
    purse.look.xadd(keys.log(partition), {"t": "1", "e": json.dumps({"kind": "open"})}, id="2-0")
    purse.look.hset(keys.wallet_meta(partition), "epoch", "2")
    monkeypatch.setattr(purse.store, "reopen", lambda: reopened.append(True))

    def fail(_changes: object) -> None:
        raise OSError("nobody can be told")

    monkeypatch.setattr(purse.wallet, "_on_change", fail)
    assert await purse.outcomes(a_gift("alice"), a_gift("bob")) == ["wallet_unavailable", "ok 90"]
    assert reopened == [True]


async def test_two_nodes_on_one_wallet(purse: Purse, another_purse: Purse) -> None:
    """Nodes share the store: coins are spent once, whichever node takes the gift, and both know its id."""
    await purse.buy("alice", 100)
    gifts = [a_gift(coins=30) for _ in range(4)]
    done = await asyncio.gather(*(node.outcome(gift) for gift in gifts for node in (purse, another_purse)))
    assert sorted(outcome.split()[0] for outcome in done) == ["duplicate"] * 3 + ["insufficient_coins"] * 2 + ["ok"] * 3
    assert await another_purse.holds("alice") == 10
