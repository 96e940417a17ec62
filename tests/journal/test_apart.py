"""A partition that cannot be used, because a key of it has another type, stops no other."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from protocol.refusals import Refused
from server import limits
from server.clock import Uptime
from server.journal import moneytime
from server.journal.audit import Audit
from server.journal.log import read_logs, read_some
from server.journal.repair import Repair
from server.journal.tables import entries, topups
from server.orders.topups import TopUp
from server.store import keys
from server.store.client import Store, StoreDown
from tests.conftest import Stores
from tests.journal.ledger import drained, pay, rows
from tests.money import Purse, a_gift
from tests.program import eventually
from tests.site import WAIT_S, Site

BROKEN = keys.partition_of("alice")
LOG, META = keys.log(BROKEN), keys.wallet_meta(BROKEN)


@pytest.fixture
def broken_log(site: Site, stores: Stores) -> None:
    """Alice's partition has a string instead of a log."""
    with stores.wallet.client() as look:
        look.set(keys.log(BROKEN), "no stream")


async def test_a_store_that_is_away_is_not_an_empty_log() -> None:
    """A reader must not take it for one without entries."""
    away = Store("wallet", "unix:///nowhere")  # it is not started
    logs, unread = await read_some(away, {3: "-", 5: "-"}, 1)
    assert (logs, unread.keys()) == ({}, {3, 5})
    with pytest.raises(StoreDown):
        await read_logs(away, {3: "-", 5: "-"}, 1)


