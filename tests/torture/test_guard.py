"""A wallet store that cannot be trusted moves no money and says why; once it is repaired, all goes on."""

from collections.abc import Callable

import pytest

from protocol.refusals import Refusal, Refused
from tests.program import eventually
from tests.torture.bank import WAIT_S, Bank

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
