"""Damaged append-only files: a gift is there completely or not at all, and a changed digit is found."""

import asyncio
import re
import shutil
from typing import Any

import pytest

from protocol.refusals import Refused
from server import limits
from server.processes import journal as process
from server.store import keys
from server.store.embedded import WALLET
from tests.program import eventually
from tests.stores import ValkeyProcess, settings
from tests.torture import aof, rounds
from tests.torture.bank import WAIT_S, Bank

STREAK = re.compile(r"\{[^}]+\}:c:")


def everything(store: ValkeyProcess) -> dict[str, Any]:
    """Everything a store holds, except streak counters, which expire while the test looks at many stores."""
    with store.client() as look:
        found = {key: look.dump(key) for key in look.scan_iter(count=10_000)}
    return {key: content for key, content in found.items() if not STREAK.match(key)}


def damaged(bank: Bank, name: str, content: bytes) -> ValkeyProcess:
    """A store that starts from the bank's files, with this content in its newest append-only file."""
    folder = bank.folder / name
    shutil.copytree(bank.data, folder / WALLET.name)
    aof.newest(folder / WALLET.name).write_bytes(content)
    return ValkeyProcess(WALLET, settings(folder))


@pytest.mark.timeout(rounds(60, 600))
async def test_a_gift_is_there_wholly_or_not_at_all(bank: Bank) -> None:
    """Cut off at any byte of the last gift, the store starts as it was before; only the whole file has the gift."""
    await bank.give(20)
    before = everything(bank.store)
    gift = bank.gift(viewer="viewer1", combo="combo")
    await bank.node.send(gift)
    after = everything(bank.store)
    await bank.kill_store()
    whole = aof.newest(bank.data).read_bytes()
    begin, commands = aof.last_transaction(whole)
    assert commands[1][0].value == b"XADD"
    cuts = range(begin, len(whole), rounds(max(1, (len(whole) - begin) // 16), 1))
    for cut in sorted({*cuts, begin + 1, len(whole) - 1}):
        store = damaged(bank, "cut", whole[:cut])
        store.start()
        assert everything(store) == before, f"cut at byte {cut - begin} of {len(whole) - begin}"
        with store.client() as look:
            assert not look.exists(keys.spend_keys("viewer1", "creator", "gift", 0, "combo")[1][4])
        store.kill()
        shutil.rmtree(bank.folder / "cut")
    store = damaged(bank, "cut", whole)
    store.start()
    assert everything(store) == after
    store.kill()


async def test_a_torn_gift_is_sent_again(bank: Bank) -> None:
    """The end of the file is torn, and the sender asks with the same id: it is paid once."""
    await bank.give(20)
    await bank.drain()
    gift = bank.gift(viewer="viewer1")
    await bank.node.send(gift)
    await bank.kill_store()
    file = aof.newest(bank.data)
    file.write_bytes(file.read_bytes()[:-10])
    bank.store.start()
    await bank.node.reconnected()
    bank.book.forget(gift.gift_id)
    paid = await bank.node.send(gift)
    assert not isinstance(paid, Refused)
    assert not paid.duplicate
    await bank.check()


def flipped(content: bytes, arg: aof.Arg) -> bytes:
    """The same bytes with the last digit of an argument changed."""
    digit = content[arg.end - 1 : arg.end]
    assert digit.isdigit()
    return content[: arg.end - 1] + (b"8" if digit != b"8" else b"3") + content[arg.end :]


async def change_a_digit(bank: Bank, command: bytes, place: int, *, of: bytes) -> None:
    """Kill the store, change a digit in the last such command of the last gift, and start the store again."""
    await bank.kill_store()
    file = aof.newest(bank.data)
    content = file.read_bytes()
    _, commands = aof.last_transaction(content)
    args = next(args for args in commands if args[0].value == command and of in args[1].value)
    file.write_bytes(flipped(content, args[place]))
    bank.store.start()
    await bank.node.reconnected()


FLIPS = {
    "wallet": (b"HSET", b":w:", 3),
    "spent": (b"HINCRBY", b":m", 3),
    "counter": (b"INCRBY", b":s:", 2),
    "balance": (b"XADD", b":log", 7),
    "credited": (b"XADD", b":log", 9),
}


@pytest.mark.parametrize("what", FLIPS)
async def test_a_changed_digit_is_found(bank: Bank, what: str) -> None:
    """If a digit of money changes on disk, its partition stops with the next gift at the latest; no other does."""
    command, of, place = FLIPS[what]
    await bank.give(30)
    await bank.one_more("viewer1")
    partition = keys.partition_of("viewer1")
    await change_a_digit(bank, command, place, of=of)
    await bank.drain()
    report = await bank.audit()
    assert not report.ok
    assert {wrong.partition for wrong in report.wrong} <= {partition}
    assert list(bank.set_aside()) == [partition]
    await bank.drain()
    assert isinstance(await bank.node.send(bank.gift(viewer="viewer1")), Refused)
    others = [viewer for viewer in bank.viewers[:-1] if keys.partition_of(viewer) != partition]
    gifts = [await bank.one_more(viewer) for viewer in others]
    await bank.drain()
    assert {gift.gift_id for gift in gifts} <= bank.gift_rows().keys()
    with bank.look() as look:
        frozen = {p for p in range(limits.WALLET_PARTITIONS) if look.hget(keys.wallet_meta(p), "frozen")}
        assert frozen == {partition}


async def test_the_programs_find_a_changed_digit(bank: Bank) -> None:
    """`server audit --freeze` names the partition; `server journal` freezes it and goes on with the others."""
    await bank.give(30)
    await bank.one_more("viewer1")
    await change_a_digit(bank, *FLIPS["wallet"][::2], of=FLIPS["wallet"][1])
    await bank.drain()
    audit = bank.run_program("audit", "--freeze")
    journal = bank.journal_process()
    code = await eventually(lambda: audit.poll() is not None and (audit.returncode,), WAIT_S, "the audit's end")
    said = bank.said_by(audit)
    partition = keys.partition_of("viewer1")
    assert (code[0], said.count("\n")) == (1, 1)
    assert f"partition {partition}" in said
    with bank.look() as look:
        await eventually(lambda: look.hget(keys.wallet_meta(partition), "frozen"), WAIT_S, "a frozen partition")
    gift = await bank.one_more("viewer2")
    await eventually(lambda: gift.gift_id in bank.gift_rows(), WAIT_S, "another partition's gift in the journal")
    await bank.end(journal)


async def test_the_audit_names_a_frozen_partition(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    """The audit names the partition of an entry that was set aside, and exits with 1."""
    await bank.give(30)
    await bank.one_more("viewer1")
    await change_a_digit(bank, *FLIPS["balance"][::2], of=FLIPS["balance"][1])
    await bank.drain()
    assert await asyncio.to_thread(process.audit, bank.settings) == 1
    assert f"partition {keys.partition_of('viewer1')}" in capsys.readouterr().err


async def test_one_wrong_partition_hides_no_other(bank: Bank) -> None:
    """Even if one partition has many errors, every other wrong partition is frozen, too."""
    users = [f"user{n}" for n in range(20_000) if keys.partition_of(f"user{n}") == 0][: limits.AUDIT_WRONG_MAX + 5]
    for user in users:
        await bank.node.buy(user, 5)
    await bank.drain()
    with bank.look() as look:
        for user in (*users, "viewer1"):
            look.hincrby(keys.wallet(user), "c", 1)
    await bank.audit()
    assert bank.set_aside().keys() == {0, keys.partition_of("viewer1")}