async def test_the_others_are_journaled(
    broken_log: None, site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain reads, trims and freezes the others, says which it cannot read, and takes it up again."""
    monkeypatch.setattr(limits, "TRIM_EVERY_S", 0)
    await pay(site, "bob", 5)
    async with site.draining() as drain:
        assert await drained(drain) > 0
        assert list(drain.unread) == [BROKEN]
        await drain.freeze({BROKEN: "a test", keys.partition_of("bob"): "a test"})
        with stores.wallet.client() as look:
            assert look.hget(keys.wallet_meta(keys.partition_of("bob")), "frozen") == "1"
            look.delete(keys.log(BROKEN))
        await drain.drain_once()
        assert drain.unread == {}
    assert [row.user_id for row in rows(site.node.engine, entries) if row.kind == "gift"] == ["bob"]


async def test_gifts_are_shown_all_the_same(broken_log: None, site: Site) -> None:
    """The journal shows what no node has shown, also in its first round."""
    bob = await site.join("bob")
    gift = await pay(site, "bob", 5)
    async with site.draining(ahead_s=5) as drain:
        await drain.retell_once()
        assert drain.retold == 1
    await bob.happened("gifts.sent", id=gift)


# --- opening ---------------------------------------------------------------------------------------------------------
BREAK: dict[str, Callable[[Any], object]] = {
    "a log of another type": lambda look: (look.delete(LOG), look.set(LOG, "no stream")),
    "totals of another type": lambda look: (look.delete(META), look.set(META, "no hash")),
    "an epoch that is no number": lambda look: look.hset(META, "epoch", "one"),
    "a time that is no number": lambda look: look.hset(META, mapping={"now": "noon", "opened": "elsewhere"}),
}


async def paid(purse: Purse) -> list[str]:
    """What becomes of a gift of alice and one of bob, sent at once: without their balances."""
    return [outcome.split()[0] for outcome in await purse.outcomes(a_gift("alice"), a_gift("bob"))]


@pytest.fixture
async def purse(site: Site, stores: Stores) -> Any:
    """A wallet of another node, which the test starts."""
    made = Purse(site.settings, stores.wallet)
    yield made
    await made.stop()


@pytest.mark.parametrize("broken", BREAK)
async def test_the_others_are_opened(site: Site, stores: Stores, purse: Purse, broken: str) -> None:
    """It closes only itself, and opens again when its keys are right, without disturbing the others."""
    async with site.draining() as drain:
        await drained(drain)
    with stores.wallet.client() as look:
        BREAK[broken](look)
        await purse.start()
        assert await paid(purse) == ["wallet_unavailable", "ok"]
        assert list(purse.store.closed) == [BROKEN]
        look.delete(LOG, META)
        await purse.store.open_closed()
        await eventually(lambda: not purse.store.closed, WAIT_S, "the partition")
        assert await paid(purse) == ["ok", "ok"]


async def test_a_log_that_goes_wrong_while_it_is_open(site: Site, stores: Stores) -> None:
    """It is closed at the next look, which counts the other logs. The node is ready, and says which it is."""
    store, purse = site.node.wallet._store, site.node.wallet  # type: ignore[attr-defined]
    await site.give_coins("bob", 100)
    await store.look_at_log()
    before = store.log_entries
    with stores.wallet.client() as look:
        of_alice = look.xlen(LOG)
        kept = look.dump(LOG)
        look.delete(LOG)
        look.set(LOG, "no stream")
        await store.look_at_log()
        assert (store.log_entries, list(purse.closed)) == (before - of_alice, [BROKEN])
        ready = await site.http.get("/readyz")
        assert (ready.status_code, ready.json()["wallet_store"]) == (200, True)
        assert ready.json()["degraded"]["closed"] == f"partitions {BROKEN}: the log says why"
        assert "liveroom_wallet_partitions_closed 1.0" in (await site.http.get("/metrics")).text
        assert (await site.http.get("/v1/wallets/alice")).status_code == 503
        assert await site.coins("bob") == 10_100
        look.delete(LOG)
        look.restore(LOG, 0, kept)
    await store.open_closed()
    assert (list(purse.closed), await site.coins("alice")) == ([], 10_000)
    assert "closed" not in (await site.http.get("/readyz")).json()["degraded"]
    await site.settled()


async def test_the_others_need_no_journal(site: Site, stores: Stores, purse: Purse) -> None:
    """While SQL is away, a node connects again: what was open before opens, and only the closed one waits."""
    with stores.wallet.client() as look:
        look.hset(META, "opened", "elsewhere")
    with site.node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE watermarks RENAME TO watermarks_away"))
    await purse.wallet.start()
    await purse.store.wait_up(WAIT_S)
    assert await paid(purse) == ["wallet_unavailable", "ok"]
    with site.node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE watermarks_away RENAME TO watermarks"))
    await purse.store.open_closed()
    assert await paid(purse) == ["ok", "ok"]


async def test_an_order_of_anybody_may_have_its_id(site: Site, stores: Stores, purse: Purse) -> None:
    """A top-up's id lies in a partition of its own, which may be the closed one: bob buys all the same."""
    with stores.wallet.client() as look:
        look.delete(LOG)
        look.set(LOG, "no stream")
    await purse.start()
    id = next(f"t{n}" for n in range(10_000) if keys.partition_of(f"t{n}") == BROKEN)
    assert (await purse.buy("bob", 100, id)).balance == 10_100
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.buy("alice", 100)


# --- the journal process and the commands ----------------------------------------------------------------------------
@pytest.mark.parametrize("broken", ["a log of another type", "totals of another type"])
async def test_the_others_are_audited(site: Site, stores: Stores, broken: str) -> None:
    """The audit compares them, and says what it could not compare. So does a look at what is frozen."""
    async with site.draining() as drain:
        await drained(drain)
        with stores.wallet.client() as look:
            BREAK[broken](look)
            look.hincrby(keys.wallet("bob"), "c", 1)
        audit = Audit(site.node.engine, drain._wallet, site.node.clock)
        report = await audit.run(freeze=True)
        assert list(report.not_compared) == [BROKEN]
        assert {wrong.partition for wrong in report.wrong} == {BROKEN, keys.partition_of("bob")}
        await drained(drain)
        found = await Repair(site.node.engine, drain._wallet, site.node.clock).frozen()
        assert {each.partition for each in found} == {BROKEN, keys.partition_of("bob")}


async def test_the_others_get_what_was_ordered(
    site: Site, stores: Stores, another_site: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that starts beside a closed partition carries out the pending orders of the others."""
    monkeypatch.setattr(limits, "RECOVER_AFTER_MS", -1_000)
    for user in ("alice", "bob"):
        site.node.purchases._record(user, TopUp(f"of-{user}", 5, "test"))
    with stores.wallet.client() as look:
        BREAK["a log of another type"](look)
    other = await another_site()
    await eventually(lambda: other.node.recovery.recovered, WAIT_S, "bob's order")
    assert {row.id: row.state for row in rows(site.node.engine, topups, topups.c.id.like("of-%"))} == {
        "of-alice": "pending",
        "of-bob": "pending",  # until it is journaled
    }
    assert await other.coins("bob") == 10_005


async def test_the_others_have_their_time(site: Site, stores: Stores) -> None:
    """Money time moves in every other partition."""
    bob = keys.partition_of("bob")
    async with site.draining() as drain:
        mover = moneytime.Mover(site.node.engine, drain._wallet, site.node.clock, Uptime())
        with stores.wallet.client() as look:
            BREAK["totals of another type"](look)
            look.hset(keys.wallet_meta(bob), mapping={"now": 1, "forgot": 0})
            await mover.once()
            assert int(look.hget(keys.wallet_meta(bob), "now")) > 1
