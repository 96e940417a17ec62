"""A wallet store that cannot be trusted moves no money and says why; once it is repaired, all goes on."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocol.refusals import Refusal, Refused
from server.journal.opening import SCRIPTS as OPENING_SCRIPTS
from server.money.wallet import SCRIPTS as WALLET_SCRIPTS
from server.store import guard, keys
from server.store.embedded import WALLET
from tests.pair import Pair
from tests.program import eventually
from tests.site import Site
from tests.stores import ValkeyProcess
from tests.torture.bank import WAIT_S, Bank

MakeSite = Callable[..., Awaitable[Site]]
UNTRUSTED = {
    "appendfsync": ("everysec", "always"),
    "no-appendfsync-on-rewrite": ("yes", "no"),
    "maxmemory-policy": ("allkeys-lru", "noeviction"),
    "appendonly": ("no", "yes"),
}


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard looks many times a second."""
    monkeypatch.setattr("server.limits.GUARD_EVERY_S", 0.05)
    monkeypatch.setattr("server.limits.LOG_LOOK_S", 0.05)


async def assert_refused(bank: Bank, why: str) -> None:
    """No gift is paid, and the reason can be read."""
    await eventually(lambda: why in (bank.node.store.trouble or ""), WAIT_S, f"{why} in {bank.node.store.trouble}")
    gift = bank.gift()
    outcome = await bank.node.send(gift)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Refusal.WALLET_UNAVAILABLE
    assert bank.lost([gift.gift_id])


async def test_settings_that_break_the_promise(watchful: None, bank: Bank) -> None:
    """A wrong setting on a running store: gifts are refused until it is set back."""
    with bank.look() as look:
        for name, (wrong, right) in UNTRUSTED.items():
            look.config_set(name, wrong)
            await assert_refused(bank, f"{name} is {wrong}, not {right}")
            look.config_set(name, right)
            await bank.node.until_usable()
    await bank.resolve()
    await bank.check()


async def test_a_store_that_is_wrong_from_the_start(watchful: None, new_bank: Callable[..., Bank]) -> None:
    """A node does not open such a store until it is put right."""
    bank = new_bank()
    bank.store.options = ("--appendfsync", "everysec")
    bank.store.start()
    await bank.node.wallet.start()
    await assert_refused(bank, "appendfsync is everysec")
    with bank.look() as look:
        assert look.dbsize() == 0
        look.config_set("appendfsync", "always")
    await bank.node.until_usable()
    await bank.node.buy("viewer1", 100)
    await bank.resolve()


async def test_a_relaxed_guard_lets_it_through(new_bank: Callable[..., Bank]) -> None:
    """With LIVEROOM_WALLET_GUARD=relaxed such a store takes gifts."""
    bank = new_bank(LIVEROOM_WALLET_GUARD="relaxed")
    bank.store.options = ("--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru")
    await bank.open()
    await bank.give(20)
    await bank.check()


async def test_a_replica_takes_no_money(watchful: None, bank: Bank) -> None:
    """A store that becomes a replica is refused until it is a primary again."""
    with bank.look() as look:
        look.replicaof("127.0.0.1", 1)
        await assert_refused(bank, "role is slave")
        look.replicaof("NO", "ONE")
    await bank.node.until_usable()
    await bank.resolve()
    await bank.check()


async def a_bank_of_a_user(new_bank: Callable[..., Bank], *rules: str) -> Bank:
    """A bank whose node logs in to the store as a user of its own."""
    bank = new_bank()
    bank.store.start()
    with bank.look() as look:
        look.execute_command("ACL", "SETUSER", "bank", "on", ">secret", *rules)
    bank.use_address(f"unix://bank:secret@{bank.store.socket}")
    return bank


