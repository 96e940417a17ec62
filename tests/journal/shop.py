"""A wallet in the journal alone: its entries go straight into the ledger, and its reversals are decided in SQL."""

import itertools
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Engine

from server import limits
from server.clock import Clock
from server.entries import CHARGEBACK, REFUND, ChargebackEntry, GiftEntry, OpenEntry, RefundEntry, TopUpEntry
from server.journal.books import LogEntry, Mark, parse
from server.journal.database import reading
from server.journal.ledger import Ledger
from server.journal.parts import Gift, shares_of
from server.orders import decisions, rows
from server.orders.decisions import Decision
from server.orders.rows import Pending
from server.store import keys

NOW_MS = 1_000 * limits.DAY_MS


class Order(Struct):
    """A reversal that is decided, and perhaps journaled."""

    kind: str
    ref: str
    decision: Decision


class Books:
    """The ledger's writer of all wallets: it numbers the entries of each partition, and counts creators' credits."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ledger = Ledger(engine, Clock(lambda: NOW_MS / 1000))
        self.credited: dict[tuple[int, str], int] = {}
        self.marks: dict[int, Mark] = self.ledger.marks()

    def write(self, partition: int, *fields: Any) -> None:
        """Journal one entry, and the partition's OPEN marker before the first."""
        if self.marks[partition].epoch == 0:
            self._write(partition, b"1-0", [b"t", b"1", b"e", msgspec.json.encode(OpenEntry(partition=partition))])
        self._write(partition, b"1-%d" % (self.marks[partition].n + 1), [_bytes(field) for field in fields])

    def _write(self, partition: int, log_id: bytes, fields: list[bytes]) -> None:
        entry = parse((log_id, fields))
        assert isinstance(entry, LogEntry), entry
        batch = self.ledger.prepare({partition: self.marks[partition]}, {partition: [entry]})
        assert not batch.misfits, batch.misfits
        assert self.ledger.write(batch) == 1
        self.marks[partition] = batch.moved[partition][1]


class Shop:
    """One wallet: it buys, gives, and takes back."""

    def __init__(self, books: Books, user: str) -> None:
        self.books = books
        self.user = user
        self.now_ms = NOW_MS
        self.partition = keys.partition_of(user)
        self.coins = 0
        self.ids = itertools.count()
        self.topups: dict[str, int] = {}
        self.gifts: dict[str, Gift] = {}
        self.orders: list[Order] = []
        self.under_way: list[Order] = []

    def buy(self, coins: int) -> str:
        topup = f"{self.user}-t{next(self.ids)}"
        self.topups[topup] = coins
        self._move(coins, TopUpEntry(id=topup, viewer=self.user, coins=coins, source="test", fp="f"))
        return topup

    def give(
        self, coins: int, diamonds: int, creator: str, at_ms: int | None = None, maturity_days: int | None = None
    ) -> str:
        at_ms = self.now_ms if at_ms is None else at_ms
        gift = f"{self.user}-g{next(self.ids)}"
        ripens = limits.MATURITY_DAYS if maturity_days is None else maturity_days
        self.gifts[gift] = Gift(gift, self.user, creator, "demo", coins, diamonds, at_ms, ripens)
        entry = GiftEntry(
            id=gift,
            viewer=self.user,
            viewer_name=self.user,
            creator=creator,
            room="demo",
            broadcast=None,
            gift="rose",
            count=1,
            coins=coins,
            diamonds=diamonds,
            combo=None,
            maturity_days=maturity_days,
            fp="f",
            show=msgspec.Raw(b"{}"),
        )
        credited, key = self.books.credited, (self.partition, creator)
        credited[key] = credited.get(key, 0) + diamonds
        self.coins -= coins
        self.books.write(
            self.partition, "t", at_ms, "b", self.coins, "d", credited[key], "k", 0, "e", msgspec.json.encode(entry)
        )
        return gift

    def refund(self, gift: str) -> Order | None:
        """Decide a refund. Raises NotYet."""
        decision = decisions.decide_refund(self.books.engine, self.gifts[gift], NOW_MS, "a test")
        return None if decision is None else self._decided(Order(REFUND.name, gift, decision))

    def charge_back(self, topup: str) -> Order | None:
        """Decide a chargeback; None while a refund is under way."""
        engine = self.books.engine
        with engine.begin() as connection:
            rows.record(connection, Pending(CHARGEBACK.name, topup, self.user, NOW_MS))
        planned = decisions.plan_chargeback(engine, topup, self.user)
        decision = decisions.decide_chargeback(engine, topup, self.user, planned)
        return None if decision is None else self._decided(Order(CHARGEBACK.name, topup, decision))

    def _decided(self, order: Order) -> Order:
        if all((each.kind, each.ref) != (order.kind, order.ref) for each in self.orders):
            self.orders.append(order)
            self.under_way.append(order)
        return order

    def journal(self, which: int = 0) -> None:
        """Carry out and journal one of the reversals that are under way."""
        order = self.under_way.pop(which % len(self.under_way))
        decision, more = order.decision, {"id": order.ref, "viewer": self.user, "fp": "f"}
        more |= {"coins": decision.coins, "diamonds": decision.diamonds, "decided": decision.decided}
        if order.kind == REFUND.name:
            gift = self.gifts[order.ref]
            self._move(decision.coins, RefundEntry(creator=gift.creator_id, room=gift.room_id, **more))
        else:
            self._move(-decision.coins, ChargebackEntry(reversed=shares_of(decision.reversed), **more))

    def _move(self, coins: int, entry: Struct) -> None:
        self.coins += coins
        assert self.coins >= 0
        self.books.write(self.partition, "t", self.now_ms, "b", self.coins, "e", msgspec.json.encode(entry))

    def query(self, read: Any, *args: Any) -> Any:
        with reading(self.books.engine).connect() as connection:
            return read(connection, *args)


def _bytes(field: Any) -> bytes:
    return field if isinstance(field, bytes) else str(field).encode()
