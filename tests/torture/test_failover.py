"""A replica takes over: what each durability level may lose, and what it never loses."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from protocol.refusals import Refusal, Refused
from server.journal.fence import Openings
from server.journal.ledger import Batch, LostRace
from server.store import keys
from server.store.embedded import WALLET
from tests.pair import Pair
from tests.program import eventually
from tests.torture import rounds
from tests.torture.bank import CLOCK, WAIT_S, Bank, Node, marks_of

MakeBank = Callable[..., Awaitable[Bank]]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with Pair.running(WALLET) as made:
        yield made


@pytest.fixture
async def replicated_bank(new_bank: Callable[..., Bank], pair: Pair) -> MakeBank:
    """Make a bank on the pair; its store is the pair's current primary."""

    async def make(durability: str, **environ: str) -> Bank:
        bank = new_bank(LIVEROOM_WALLET_URL=pair.address, LIVEROOM_DURABILITY=durability, **environ)
        bank.store = pair.primary
        await bank.open_node()
        await pair.until_in_step()
        return bank

    return make


async def take_over(pair: Pair, bank: Bank) -> None:
    """Promote the replica, and wait until the node uses it."""
    pair.promote()
    bank.store = pair.primary
    await bank.node.reconnected()


async def test_local_gifts_of_a_frozen_link_are_lost_with_the_primary(pair: Pair, replicated_bank: MakeBank) -> None:
    """The control, for `local`: a gift that only the dead primary had is lost, unless it was journaled."""
    bank = await replicated_bank("local")
    pair.replication.freeze()
    await bank.give(100)
    await bank.drain()
    journaled = set(bank.book.acked)
    await bank.give(100)
    assert bank.book.unknown == []
    acked = set(bank.book.acked)
    pair.primary.kill()
    await take_over(pair, bank)
    assert set(bank.lost(acked)) == acked - journaled
    for id in acked - journaled:
        bank.book.forget(id)
    await bank.resolve()
    await bank.check()


@pytest.mark.timeout(rounds(60, 300))
async def test_replicated_gifts_survive_the_primary(pair: Pair, replicated_bank: MakeBank) -> None:
    """The link freezes, the primary dies, the replica takes over: each answered gift is there, once."""
    bank = await replicated_bank("replicated")
    for _ in range(rounds(1, 8)):
        async with bank.giving(24):
            await bank.more(rounds(150, 2_000))
            pair.replication.freeze()
            outcome = await bank.node.send(bank.gift())
            assert isinstance(outcome, Refused)
            assert outcome.reason is Refusal.WALLET_UNAVAILABLE
            acked = set(bank.book.acked)
            pair.primary.kill()
            pair.promote()
            bank.store = pair.primary
            assert bank.lost(acked) == []
        await pair.rejoin()  # until it has a replica, the new primary takes no gift
        await bank.resolve()
    await bank.check()


async def test_replicated_gifts_wait_for_a_link_that_thaws(pair: Pair, replicated_bank: MakeBank) -> None:
    """While no replica answers, gifts are refused, paid or not; later the same ids get their outcome."""
    bank = await replicated_bank("replicated")
    await bank.give(50)
    assert bank.book.unknown == []
    pair.replication.freeze()
    await bank.give(50)
    assert len(bank.book.unknown) == 50
    pair.replication.thaw()
    await bank.resolve()
    await bank.check()


async def test_another_node_confirms_what_it_did_not_write(
    pair: Pair, replicated_bank: MakeBank, new_node: Callable[..., Awaitable[Node]]
) -> None:
    """One node's gift is on no replica yet. Asked for the same gift, another node must not call it paid either."""
    bank = await replicated_bank("replicated")
    other = await new_node(bank)
    await pair.until_in_step()
    gift = bank.gift()
    pair.replication.freeze()
    for node in (bank.node, other):
        outcome = await node.send(gift)
        assert isinstance(outcome, Refused)
        assert outcome.reason is Refusal.WALLET_UNAVAILABLE
    with pytest.raises(Refused, match="wallet_unavailable"):
        await other.wallet.find(gift.viewer, gift.gift_id)
    pair.replication.thaw()
    await pair.until_in_step()
    found = await other.wallet.find(gift.viewer, gift.gift_id)
    assert found is not None
    await bank.resolve()
    await bank.check()