async def test_a_user_that_may_not_run_a_command(watchful: None, new_bank: Callable[..., Bank]) -> None:
    """Each command that the scripts need and the user may not run is named before a gift can stop half-way."""
    bank = await a_bank_of_a_user(new_bank, "~*", "&*", "+@all")
    await bank.open_node()
    with bank.look() as look:
        for command in ("xadd", "incrby", "hincrby", "set", "time", "hmget"):
            look.execute_command("ACL", "SETUSER", "bank", f"-{command}")
            await assert_refused(bank, f"may not run {command.upper()}")
            look.execute_command("ACL", "SETUSER", "bank", f"+{command}")
            await bank.node.until_usable()
    await bank.resolve()
    await bank.give(20)
    assert bank.book.unknown == []


async def test_a_user_of_the_wallets_keys_alone(watchful: None, new_bank: Callable[..., Bank]) -> None:
    """Access to the wallet's keys is enough; without it the store is refused."""
    bank = await a_bank_of_a_user(new_bank, "~{w*", "&*", "+@all")
    await bank.open_node()
    await bank.give(20)
    with bank.look() as look:
        look.execute_command("ACL", "SETUSER", "bank", "resetkeys", "~{r*")
    await assert_refused(bank, "may not run")


def exactly(*, replicated: bool) -> list[str]:
    """Rules of a user who may run what the guard asks for, and nothing else."""
    sent = (*guard.SENT, *guard.SENT_TO_REPLICATE) if replicated else guard.SENT
    wanted = guard.commands_of([*WALLET_SCRIPTS, *OPENING_SCRIPTS], sent)
    names = {f"{c[0]}|{c[1]}" if c[0] in ("SCRIPT", "XINFO") else c[0] for c in wanted}
    return ["~{w*", "+config|get", "+acl|whoami", "+acl|dryrun", *sorted(f"+{name.lower()}" for name in names)]


async def test_the_rights_that_the_guard_asks_for_are_enough(watchful: None, new_bank: Callable[..., Bank]) -> None:
    """Gifts, orders, receipts and an opening need no command that the guard does not ask for."""
    bank = await a_bank_of_a_user(new_bank, *exactly(replicated=False))
    await bank.open_node()
    gift = (await bank.give(20))[0]
    assert await bank.node.wallet.find(gift.viewer, gift.gift_id) is not None
    assert (await bank.node.wallet.view(gift.viewer)).status == "ok"
    await bank.node.store.look_at_log()
    bank.node.store.reopen()
    await bank.node.reconnected()
    await bank.give(5)
    assert bank.book.unknown == []


@pytest.mark.parametrize("command", ["info", "script|load", "acl|dryrun", "evalsha", "xlen"])
async def test_a_right_that_is_missing_from_the_start(
    watchful: None, new_bank: Callable[..., Bank], command: str
) -> None:
    """The node says which command its user may not run, and pays no gift until it may."""
    bank = await a_bank_of_a_user(new_bank, "~*", "&*", "+@all", f"-{command}")
    await bank.node.wallet.start()
    await eventually(lambda: command.partition("|")[0] in (bank.node.store.trouble or "").lower(), WAIT_S, command)
    await assert_refused(bank, "")
    with bank.look() as look:
        look.execute_command("ACL", "SETUSER", "bank", f"+{command}")
    await bank.node.until_usable()


async def test_a_node_starts_without_a_right(own_store: ValkeyProcess, another_site: MakeSite) -> None:
    """Chat goes on, gifts are refused before a coin moves."""
    with own_store.client() as look:
        look.execute_command("ACL", "SETUSER", "bank", "on", ">secret", "~*", "&*", "+@all", "-xadd")
        site = await another_site(LIVEROOM_WALLET_URL=f"unix://bank:secret@{own_store.socket}")
        viewer = await site.join("alice")
        assert (await viewer.ask("chat.send", text="hello"))["type"] == "ok"
        assert (await viewer.gift("rose"))["reason"] == "wallet_unavailable"
        assert await degraded(site) == "gifts are refused: the store's user may not run XADD"  # no user is named
        assert look.dbsize() == 0


