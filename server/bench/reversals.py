"""How long a refund, a chargeback and a creator's earnings take: one wallet with many gifts, in a large journal."""

import asyncio
import contextlib
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, update

from server import limits
from server.bench import machine
from server.clock import Clock
from server.entries import CHARGEBACK, GiftEntry, OpenEntry, TopUpEntry
from server.http.creators import Creators, as_csv
from server.journal import database, folding
from server.journal.books import LogEntry, Mark, parse
from server.journal.earnings import Earnings
from server.journal.ledger import Entries, Ledger
from server.journal.moments import Moment
from server.journal.tables import reversals
from server.orders import decisions, rows
from server.store import keys

CREATOR, BIG = "creator", "big"
ENTRIES, GIFTS = 1_000_000, 60_000
BATCH = 10_000
VIEWERS = 1_000
DAYS = 30
TIMES = 20
NOW_MS = 20_000 * limits.DAY_MS


def measure(below: Path, entries: int, gifts: int, per_topup: int, on_postgresql: bool) -> dict[str, Any]:
    """Figures of one journal: `entries` in all, of which one wallet sent `gifts`, and all to one creator."""
    with contextlib.ExitStack() as running:
        url = f"sqlite:///{below / 'journal.sqlite3'}"
        if on_postgresql:
            url = running.enter_context(machine.postgresql(below)).address("postgres")
        engine = database.connect(url)
        database.migrate(engine)
        _fill(engine, entries, gifts, per_topup)
        found = _measure(engine, gifts, per_topup)
        engine.dispose()
    return {
        "journal": engine.dialect.name,
        "entries": entries,
        "gifts_of_the_wallet": gifts,
        "gifts_per_topup": per_topup,
        **found,
    }