async def test_a_primary_that_was_a_replica_for_a_moment(pair: Pair, replicated_bank: MakeBank) -> None:
    """The same process lost data by copying another store: the journal gives it back."""
    bank = await replicated_bank("local")
    pair.replication.freeze()
    await bank.give(100)
    await bank.drain()
    journaled = set(bank.book.acked)
    with pair.primary.client() as primary, pair.replica.client() as replica:
        replica.replicaof("NO", "ONE")
        primary.replicaof("127.0.0.1", pair.replica.port)
        pair.front.cut()
        await eventually(lambda: primary.info("replication").get("master_link_status") == "up", WAIT_S, "a full copy")
        assert set(bank.lost(journaled)) == journaled
        primary.replicaof("NO", "ONE")
        pair.front.cut()
    await bank.node.reconnected()
    assert bank.lost(journaled) == []
    await bank.give(50)
    await bank.resolve()
    await bank.check()


@pytest.mark.parametrize("fence", ["auto", "off"])
async def test_a_drain_that_still_reads_the_old_primary(pair: Pair, replicated_bank: MakeBank, fence: str) -> None:
    """With the fence it journals nothing. Without it, each partition with a missing gift is known to be wrong."""
    bank = await replicated_bank("local", LIVEROOM_FENCE=fence)
    await bank.drain()
    pair.replication.freeze()
    await bank.give(60)
    of_old = set(bank.book.acked)
    await take_over(pair, bank)
    await bank.give(40)
    await bank.resolve()
    of_new = bank.book.acked.keys() - of_old
    assert (await bank.drain(pair.replica.address) == 0) is (fence == "auto")  # the former primary
    await bank.drain()
    rows = bank.gift_rows()
    assert (of_old if fence == "off" else of_new) <= rows.keys()
    report = await bank.audit()
    told = bank.set_aside().keys() | {wrong.partition for wrong in report.wrong}
    missing = {keys.partition_of(bank.book.sent[id].viewer) for id in of_new - rows.keys()}
    assert missing <= told
    assert report.ok is (fence == "auto")


@pytest.mark.parametrize("fence", ["auto", "off"])
async def test_a_node_that_still_talks_to_the_old_primary(
    pair: Pair, replicated_bank: MakeBank, new_node: Callable[..., Awaitable[Node]], fence: str
) -> None:
    """It acknowledges nothing. Without the fence its gifts are never journaled, and the audit does not notice."""
    bank = await replicated_bank("local", LIVEROOM_FENCE=fence)
    stale = await new_node(bank, LIVEROOM_WALLET_URL=pair.primary.address)
    await bank.drain()
    await pair.until_in_step()
    pair.replication.freeze()
    await take_over(pair, bank)
    outcomes = [await stale.send(bank.gift(viewer=bank.viewers[n])) for n in range(5)]
    acked = set(bank.book.acked)
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [fence == "auto"] * 5
    await bank.give(20)
    await bank.drain()
    assert acked - bank.gift_rows().keys() == (set() if fence == "auto" else acked)
    assert (await bank.audit()).ok
    if fence == "off":
        return
    await eventually(lambda: not stale.store.up, WAIT_S, "a node that knows of the new primary")
    await bank.resolve()  # by the other node
    await bank.check()