async def degraded(site: Site) -> str | None:
    """What anybody may read about the wallet."""
    found: str | None = (await site.http.get("/readyz")).json()["degraded"].get("wallet")
    return found


async def test_what_people_are_told(watchful: None, own_store: ValkeyProcess, another_site: MakeSite) -> None:
    """`/readyz` has the cause, an HTTP answer speaks of money, and the log says when it is over, as good news."""
    site = await another_site(LIVEROOM_WALLET_URL=f"unix://{own_store.socket}")
    topup = {"id": "t", "coins": 5, "source": "test"}
    with own_store.client() as look, capture_logs() as logged:
        look.config_set("appendfsync", "everysec")
        await eventually(lambda: not site.node.wallet.usable, WAIT_S, "a look at the store")
        assert await degraded(site) == "gifts are refused: appendfsync is everysec, not always"
        refused = await site.http.post("/v1/wallets/carol/topups", json=topup)
        assert (refused.status_code, refused.json()["error"]["reason"]) == (503, "wallet_unavailable")
        assert refused.json()["error"]["message"].startswith("No money can be moved or shown for a moment")
        look.config_set("appendfsync", "always")
        await eventually(lambda: site.node.wallet.usable, WAIT_S, "another look")
    said = [(each["event"], each["log_level"], each["trouble"]) for each in logged if "trouble" in each]
    trouble = "appendfsync is everysec, not always"
    assert said == [("wallet_guard", "error", trouble), ("wallet_guard_satisfied", "info", trouble)]
    assert await degraded(site) is None


UNWRITTEN = "what was written before it was switched on"


async def test_a_first_rewrite_that_still_runs(watchful: None, bank: Bank) -> None:
    """Switching the append-only file on is not enough: what is in memory must be written first."""
    with bank.look() as look:
        look.config_set("appendonly", "no")
        await assert_refused(bank, "appendonly is no, not yes")
        look.config_set("rdb-key-save-delay", 100_000_000)
        look.config_set("appendonly", "yes")
        await assert_refused(bank, UNWRITTEN)
        look.config_set("rdb-key-save-delay", 0)
        os.kill(_child_of(bank), signal.SIGKILL)  # this rewrite fails; the store begins another
        await bank.node.until_usable()
        about = look.info("persistence")
        assert (about["aof_rewrite_in_progress"], about["aof_last_bgrewrite_status"]) == (0, "ok")
    await bank.resolve()
    await bank.check()


async def test_a_node_that_starts_during_the_first_rewrite(watchful: None, new_bank: Callable[..., Bank]) -> None:
    """It has never seen the store without its file, but the file is empty."""
    bank = new_bank()
    bank.store.options = ("--appendonly", "no")
    bank.store.start()
    with bank.look() as look:
        look.mset({f"{{w}}{n}": n for n in range(10)})
        look.config_set("rdb-key-save-delay", 100_000_000)
        look.config_set("appendonly", "yes")
        await bank.node.wallet.start()
        await assert_refused(bank, UNWRITTEN)
        look.config_set("rdb-key-save-delay", 0)
        os.kill(_child_of(bank), signal.SIGKILL)
        await bank.node.until_usable()


def _child_of(bank: Bank) -> int:
    """The process that rewrites the store's file."""
    assert bank.store.process is not None
    pid = bank.store.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


# --- with a replica --------------------------------------------------------------------------------------------------
@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with Pair.running(WALLET) as made:
        yield made


async def a_replicated_bank(new_bank: Callable[..., Bank], pair: Pair, **environ: str) -> Bank:
    bank = new_bank(LIVEROOM_WALLET_URL=pair.address, **{"LIVEROOM_DURABILITY": "replicated", **environ})
    bank.store = pair.primary
    await bank.open_node()
    return bank


async def is_debited(bank: Bank) -> bool:
    """Whether a gift that is refused now has taken coins all the same."""
    viewer = bank.viewers[0]
    before = await bank.node.wallet.coins(viewer)
    outcome = await bank.node.send(bank.gift(viewer=viewer))
    assert isinstance(outcome, Refused)
    return await bank.node.wallet.coins(viewer) != before


