"""A store or a journal comes back from an older copy: nothing is spent twice, no answered gift is forgotten."""

import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from protocol.refusals import Refused
from server.clock import Uptime
from server.journal import moneytime
from server.money.results import Spend, TopUpConflict
from server.orders.topups import TopUp
from server.store import keys
from server.store.client import Store
from tests.journal.copies import copied, restored
from tests.program import eventually
from tests.torture import rounds
from tests.torture.bank import CLOCK, WAIT_S, Bank, Node
from tests.torture.calls import run, spend_call


async def restore(bank: Bank, copy: Path | None) -> None:
    """Lose the store's machine; a copy comes back, or an empty store."""
    await bank.kill_store()
    shutil.rmtree(bank.data)
    if copy is not None:
        shutil.copytree(copy, bank.data)
    bank.store.start()
    await bank.node.reconnected()


def copy_of(bank: Bank, name: str) -> Path:
    """A backup of the store's files, taken while it runs."""
    return Path(shutil.copytree(bank.data, bank.folder / name))


async def send_all_again(bank: Bank, spends: Iterable[Spend]) -> int:
    """Repeat gifts that were answered before. Returns how many had been forgotten and were paid now."""
    paid_now = 0
    for spend in spends:
        first = bank.book.forget(spend.gift_id)
        paid = await bank.node.send(spend)
        assert not isinstance(paid, Refused), paid
        if paid.duplicate:
            assert (paid.balance, paid.entry_id) == (first.balance, first.entry_id)
        paid_now += not paid.duplicate
    return paid_now


async def test_an_older_copy_of_the_store_gets_back_what_was_journaled(bank: Bank) -> None:
    """SQL gives back balances and receipts, an OPEN marker begins a later epoch, no journaled id is paid again."""
    await bank.give(300)
    await bank.drain()
    old = copy_of(bank, "copy")
    await bank.give(300)
    await bank.drain()
    journaled = list(bank.book.acked)
    unjournaled = [gift for gift in await bank.give(60) if gift.gift_id in bank.book.acked]
    before = dict(bank.node.store.epochs)
    await restore(bank, old)
    assert bank.node.opening.replayed > 0
    with bank.look() as look:
        for partition, epoch in bank.node.store.epochs.items():
            assert int(epoch) > int(before[partition])
            [(id, fields)] = look.xrevrange(keys.log(partition), count=1)
            assert (id, fields["e"]) == (f"{epoch}-0", f'{{"kind":"open","partition":{partition}}}')
    assert bank.lost(journaled) == []
    assert await send_all_again(bank, [bank.book.sent[id] for id in journaled]) == 0
    assert await send_all_again(bank, unjournaled) == len(unjournaled)
    await bank.give(100)
    await bank.check()


@pytest.mark.timeout(rounds(60, 300))
async def test_an_empty_store_is_filled_from_the_journal(bank: Bank) -> None:
    """The store comes back empty, again and again: all that was journaled is replayed, and the sums are right."""
    for _ in range(rounds(2, 10)):
        await bank.give(200)
        await bank.drain()
        journaled = list(bank.book.acked)
        await restore(bank, None)
        assert bank.lost(journaled) == []
        assert await send_all_again(bank, [bank.book.sent[id] for id in journaled[:50]]) == 0
    await bank.check()


async def test_a_node_of_the_old_epoch_is_fenced(bank: Bank, new_node: Callable[..., Awaitable[Node]]) -> None:
    """A node that still uses the epoch before a restore changes nothing, and opens again."""
    await bank.give(100)
    await bank.drain()
    gift, old = bank.gift(viewer="viewer0", combo=None), dict(bank.node.store.epochs)
    partition = keys.partition_of(gift.viewer)
    await restore(bank, None)
    new = bank.node.store.epochs[partition]
    assert run(bank, spend_call(gift, epoch=old[partition])) == ([["stale_epoch"]], False)
    late = await new_node(bank)
    late.store.epochs = old
    assert isinstance(await late.send(gift), Refused)
    await eventually(lambda: late.store.usable and late.store.epochs[partition] == new, WAIT_S, "the new epoch")
    assert not isinstance(await late.send(gift), Refused)
    await bank.check()