async def test_an_address_that_falls_back_for_a_moment(pair: Pair, replicated_bank: MakeBank) -> None:
    """The old primary still runs: it takes no gifts, and the new one goes on without a new epoch."""
    bank = await replicated_bank("local")
    await a_forked_pair(pair, bank)
    epochs = dict(bank.node.store.epochs)
    point_back(pair, bank)
    await eventually(lambda: bank.node.store.fence.superseded, WAIT_S, "a node that knows its store is the old one")
    assert isinstance(await bank.node.send(bank.gift()), Refused)
    point_back(pair, bank)
    await bank.node.until_usable()
    assert bank.node.store.epochs == epochs
    assert bank.set_aside() == {}
    await bank.give(20)


def point_back(pair: Pair, bank: Bank) -> None:
    """The address leads to the other store of the pair."""
    pair.primary, pair.replica = pair.replica, pair.primary
    pair.front.target = pair.primary.port
    pair.front.cut()
    bank.store = pair.primary


async def fall_back(pair: Pair, bank: Bank) -> None:
    """The address leads to the old primary again, which knows nothing of the new one's gifts."""
    point_back(pair, bank)
    await bank.node.reconnected()


async def a_forked_pair(pair: Pair, bank: Bank) -> set[int]:
    """Journal gifts of a new primary, while the old one has others. Returns the partitions where both have some."""
    await bank.drain()
    pair.replication.freeze()
    viewers = bank.viewers
    for viewer in viewers[:6]:
        await bank.one_more(viewer)
    await take_over(pair, bank)
    for viewer in viewers[3:9]:
        await bank.one_more(viewer)
    await bank.drain()
    return {keys.partition_of(viewer) for viewer in viewers[:6]}


@pytest.mark.parametrize(("fence", "restarted"), [("off", False), ("off", True), ("auto", True)])
async def test_an_address_that_falls_back_to_the_old_primary(
    pair: Pair, replicated_bank: MakeBank, fence: str, restarted: bool
) -> None:
    """Partitions with gifts that no journal has are frozen, and only they; the others get the journal's gifts back."""
    bank = await replicated_bank("local", LIVEROOM_FENCE=fence)
    forked = await a_forked_pair(pair, bank)
    if restarted:
        pair.replica.kill()
        pair.replica.start()
    await fall_back(pair, bank)
    assert bank.set_aside().keys() == forked
    with bank.look() as look:
        for partition in forked:
            assert look.hget(keys.wallet_meta(partition), "frozen") == "1"
    journaled = bank.gift_rows()
    healthy = [id for id in journaled if keys.partition_of(bank.book.sent[id].viewer) not in forked]
    assert healthy != []
    assert bank.lost(healthy) == []
    for viewer in bank.viewers[:-1]:
        outcome = await bank.node.send(bank.gift(viewer=viewer))
        assert isinstance(outcome, Refused) is (keys.partition_of(viewer) in forked)
    await bank.drain()
    unbooked = bank.book.acked.keys() - bank.gift_rows().keys()
    assert {keys.partition_of(bank.book.sent[id].viewer) for id in unbooked} <= forked
    for id in unbooked:  # the store has its receipt, and no journal has the gift
        with pytest.raises(Refused, match="wallet_unavailable"):
            await bank.node.wallet.spend(bank.book.sent[id])
        with pytest.raises(Refused, match="wallet_unavailable"):
            await bank.node.wallet.find(bank.book.sent[id].viewer, id)


async def test_a_store_that_takes_over_while_the_drain_writes(
    replicated_bank: MakeBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain has read the old store's entries, and the token is swapped: it writes nothing and moves no mark."""
    bank = await replicated_bank("local")
    await bank.drain()
    await bank.give(20)
    marks, rows = marks_of(bank.engine), bank.gift_rows()
    async with bank.draining() as drain:
        write = drain._ledger.write

        def write_late(batch: Batch) -> int:
            Openings(bank.engine, CLOCK).take("another store", dict.fromkeys(batch.moved, ""))
            return write(batch)

        monkeypatch.setattr(drain._ledger, "write", write_late)
        with pytest.raises(LostRace, match="another store has taken over"):
            await drain.drain_once()
    assert (marks_of(bank.engine), bank.gift_rows()) == (marks, rows)