async def test_a_user_that_may_not_wait(watchful: None, new_bank: Callable[..., Bank], pair: Pair) -> None:
    """With `replicated`, WAIT is needed, too: without it a gift would be debited and then refused."""
    bank = await a_replicated_bank(new_bank, pair)
    with bank.look() as look:
        look.execute_command("ACL", "SETUSER", "default", "-wait")
        bank.node.store.reopen()
        await eventually(lambda: "may not run WAIT" in (bank.node.store.trouble or ""), WAIT_S, "a sentence about WAIT")
        assert not await is_debited(bank)
        look.execute_command("ACL", "SETUSER", "default", "+wait")
        await bank.node.until_usable()
    await bank.resolve()
    await bank.give(3)
    assert bank.book.unknown == []


async def test_no_replica_no_debit(watchful: None, new_bank: Callable[..., Bank], pair: Pair) -> None:
    """With `replicated`, gifts are refused before they are debited while no replica is there or confirms a write."""
    bank = await a_replicated_bank(new_bank, pair)
    pair.replication.freeze()  # the store still calls it online
    await eventually(lambda: "confirms a write" in (bank.node.store.trouble or ""), WAIT_S, "a silent replica")
    assert not await is_debited(bank)
    pair.replication.thaw()
    await bank.node.until_usable()
    pair.replica.kill()
    await eventually(lambda: "no replica" in (bank.node.store.trouble or ""), WAIT_S, "a missing replica")
    assert not await is_debited(bank)
    bank.node.store.reopen()
    await eventually(lambda: bank.node.store.up, WAIT_S, "a store without a replica: it is opened, and takes no gift")
    assert not await is_debited(bank)
    await pair.rejoin()
    await bank.node.until_usable()
    await bank.resolve()
    await bank.give(3)
    assert bank.book.unknown == []


async def test_a_broken_key_does_not_look_like_a_missing_replica(
    watchful: None, new_bank: Callable[..., Bank], pair: Pair
) -> None:
    """The guard writes to a partition's hash; if that is broken, its partition is closed and the others go on."""
    bank = await a_replicated_bank(new_bank, pair)
    viewer = next(viewer for viewer in bank.viewers[:-1] if keys.partition_of(viewer) != 0)
    with bank.look() as look:
        meta = look.hgetall(keys.wallet_meta(0))
        look.set(keys.wallet_meta(0), "broken")
        bank.node.store.reopen()
        await eventually(lambda: list(bank.node.store.closed) == [0], WAIT_S, "a closed partition")
        await eventually(lambda: bank.node.store.usable, WAIT_S, "the others")
        assert bank.node.store.trouble is None
        await bank.one_more(viewer)
        look.delete(keys.wallet_meta(0))
        look.hset(keys.wallet_meta(0), mapping=meta)


async def test_a_planned_failover_behind_a_proxy(watchful: None, new_bank: Callable[..., Bank], pair: Pair) -> None:
    """Old connections still lead to the former primary: the guard drops the money's, and gifts go on at the new one."""
    bank = await a_replicated_bank(new_bank, pair, LIVEROOM_FENCE="off", LIVEROOM_DURABILITY="local")
    await pair.until_in_step()
    with pair.replica.client() as replica, pair.primary.client() as primary:
        replica.replicaof("NO", "ONE")
        primary.replicaof("127.0.0.1", pair.replica.port)
    pair.front.target = pair.replica.port  # for new connections
    pair.primary, pair.replica = pair.replica, pair.primary
    bank.store = pair.primary
    await bank.node.reconnected()
    await bank.give(3)
    assert bank.book.unknown == []
    reads, money = bank.node.store._reads, bank.node.store._money
    await eventually(lambda: reads.up and reads.identity == money.identity, WAIT_S, "both connections at one store")
