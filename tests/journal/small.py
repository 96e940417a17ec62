"""A small journal with some entries of every kind, made by the code of drain and pen without a wallet store."""

from collections import Counter
from typing import Any

import msgspec
from sqlalchemy import Engine, insert

from protocol.wire import encode
from server.booked import CorrectionEntry, HoldEntry, Money, Move, PaidEntry, ReleaseEntry, ReturnEntry, WriteOffEntry
from server.clock import Clock
from server.entries import (
    BOOKS,
    KIND_OF,
    KINDS,
    ChargebackEntry,
    FreezeEntry,
    LimitEntry,
    OpenEntry,
    RefundEntry,
    Share,
    TopUpEntry,
    UnfreezeEntry,
)
from server.journal import pen
from server.journal.books import START, Mark, parse
from server.journal.ledger import Ledger
from server.journal.parts import Part
from server.journal.tables import reversals, topups
from server.store import keys
from tests.journal.payout_rows import write_payout_rows
from tests.money import a_gift

ALICE, BOB = keys.partition_of("alice"), keys.partition_of("bob")
assert ALICE != BOB
MS = 1_760_000_000_000  # when all of this happened


class _Log:
    """A partition's ledger log, with the balances that the wallet store would have."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.rows: list[Any] = []
        self._balances: Counter[str] = Counter()
        self._epoch, self._n = 0, -1

    def open(self) -> None:
        self._epoch, self._n = self._epoch + 1, -1
        self._add(encode(OpenEntry(partition=self.partition)))

    def order(self, entry: Any) -> None:
        """An order of the host platform, or a limit."""
        kind = KIND_OF[type(entry)]
        self._balances[entry.viewer] += (kind.coins or 0) * getattr(entry, "coins", 0)
        self._add(encode(entry), b=self._balances[entry.viewer])

    def gift(self, viewer: str, id: str, coins: int, creator: str, combo_count: int = 0) -> None:
        spend = a_gift(viewer, coins, id=id, creator=creator)
        self._balances[viewer] -= coins
        self._balances[f"creator {creator}"] += spend.diamonds
        self._add(spend.entry, b=self._balances[viewer], d=self._balances[f"creator {creator}"], k=combo_count)

    def _add(self, entry: bytes, **numbers: int) -> None:
        self._n += 1
        fields = [b"t", str(MS + len(self.rows)).encode()]
        for name, number in numbers.items():
            fields += [name.encode(), str(number).encode()]
        self.rows.append((f"{self._epoch}-{self._n}".encode(), [*fields, b"e", entry]))


def fill(engine: Engine) -> None:
    """Alice buys, gives, is refunded, charged back, frozen and limited, over two epochs. Bob buys and gives."""
    _order(engine)
    alice, bob = _Log(ALICE), _Log(BOB)
    alice.open()
    alice.order(TopUpEntry(id="t1", viewer="alice", coins=100, source="shop", fp="f"))
    alice.gift("alice", "g1", 30, "ann")
    alice.gift("alice", "g2", 20, "ben", combo_count=3)
    alice.order(RefundEntry(id="g1", viewer="alice", fp="f", coins=30, diamonds=15, creator="ann", room="demo"))
    alice.gift("alice", "g3", 50, "ann")
    alice.order(FreezeEntry(id="chargeback-1", viewer="alice", fp="f"))
    shares = [Share("ben", 20, 10), Share("ann", 50, 25)]
    alice.order(ChargebackEntry(id="t1", viewer="alice", fp="f", coins=30, diamonds=35, reversed=shares))
    alice.order(UnfreezeEntry(id="u1", viewer="alice", fp="f"))
    alice.order(LimitEntry(id="l1", viewer="alice", coins_per_day=500, ordered_ms=MS, fp="f"))
    alice.order(TopUpEntry(id="t2", viewer="alice", coins=200, source="shop", fp="f"))
    alice.open()
    alice.gift("alice", "g4", 40, "ann")
    alice.order(FreezeEntry(id="f1", viewer="alice", fp="f"))
    bob.open()
    bob.order(TopUpEntry(id="t3", viewer="bob", coins=100, source="shop", fp="f"))
    bob.gift("bob", "g5", 10, "ann")
    journal(engine, alice, bob)
    of_log = {kind for kind in KINDS.values() if kind.writer != BOOKS}
    assert {parse(row).kind for row in alice.rows} == of_log  # type: ignore[union-attr]
    fill_books(engine)


def fill_books(engine: Engine) -> None:
    """Ann is paid, and the bank sends it back. A second payout is off, a third one waits. Somebody decides twice."""
    euros = Money(currency="EUR", net=480, fee=15, withheld=4, rounding=1)
    step = {"id": "p1", "creator": "ann", "diamonds": 20}
    decided = {"creator": "ann", "salt": "s", "by": "olga", "reason": "typed twice"}
    moves = Move("diamonds", "creator:ann", 3), Move("diamonds", "house:corrected", -3)
    with engine.begin() as connection:
        for n, entry in enumerate(
            (
                HoldEntry(**step),
                PaidEntry(**step, provider="bank", money=euros),
                ReturnEntry(**step, provider="bank", money=euros),
                HoldEntry(id="p2", creator="ann", diamonds=5),
                ReleaseEntry(id="p2", creator="ann", diamonds=5),
                HoldEntry(id="p3", creator="ann", diamonds=7),
                WriteOffEntry(id="w1", diamonds=4, **decided),
                CorrectionEntry(id="c1", moves=moves, **decided),
            )
        ):
            pen.write(connection, entry, MS + n)
        write_payout_rows(connection)


def journal(engine: Engine, *logs: _Log, marks: dict[int, Mark] | None = None) -> None:
    """Write logs into the journal, as the drain does."""
    ledger = Ledger(engine, Clock(lambda: MS / 1000))
    read = {log.partition: [parse(row) for row in log.rows] for log in logs}
    batch = ledger.prepare(marks or dict.fromkeys(read, START), read)
    assert batch.misfits == {}
    ledger.write(batch)


def _order(engine: Engine) -> None:
    """The orders behind these entries; t4 and g4 wait, and u2 was overtaken."""
    parts = [Part("g2", "ben", "demo", 20, 10), Part("g3", "ann", "demo", 50, 25)]
    decision = msgspec.json.encode({"coins": 30, "reversed": parts}).decode()
    orders = [
        ("refund", "g1", None, "pending"),
        ("chargeback", "t1", decision, "pending"),
        ("unfreeze", "u1", None, "pending"),
        ("limit", "l1", '{"coins_per_day":500}', "pending"),
        ("freeze", "f1", None, "pending"),
        ("unfreeze", "u2", None, "refused"),
        ("refund", "g4", None, "pending"),
    ]
    bought = [("t1", "alice", 100), ("t2", "alice", 200), ("t3", "bob", 100), ("t4", "alice", 7)]
    order = {"user_id": "alice", "reason": "r", "at_ms": MS}
    topup = {"source": "shop", "at_ms": MS, "state": "pending", "balance": None}
    with engine.begin() as connection:
        connection.execute(
            insert(reversals),
            [order | {"kind": kind, "ref": ref, "body": body, "state": state} for kind, ref, body, state in orders],
        )
        connection.execute(
            insert(topups), [topup | {"id": id, "user_id": user, "coins": coins} for id, user, coins in bought]
        )
