"""The repair command: explains frozen partitions, corrects what can be proven, and thaws them."""

import argparse
import asyncio
import time
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Engine

from server import limits
from server.clock import Clock
from server.journal import derived
from server.journal.correct import Moved
from server.journal.imports import NotOurs, Source, open_source
from server.journal.rebuild import Broken
from server.journal.repair import SCRIPTS, Frozen, NotFrozen, Repair, StillWrong
from server.processes.journal import on_the_books
from server.settings import Settings, Unusable
from server.store.client import Store
from server.store.cluster import ClusterStore
from server.text import several

ALL, BOOKS = "all", "books"


class Order(Struct, frozen=True):
    """What the command is asked to do. `rebuild` and `thaw` are partitions, or None. `source` is a backup's address.

    `claims` asks to remove those that only block an id.
    """

    thaw: Sequence[int] | None = None
    rebuild: Sequence[int] | None = None
    correct: int | None = None
    source: str | None = None
    claims: bool = False
    empty: int | None = None


def order_of(args: argparse.Namespace) -> Order:
    """The order that the options give. Raises Unusable."""
    correct, empty = _one(args.correct, "Correct"), _one(args.empty, "Empty")
    return Order(_partitions(args.thaw), _partitions(args.rebuild), correct, args.source, args.claims, empty)


def _one(text: str | None, what: str) -> int | None:
    found = _partitions(text)
    if found is not None and len(found) != 1:
        raise Unusable(f"{what} one partition at a time.")
    if found and found[0] == limits.BOOKS:
        raise Unusable("The wallet store has nothing of the books.")
    return found[0] if found else None


def _partitions(text: str | None) -> Sequence[int] | None:
    if text is None:
        return None
    if text == ALL:
        return range(limits.BOOKS + 1)
    if text == BOOKS:
        return (limits.BOOKS,)
    if not text.isdecimal() or int(text) > limits.BOOKS:
        last = limits.WALLET_PARTITIONS - 1
        raise Unusable(f"{text!r} is not a partition: their numbers are 0 to {last}, and {limits.BOOKS}, the books.")
    return (int(text),)


def run(settings: Settings, order: Order) -> int:
    """Carry out the order, or only look. Return 1 while any partition is frozen, else 0. Raises Unusable."""

    async def act(engine: Engine, wallet: Store | ClusterStore) -> int:
        repairing = Repair(engine, wallet, Clock(time.time))  # noqa: TID251
        if order == Order():
            return await _look(repairing)
        source = None if order.source is None else Source(open_source(order.source))
        await _correct(engine, repairing, order, source)
        if order.thaw is None:
            return 0
        return await _thaw(repairing, order.thaw)

    try:
        return asyncio.run(on_the_books(settings, act, SCRIPTS))
    except NotFrozen:
        raise Unusable("This partition is not frozen.") from None
    except StillWrong as still:
        raise Unusable(f"Partition {still.wrong.partition} stays frozen, because it is still wrong: {still}.") from None
    except Broken as broken:
        raise Unusable(f"Nothing was changed, because a backup must have the original row: {broken}.") from None
    except (NotOurs, Moved) as no:
        raise Unusable(f"Nothing more was changed: {no}.") from None


async def _look(repairing: Repair) -> int:
    frozen = await repairing.frozen()
    for each in frozen:
        _explain(each)
    for stray in await repairing.strays():
        print(stray.said)
    print(f"Frozen: {len(frozen)} of {limits.WALLET_PARTITIONS} partitions and the books.")
    return 1 if frozen else 0


def _explain(frozen: Frozen) -> None:
    print(f"partition {frozen.partition}{', the books' if frozen.partition == limits.BOOKS else ''}")
    for reason in frozen.reasons or ["only the wallet store says that it is frozen"]:
        print(f"  frozen since: {reason}")
    print(f"  entries waiting for the journal: {frozen.waiting}")
    for wrong in frozen.wrong:
        print(f"  wrong now: {wrong.where}: {wrong.what}")
    for side in frozen.sides:
        print(f"  {side.where} in the journal: {side.journal}")
        print(f"  {side.where} in the wallet store: {side.store}")
    print(f"  {frozen.advice}")


async def _correct(engine: Engine, repairing: Repair, order: Order, source: Source | None) -> None:
    if source is not None and order.rebuild is None:
        taken = await repairing.take(source)
        for each in taken:
            print(f"Partition {each.partition} has {several(each.rows, 'row')} more. Its last entry is {each.last}.")
        print(f"Taken over: rows of {several(len(taken), 'partition')}.")
    if order.rebuild is not None:
        changed = [each for each in await repairing.rebuild(order.rebuild, source) if each.changed]
        for done in changed:
            columns, legs = several(done.entries, "entry", "entries"), several(done.legs, "entry", "entries")
            rows = f"{columns}, the stored postings of {legs}, {several(done.positions, 'position')}"
            print(f"Partition {done.partition}: corrected {rows}.")
        print(f"Corrected: {several(len(changed), 'partition')}.")
        again = await asyncio.to_thread(derived.rebuild, engine)
        print(f"Written again: {again.said()}.")
        if again.removed:
            print(f"Removed, because no entry says so: {several(again.removed, 'part')} of reversals.")
    if order.correct is not None:
        for text in await repairing.correct(order.correct):
            print(f"set {text}")
    if order.empty is not None:
        deleted = await repairing.empty(order.empty)
        print(f"Deleted: {several(deleted, 'key')} of partition {order.empty}. The nodes fill it again.")
    if order.claims:
        for stray in await repairing.strays():
            await repairing.remove(stray)
            print(f"Removed the claim on {stray.id}: a top-up can have this id again.")


async def _thaw(repairing: Repair, partitions: Sequence[int]) -> int:
    if len(partitions) == 1:
        await repairing.thaw(partitions[0])
        print(_thawed(partitions[0]))
        return 0
    for partition in await repairing.thaw_all():
        print(_thawed(partition))
    return await _look(repairing)


def _thawed(partition: int) -> str:
    books = partition == limits.BOOKS
    return "The books can be written again." if books else f"Partition {partition} takes gifts again."
