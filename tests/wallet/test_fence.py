"""The node's side of the fence: what it acknowledges while the journal is away, and what waits for an old store."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from server import limits
from server.clock import Clock
from server.entries import OpenEntry
from server.journal import database, opening
from server.journal import fence as journal_fence
from server.journal.fence import Openings
from server.money.fence import Fence
from server.store import keys
from server.store.client import Link, StoreDown
from tests.boot import BootTime
from tests.money import Purse, a_gift
from tests.program import eventually
from tests.site import WAIT_S
from tests.stores import ValkeyProcess, settings

NO_LINK = cast(Link, None)  # a fence that is on asks the store nothing


@pytest.fixture
async def make_purse(own_store: ValkeyProcess, journal: str, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Make wallets on a store of this test."""
    made: list[Purse] = []

    async def make(**environ: str) -> Purse:
        own = {"LIVEROOM_WALLET_URL": f"unix://{own_store.socket}", "LIVEROOM_JOURNAL_URL": journal}
        made.append(Purse(settings(tmp_path, **own, **environ), own_store))
        await made[-1].start()
        await made[-1].buy("alice", 100)
        return made[-1]

    yield make
    for purse in made:
        await purse.stop()


class Journal:
    """The fence's table, which can go away."""

    def __init__(self, purse: Purse) -> None:
        self._engine = purse.engine

    def _rename(self, old: str, new: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    def goes(self) -> None:
        self._rename("openings", "openings_away")

    def comes(self) -> None:
        self._rename("openings_away", "openings")


async def test_a_store_without_replicas_needs_no_fence(make_purse: Callable[..., Any]) -> None:
    """Its gifts go on without SQL, for however long."""
    purse = await make_purse()
    assert Openings(purse.engine, Clock(lambda: 0)).read() == {}
    Journal(purse).goes()
    purse.boot.let_pass(86_400)
    await purse.store.look_at_fence()
    assert await purse.outcome(a_gift()) == "ok 90"


async def test_a_silent_journal_does_not_keep_it_closed(
    make_purse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was opened before, so a node that connects again does not wait for SQL."""
    purse, answers = await make_purse(), threading.Event()

    def silent(*_args: Any) -> Any:
        answers.wait(WAIT_S)
        raise OperationalError("SELECT", {}, OSError("nobody answers"))

    for module in (journal_fence, opening):
        monkeypatch.setattr(module, "reading", silent)
    try:
        purse.store.reopen()
        await purse.settled()
        assert await purse.outcome(a_gift()) == "ok 90"
    finally:
        answers.set()


@pytest.mark.parametrize("grace_s", [10, 60])
async def test_gifts_stop_when_the_journal_is_away(make_purse: Callable[..., Any], grace_s: int) -> None:
    """They go on for as long as the site wants, and again as soon as the journal confirms the store."""
    purse = await make_purse(LIVEROOM_FENCE="on", LIVEROOM_FENCE_GRACE_S=str(grace_s))
    journal = Journal(purse)
    await purse.store.look_at_fence()
    journal.goes()
    purse.boot.let_pass(grace_s - 5)
    await purse.store.look_at_fence()
    assert await purse.outcome(a_gift()) == "ok 90"
    purse.boot.let_pass(5)
    assert not purse.wallet.usable
    assert await purse.outcome(a_gift()) == "wallet_unavailable"
    journal.comes()
    await purse.store.look_at_fence()
    assert await purse.outcome(a_gift()) == "ok 80"


async def test_an_outcome_that_comes_too_late_is_unknown(
    make_purse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store carried it out, but another one may count by now; later the same id has its outcome."""
    purse = await make_purse(LIVEROOM_FENCE="on")
    run, gift = purse.store._money.run, a_gift()

    async def slowly(*call: Any) -> Any:
        outcome = await run(*call)
        purse.boot.let_pass(limits.FENCE_GRACE_S)
        return outcome

    with monkeypatch.context() as slow:
        slow.setattr(purse.store._money, "run", slowly)
        assert await purse.outcome(gift) == "wallet_unavailable"
    await purse.store.look_at_fence()
    assert await purse.outcome(gift) == "duplicate 90"


async def test_a_store_that_gets_a_replica(make_purse: Callable[..., Any], own_store: ValkeyProcess) -> None:
    """From the next look on it has a fence; a node that starts later knows it from the store."""
    purse = await make_purse()
    await purse.store.look_at_fence()
    assert not purse.store.fence.fenced
    own_store.client().replicaof("127.0.0.1", 1)
    own_store.client().replicaof("NO", "ONE")
    await purse.store.look_at_fence()
    await eventually(lambda: purse.store.fence.fenced and purse.store.usable, WAIT_S, "a fence")
    held = Openings(purse.engine, Clock(lambda: 0)).read()
    assert len(held) == limits.WALLET_PARTITIONS
    assert {row.identity for row in held.values()} == {purse.store._money.identity}
    off = await make_purse(LIVEROOM_FENCE="off")
    assert not off.store.fence.fenced
    assert Openings(purse.engine, Clock(lambda: 0)).read() == {}


async def test_a_fence_that_another_node_has_seen_the_need_for(purse: Purse) -> None:
    """This node's store shows no replica, but the journal has the site's tokens."""
    openings, link = Openings(purse.engine, Clock(lambda: 0)), purse.store._money.link
    assert link is not None
    fence = Fence(openings, Clock(lambda: 0), mode="auto", likely=False)
    assert (await fence.take(link, "a", {3: ""}), fence.fenced) == ({3: "a"}, False)
    held = openings.take("a", {3: ""})
    assert (await fence.take(link, "a", {3: ""}), fence.fenced) == ({3: held[3].name}, True)


async def test_a_fence_that_the_store_has_recorded(purse: Purse) -> None:
    """It was a replica, whose primary was opened with a token; the journal may have lost its row."""
    openings, link = Openings(purse.engine, Clock(lambda: 0)), purse.store._money.link
    assert link is not None
    fence = Fence(openings, Clock(lambda: 0), mode="auto", likely=False)
    taken = await fence.take(link, "b", {3: "a#token"})
    assert (taken, fence.fenced) == ({3: openings.read()[3].name}, True)


# --- taking over -----------------------------------------------------------------------------------------------------
class Takers:
    """Fences of several nodes on one journal, with a clock that tests move."""

    def __init__(self, journal: str) -> None:
        self.engine = database.connect(journal)
        self.boot = BootTime()
        self.openings = Openings(self.engine, Clock(lambda: 0))

    def fence(self) -> Fence:
        return Fence(self.openings, Clock(lambda: 0, self.boot), mode="on", likely=False)


@pytest.fixture
def takers(journal: str) -> Iterator[Takers]:
    """No partition is held."""
    made = Takers(journal)
    yield made
    made.engine.dispose()


async def test_who_takes_over_waits_for_the_nodes_of_the_old_store(takers: Takers) -> None:
    """Each node waits by its own clock, from when it read the new token, until one has opened the store."""
    old, new, other = takers.fence(), takers.fence(), takers.fence()
    assert not old.holds
    first = await old.take(NO_LINK, "a", {3: ""})
    with pytest.raises(StoreDown, match="may still be used"):
        await new.take(NO_LINK, "b", first)
    assert old.holds
    takers.boot.let_pass(limits.FENCE_WAIT_S - 1)
    assert not old.holds
    for each in (new, other):
        with pytest.raises(StoreDown, match="may still be used"):
            await each.take(NO_LINK, "b", first)
        assert not each.holds
    takers.boot.let_pass(1)
    second = await new.take(NO_LINK, "b", first)
    assert second != first
    assert new.holds
    with pytest.raises(StoreDown, match="may still be used"):
        await other.take(NO_LINK, "b", first)
    assert await other.take(NO_LINK, "b", second) == second
    assert not await old.confirm()
    with capture_logs() as logged:
        for _ in range(2):
            with pytest.raises(StoreDown, match="another store has taken over"):
                await old.take(NO_LINK, "a", first)
    assert not old.holds
    assert [line["why"] for line in logged] == [old.superseded], "once"
    assert "opened on b since" in old.superseded


async def test_a_node_without_a_fence_beside(takers: Takers) -> None:
    """It opens our partitions without our token. The two would do so in turn: this one waits, and says so."""
    fence = takers.fence()
    first = await fence.take(NO_LINK, "a", {3: "", 9: ""})
    assert await fence.take(NO_LINK, "a", {3: "a", 9: "a"}) == first, "nothing was recorded yet: the link was lost"
    assert await fence.confirm()
    with capture_logs() as logged:
        for _ in range(2):
            with pytest.raises(StoreDown, match="a node without the fence uses this store"):
                await fence.take(NO_LINK, "a", {3: first[3], 9: "a"})
            assert (fence.shared, fence.holds) == (True, False)
    assert [line["event"] for line in logged] == ["wallet_opened_without_fence"]
    takers.boot.let_pass(limits.FENCE_WAIT_S)
    assert not fence.shared
    assert await fence.take(NO_LINK, "a", {3: first[3], 9: "a"}) == first


async def test_what_is_said_about_a_node_without_a_fence(make_purse: Callable[..., Any]) -> None:
    """It opens all partitions again, as a program did that had no fence. Afterwards no gift is lost or paid twice."""
    purse = await make_purse(LIVEROOM_FENCE="on")
    await purse.store.look_at_fence()
    identity = purse.store._money.identity
    for partition in range(limits.WALLET_PARTITIONS):
        meta = keys.wallet_meta(partition)
        epoch = int(purse.look.hget(meta, "epoch") or 0) + 1
        entry = msgspec.json.encode(OpenEntry(partition=partition))
        purse.look.xadd(keys.log(partition), {"t": "1", "e": entry}, id=f"{epoch}-0")
        purse.look.hset(meta, mapping={"epoch": epoch, "opened": identity})
    assert await purse.outcome(a_gift()) == "wallet_unavailable"
    await eventually(lambda: purse.store.fence.shared, WAIT_S, "a look at the store")
    assert purse.wallet.why == "a node without the fence uses this store, too: stop that node"
    purse.boot.let_pass(limits.FENCE_WAIT_S)
    await eventually(lambda: purse.wallet.usable, WAIT_S, "the store")
    assert await purse.outcome(a_gift()) == "ok 90"


async def test_partitions_that_did_not_move_are_opened_at_once(takers: Takers) -> None:
    """The store takes over one more partition: only that one waits, and then there is more to open."""
    far, near = takers.fence(), takers.fence()
    await far.take(NO_LINK, "a", {3: ""})
    assert (await near.take(NO_LINK, "b", {3: "", 9: ""})).keys() == {9}
    assert near.holds
    assert not near.due
    takers.boot.let_pass(limits.FENCE_WAIT_S)
    assert near.due
    assert (await near.take(NO_LINK, "b", {3: "", 9: ""})).keys() == {3, 9}
    assert not near.due


async def test_a_confirmation_counts_from_before_the_question(takers: Takers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was long under way is as old as its question."""
    fence = takers.fence()
    await fence.take(NO_LINK, "a", {3: ""})
    read = takers.openings.read

    def slow_read() -> Any:
        takers.boot.let_pass(4)
        return read()

    monkeypatch.setattr(takers.openings, "read", slow_read)
    takers.boot.let_pass(5)
    assert await fence.confirm()
    takers.boot.let_pass(5.5)
    assert fence.holds
    takers.boot.let_pass(0.6)
    assert not fence.holds


async def test_an_old_answer_does_not_count_for_longer(takers: Takers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to an older question comes last, and changes nothing."""
    fence = takers.fence()
    await fence.take(NO_LINK, "a", {3: ""})
    takers.boot.let_pass(8)
    assert await fence.confirm()
    with monkeypatch.context() as earlier:
        earlier.setattr(fence._clock, "boot_s", lambda: takers.boot() - 8)
        assert await fence.confirm()
    takers.boot.let_pass(5)
    assert fence.holds