async def test_two_nodes_open_a_restored_store_at_once(bank: Bank, new_node: Callable[..., Awaitable[Node]]) -> None:
    """Both replay and open: rows are restored once, and both go on in the same epoch."""
    other = await new_node(bank)
    for _ in range(rounds(2, 10)):
        async with bank.giving(8, bank.node, other):
            await bank.more(100)
        await bank.resolve()
        await bank.drain()
        journaled = list(bank.book.acked)
        await restore(bank, None)
        await other.until_usable()
        assert bank.lost(journaled) == []
        await eventually(lambda: other.store.epochs == bank.node.store.epochs, WAIT_S, "one epoch")
    await bank.check()


async def test_an_older_copy_of_the_journal_takes_the_rest_from_the_log(bank: Bank) -> None:
    """The log keeps a tail of journaled entries: a restored journal goes on from there, to the same rows."""
    journal = bank.folder / "journal.sqlite3"
    await bank.give(200)
    await bank.drain()
    with closing(sqlite3.connect(journal)) as live, closing(sqlite3.connect(bank.folder / "old.sqlite3")) as old:
        live.backup(old)
    await bank.give(300)
    await bank.drain()
    rows = bank.gift_rows()
    bank.engine.dispose()
    for path in bank.folder.glob("journal.sqlite3*"):
        path.unlink()
    shutil.copyfile(bank.folder / "old.sqlite3", journal)
    await bank.give(50)
    await bank.kill_store()
    bank.store.start()
    await bank.node.reconnected()
    await bank.drain()
    again = bank.gift_rows()
    assert {id: again[id] for id in rows} == rows
    await bank.check()


async def test_a_frozen_partition_stays_frozen_in_a_restored_store(bank: Bank) -> None:
    """An entry that does not fit stops its partition for good: a restored store is frozen again."""
    await bank.give(100)
    await bank.drain()
    partition = keys.partition_of("viewer0")
    async with bank.draining() as drain:
        with bank.look() as look:
            look.hincrby(keys.wallet("viewer0"), "c", 7)  # coins from nowhere
            await bank.node.send(bank.gift(viewer="viewer0"))
            await drain.drain_once()
            assert list(bank.set_aside()) == [partition]
            await drain.drain_once()
            assert look.hget(keys.wallet_meta(partition), "frozen") == "1"
        await restore(bank, None)
        await drain._wallet.wait_up(WAIT_S)
        await drain.drain_once()
        with bank.look() as look:
            assert look.hget(keys.wallet_meta(partition), "frozen") == "1"
    outcome = await bank.node.send(bank.gift(viewer="viewer0"))
    assert isinstance(outcome, Refused)


async def test_the_journal_fails_while_a_store_is_filled(bank: Bank) -> None:
    """Gifts wait while the journal cannot say what is missing, and then go on without help."""
    await bank.give(50)
    await bank.drain()
    with bank.engine.begin() as connection:
        connection.execute(text("ALTER TABLE entries RENAME TO entries_away"))
    await bank.kill_store()
    shutil.rmtree(bank.data)
    bank.store.start()
    with bank.look() as look:
        await eventually(lambda: "cmdstat_evalsha" in look.info("commandstats"), WAIT_S, "a look at the store")
    assert isinstance(await bank.node.send(bank.gift()), Refused)
    with bank.engine.begin() as connection:
        connection.execute(text("ALTER TABLE entries_away RENAME TO entries"))
    await bank.node.until_usable()
    await bank.resolve()
    await bank.check()


async def test_a_topup_after_both_were_lost(bank: Bank) -> None:
    """The store is filled from the journal, then an old journal comes back: a top-up's id still buys for one viewer."""
    bought = TopUp("bought-once", 100, "test")
    old = copied(bank.engine)
    await bank.node.purchases.top_up("viewer0", bought)
    bank.book.bought["viewer0"] += 100
    await bank.drain()
    await restore(bank, None)
    wallet = Store("wallet", bank.settings.wallet_address, scripts=moneytime.SCRIPTS)
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    await moneytime.Mover(bank.engine, wallet, CLOCK, Uptime()).once()
    await wallet.stop()
    restored(bank.engine, old)
    with pytest.raises(TopUpConflict):
        await bank.node.purchases.top_up("viewer1", bought)
    await bank.check()
