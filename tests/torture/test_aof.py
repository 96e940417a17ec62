"""What is left of an append-only file: a gift is there wholly or not at all, and a changed digit is found."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol.refusals import Refused
from server.journal import process
from server.journal.audit import Audit
from server.store import keys
from server.store.embedded import WALLET
from tests.program import ROOT, eventually
from tests.stores import ValkeyProcess, settings
from tests.torture import aof, rounds
from tests.torture.bank import WAIT_S, Bank


def everything(store: ValkeyProcess) -> dict[str, Any]:
    """All that a store holds, but for the time that is left to what ends by itself."""
    with store.client() as look:
        return {key: look.dump(key) for key in look.scan_iter(count=10_000)}


def damaged(bank: Bank, name: str, content: bytes) -> ValkeyProcess:
    """A store that starts from the bank's files, its newest append-only file with this content."""
    folder = bank.folder / name
    shutil.copytree(bank.data, folder / WALLET.name)
    aof.newest(folder / WALLET.name).write_bytes(content)
    return ValkeyProcess(WALLET, settings(folder))


@pytest.mark.timeout(rounds(60, 600))
async def test_a_gift_is_there_wholly_or_not_at_all(bank: Bank) -> None:
    """Cut at any byte of the last gift, the store starts as it was before it, and only the whole file has it."""
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
        store.kill()
        shutil.rmtree(bank.folder / "cut")
    store = damaged(bank, "cut", whole)
    store.start()
    assert everything(store) == after
    store.kill()


async def test_a_torn_gift_is_sent_again(bank: Bank) -> None:
    """The end of the file is torn, the sender asks with the same id: it is paid once."""
    await bank.give(20)
    await bank.drain()
    gift = bank.gift(viewer="viewer1")
    await bank.node.send(gift)
    await bank.kill_store()
    file = aof.newest(bank.data)
    file.write_bytes(file.read_bytes()[:-10])
    bank.store.start()
    await bank.node.reconnected()
    del bank.book.acked[gift.gift_id]
    paid = await bank.node.send(gift)
    assert not isinstance(paid, Refused)
    assert not paid.duplicate
    await bank.check()


def flipped(content: bytes, arg: aof.Arg) -> bytes:
    """The same with the last digit of an argument changed."""
    digit = content[arg.end - 1 : arg.end]
    assert digit.isdigit()
    return content[: arg.end - 1] + (b"8" if digit != b"8" else b"3") + content[arg.end :]


async def change_a_digit(bank: Bank, command: bytes, place: int, *, of: bytes) -> None:
    """Kill the store, change the digit of the last such command of the last gift, and start it again."""
    await bank.kill_store()
    file = aof.newest(bank.data)
    content = file.read_bytes()
    _, commands = aof.last_transaction(content)
    [args] = [args for args in commands if args[0].value == command and of in args[1].value]
    file.write_bytes(flipped(content, args[place]))
    bank.store.start()
    await bank.node.reconnected()


@pytest.mark.parametrize(
    ("command", "of", "place"),
    [(b"HINCRBY", b":w:", 3), (b"HINCRBY", b":m", 3), (b"XADD", b":log", 6), (b"XADD", b":log", 8)],
    ids=["wallet", "total", "balance", "credited"],
)
async def test_a_changed_digit_is_found(bank: Bank, command: bytes, of: bytes, place: int) -> None:
    """A digit of money that changed on disk stops its partition, which the audit names, and no other."""
    await bank.give(30)
    await bank.node.send(bank.gift(viewer="viewer1", combo=None))
    partition = keys.partition_of("viewer1")
    await change_a_digit(bank, command, place, of=of)
    async with bank.draining() as drain:
        await drain.drain_once()
        auditing = asyncio.create_task(process._audit_always(Audit(bank.engine, drain._wallet, drain.clock), drain))
        ...