def _measure(engine: Engine, gifts: int, per_topup: int) -> dict[str, Any]:
    clock = Clock(lambda: NOW_MS / 1000)
    yesterday = Moment(NOW_MS - limits.DAY_MS - 1)
    first_s = _seconds(lambda: folding.fold(engine, BIG))
    refunded = (f"{BIG}-{n}" for n in range(0, gifts, 7))
    topups = (f"t-{n}" for n in range(gifts // per_topup - 1, 0, -1))

    def refund() -> None:
        with database.reading(engine).connect() as connection:
            gift = rows.gift_of(connection, next(refunded), BIG)
        assert decisions.decide_refund(engine, gift, NOW_MS, "bench")

    def charge_back() -> None:
        topup = next(topups)
        with engine.begin() as connection:
            rows.record(connection, rows.Pending(CHARGEBACK.name, topup, BIG, NOW_MS))
        planned = decisions.plan_chargeback(engine, topup, BIG)
        decided = decisions.decide_chargeback(engine, topup, BIG, planned)
        assert decided
        assert len(decided.reversed) == per_topup

    charged_ms = _median_ms(charge_back)
    with engine.begin() as connection:  # as if they were journaled: until then a refund waits for them
        connection.execute(update(reversals).values(state="posted"))
    return {
        "first_fold_s": round(first_s, 2),
        "chargeback_ms": charged_ms,
        "refund_ms": _median_ms(refund),
        "earnings_ms": _median_ms(lambda: asyncio.run(Earnings(engine, clock).of(CREATOR))),
        "earnings_as_of_a_day_ms": _median_ms(lambda: asyncio.run(Earnings(engine, clock).of(CREATOR, yesterday))),
        **asyncio.run(_listed(engine, clock)),
    }


async def _listed(engine: Engine, clock: Clock) -> dict[str, Any]:
    """Read all gifts of the creator as CSV: how long it takes, and what the last nine tenths add to the peak memory."""
    rows, peak, began = 0, 0, time.perf_counter()
    async for some in Creators(engine, clock).stream(CREATOR, (0, NOW_MS), as_csv, b""):
        rows += some.count(b"\n")
        if not peak and rows >= ENTRIES // 10:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    return {"listed": rows, "listed_s": round(time.perf_counter() - began, 1), "listed_more_kib": more if peak else 0}


def _median_ms(act: Callable[[], Any]) -> list[float]:
    """The median of the time that it takes, and of this process's CPU time."""
    took_s, own_s = [], []
    for _ in range(TIMES):
        used = time.process_time()
        took_s.append(_seconds(act))
        own_s.append(time.process_time() - used)
    return [round(statistics.median(each) * 1000, 1) for each in (took_s, own_s)]


def _seconds(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


# --- the journal -----------------------------------------------------------------------------------------------------
def _fill(engine: Engine, entries: int, gifts: int, per_topup: int) -> None:
    """Write a journal with the program's own ledger: the wallet first, then gifts of others until it is large."""
    ledger = Ledger(engine, Clock(lambda: NOW_MS / 1000))
    marks = ledger.marks()
    writer = _Writer(marks)
    for n, (viewer, coins) in enumerate(itertools.chain(_big(gifts, per_topup), _others(entries - gifts))):
        writer.add(viewer, coins, n)
        if writer.size >= BATCH:
            _write(ledger, marks, writer.logs)
            writer.logs, writer.size = {}, 0
    _write(ledger, marks, writer.logs)


def _write(ledger: Ledger, marks: dict[int, Mark], logs: dict[int, Entries]) -> None:
    if logs:
        batch = ledger.prepare({p: marks[p] for p in logs}, logs)
        assert not batch.misfits, batch.misfits
        ledger.write(batch)
        marks.update({p: after for p, (_, after) in batch.moved.items()})


def _big(gifts: int, per_topup: int) -> Iterator[tuple[str, int]]:
    """A top-up (its coins), then its gifts (-1 each)."""
    for n in range(gifts):
        if n % per_topup == 0:
            yield BIG, per_topup
        yield BIG, -1


def _others(gifts: int) -> Iterator[tuple[str, int]]:
    for n in range(VIEWERS):
        yield f"v{n}", gifts
    for n in range(gifts - VIEWERS):
        yield f"v{n % VIEWERS}", -1


class _Writer:
    """Makes entries as the wallet's scripts write them."""

    def __init__(self, marks: dict[int, Mark]) -> None:
        self.logs: dict[int, Entries] = {}
        self.size = 0
        self._next = dict.fromkeys(marks, 0)
        self._coins: dict[str, int] = {}
        self._credited = dict.fromkeys(marks, 0)
        self._numbers: dict[tuple[str, bool], int] = {}

    def add(self, viewer: str, coins: int, n: int) -> None:
        partition = keys.partition_of(viewer)
        if self._next[partition] == 0:
            self._log(partition, [b"t", b"1", b"e", msgspec.json.encode(OpenEntry(partition=partition))])
        self._coins[viewer] = after = self._coins.get(viewer, 0) + coins
        at, balance = b"%d" % (NOW_MS - n % DAYS * limits.DAY_MS - n // DAYS), b"%d" % after
        number = self._numbers[viewer, coins < 0] = self._numbers.get((viewer, coins < 0), -1) + 1
        if coins > 0:
            id = f"t-{number}" if viewer == BIG else f"t-{viewer}"
            topup = TopUpEntry(id=id, viewer=viewer, coins=coins, source="bench", fp="f")
            self._log(partition, [b"t", at, b"b", balance, b"e", msgspec.json.encode(topup)])
            return
        self._credited[partition] += 1
        credited = b"%d" % self._credited[partition]
        entry = msgspec.json.encode(_gift(f"{viewer}-{number}", viewer))
        self._log(partition, [b"t", at, b"b", balance, b"d", credited, b"k", b"0", b"e", entry])

    def _log(self, partition: int, fields: list[bytes]) -> None:
        entry = parse((b"1-%d" % self._next[partition], fields))
        assert isinstance(entry, LogEntry), entry
        self._next[partition] += 1
        self.logs.setdefault(partition, []).append(entry)
        self.size += 1


def _gift(id: str, viewer: str) -> GiftEntry:
    return GiftEntry(
        id=id,
        viewer=viewer,
        viewer_name=viewer,
        creator=CREATOR,
        room="bench",
        broadcast=None,
        gift="rose",
        count=1,
        coins=1,
        diamonds=1,
        combo=None,
        fp="f",
        show=msgspec.Raw(b"{}"),
    )
