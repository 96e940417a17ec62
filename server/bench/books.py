"""A journal of any size for the benchmarks, made by the real ledger code, and a wallet store that agrees with it."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, insert

from protocol.wire import encode
from server import limits
from server.bench.giving import Givers
from server.clock import Clock
from server.entries import OpenEntry, TopUpEntry
from server.journal.books import LogEntry, parse
from server.journal.ledger import Ledger
from server.journal.tables import topups
from server.store import keys
from server.store.client import Store

Entry = tuple[int, bytes, list[Any]]  # partition, log id, fields

GIFTS_PER_VIEWER = 50
BATCH = 30_000  # entries that are written at once, as of a backlog


class Books:
    """Writes entries into a journal. Remembers what the wallet store must have for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ledger = Ledger(engine, Clock(time.time))  # noqa: TID251
        self._last: dict[int, int] = {}
        self._newest: dict[int, list[Any]] = {}
        self._balances: dict[str, int] = {}
        self._credited: dict[tuple[int, str], int] = {}
        self._totals = {p: {"coins": 0, "bought": 0, "diamonds": 0} for p in range(limits.WALLET_PARTITIONS)}

    def fill(self, entries: int) -> int:
        """Write so many entries in all, gifts but for one top-up per viewer. Returns how many gifts they are."""
        viewers = max(1, entries // GIFTS_PER_VIEWER)
        gifts = max(0, entries - viewers - limits.WALLET_PARTITIONS)
        waiting: dict[int, list[tuple[bytes, list[Any]]]] = {}
        for count, (partition, id, fields) in enumerate(self._entries(viewers, gifts), 1):
            waiting.setdefault(partition, []).append((id, fields))
            if count % BATCH == 0:
                self._write(waiting)
                waiting = {}
        self._write(waiting)
        return gifts

    def _write(self, waiting: dict[int, list[tuple[bytes, list[Any]]]]) -> None:
        logs = {partition: [parse(row) for row in rows] for partition, rows in waiting.items()}
        bought = [
            entry.about
            for found in logs.values()
            for entry in found
            if isinstance(entry, LogEntry) and entry.about.kind == "topup"
        ]
        if bought:
            rows = [{"id": each.id, "user_id": each.viewer, "coins": each.coins, "source": "bench"} for each in bought]
            with self._engine.begin() as connection:
                connection.execute(insert(topups), [row | {"at_ms": 1, "state": "pending"} for row in rows])
        if logs:
            self._ledger.write(self._ledger.prepare(self._ledger.marks(), logs))

    def _entries(self, viewers: int, gifts: int) -> Iterator[Entry]:
        for partition in range(limits.WALLET_PARTITIONS):
            yield self._entry(partition, None, None, encode(OpenEntry(partition=partition)))
        for number in range(viewers):
            viewer, coins = f"v{number}", limits.TOPUP_COINS_MAX
            entry = TopUpEntry(id=f"b-{viewer}", viewer=viewer, coins=coins, source="bench", fp="bench")
            partition = keys.partition_of(viewer)
            self._balances[viewer] = coins
            self._totals[partition]["bought"] += coins
            yield self._entry(partition, coins, None, encode(entry))
        givers = Givers(0, viewers)
        for _ in range(gifts):
            spend = givers.spend()
            partition = keys.partition_of(spend.viewer)
            self._balances[spend.viewer] -= spend.coins
            self._totals[partition]["coins"] += spend.coins
            self._totals[partition]["diamonds"] += spend.diamonds
            credited = self._credited.get((partition, spend.creator), 0) + spend.diamonds
            self._credited[partition, spend.creator] = credited
            yield self._entry(partition, self._balances[spend.viewer], credited, spend.entry)

    def _entry(self, partition: int, balance: int | None, credited: int | None, body: bytes) -> Entry:
        n = self._last[partition] = self._last.get(partition, -1) + 1
        fields: list[Any] = [b"t", b"%d" % (time.time() * 1000)]  # noqa: TID251
        if balance is not None:
            fields += [b"b", b"%d" % balance]
        if credited is not None:
            fields += [b"d", b"%d" % credited, b"k", b"0"]
        self._newest[partition] = [*fields, b"e", body]
        return partition, b"1-%d" % n, self._newest[partition]

    async def store(self, wallet: Store) -> None:
        """Give an empty wallet store the balances, the totals and the last log ids of these entries."""
        calls: list[tuple[Any, ...]] = []
        for partition, last in self._last.items():
            calls.append(("XADD", keys.log(partition), f"1-{last}", *self._newest[partition]))
            flat = [part for total in self._totals[partition].items() for part in total]
            calls.append(("HSET", keys.wallet_meta(partition), "epoch", 1, "opened", "bench", *flat))
        today = int(time.time() * 1000) // limits.DAY_MS  # noqa: TID251
        for viewer, balance in self._balances.items():
            calls.append(("HSET", keys.wallet(viewer), "c", balance))
            if spent := limits.TOPUP_COINS_MAX - balance:
                calls.append(("HSET", keys.wallet(viewer), "day", today, "spent", spent))
        calls += [("SET", keys.credit(*of), credited) for of, credited in self._credited.items()]
        for start in range(0, len(calls), limits.SPEND_QUEUE_MAX):
            await asyncio.gather(*(wallet.call(*call) for call in calls[start : start + limits.SPEND_QUEUE_MAX]))
