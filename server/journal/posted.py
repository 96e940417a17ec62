"""Marks orders as posted from their ledger entries, and writes the rows of orders that the journal has lost.

An order's row is written before its coins move. So an entry without a row means that the row was lost: an older copy of
the database came back, and the drain reads the entry again. Without the row, its id could buy for somebody else.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.entries import CHARGEBACK, KINDS, LIMIT, REFUND, TOPUP, Body, Sale
from server.journal import parts
from server.journal.derived import decision, derive_order
from server.journal.tables import entries, reversals, topups

# The freezes that are a step of a chargeback begin with this. They have no row of their own.
OF_CHARGEBACK = f"{CHARGEBACK.name}-"

assert {TOPUP.order, REFUND.order} == {kind.order for kind in KINDS.values() if kind.order}


class Bought(msgspec.Struct, frozen=True):
    """A top-up's row: the order and its outcome."""

    user_id: str
    coins: int
    source: str
    state: str
    balance: int | None
    sale: str | None = None  # JSON


_BOUGHT = select(*(topups.c[name] for name in Bought.__struct_fields__))
_JOURNALED = select(entries.c.user_id, entries.c.coins, entries.c.body, entries.c.balance).where(
    entries.c.kind == TOPUP.name
)


def bought(connection: Connection, topup_id: str) -> Bought | None:
    """A top-up's row, or what its entry says if the row was lost. None if neither exists. Raises SQLAlchemyError."""
    row = connection.execute(_BOUGHT.where(topups.c.id == topup_id)).one_or_none()
    if row is not None:
        return Bought(*row)
    entry = connection.execute(_JOURNALED.where(entries.c.ref == topup_id)).first()
    if entry is None:
        return None
    body = msgspec.json.decode(entry.body, type=Body)
    return Bought(entry.user_id, entry.coins, body.source, "posted", entry.balance, sale_row(body.sale))


def sale_row(sale: Sale | None) -> str | None:
    """What a row of a top-up keeps of what was paid for it."""
    return None if sale is None else msgspec.json.encode(sale).decode()


def limit_body(coins_per_day: int) -> str:
    """What the order of a viewer's own limit keeps."""
    return msgspec.json.encode({"coins_per_day": coins_per_day}).decode()


class Posted:
    """The orders that some entries carried out."""

    def __init__(self) -> None:
        self._topups: list[dict[str, Any]] = []
        self._reversals: list[dict[str, Any]] = []

    def note(self, about: Body, at_ms: int, balance: int | None) -> None:
        """Take note of an entry, if it carries out an order."""
        kind = KINDS[about.kind]
        row = {"user_id": about.viewer, "at_ms": at_ms, "state": "posted"}
        if kind.order == TOPUP.order:
            bought = {"id": about.id, "coins": about.coins, "source": about.source, "balance": balance}
            self._topups.append({**row, **bought, "sale": sale_row(about.sale)})
        elif kind.order:
            body = limit_body(about.coins_per_day) if kind is LIMIT else None
            self._reversals.append({**row, "kind": about.kind, "ref": about.id, "reason": "", "body": body})

    def write(self, connection: Connection) -> None:
        """Write the orders' states. Their entries are written already. Raises SQLAlchemyError."""
        if self._topups:
            connection.execute(_upsert_topup(connection), self._topups)
        for row in self._reversals:
            _post_reversal(connection, row)


def _upsert_topup(connection: Connection) -> Any:
    """The entry decides who bought: a pending row of somebody else is an order that was never carried out."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(topups)
    new = {name: statement.excluded[name] for name in ("user_id", "coins", "source", "state", "balance", "sale")}
    same = or_(topups.c.state == "pending", topups.c.user_id == statement.excluded.user_id)
    return statement.on_conflict_do_update(index_elements=[topups.c.id], set_=new, where=same)


def _post_reversal(connection: Connection, row: dict[str, Any]) -> None:
    kind, ref, user_id = row["kind"], row["ref"], row["user_id"]
    this = (reversals.c.kind == kind, reversals.c.ref == ref, reversals.c.user_id == user_id)
    if connection.execute(update(reversals).where(*this).values(state="posted")).rowcount:
        return
    if not KINDS[kind].reverses and ref.startswith(OF_CHARGEBACK):
        return
    if KINDS[kind].reverses:
        row = {**row, "body": _decision(connection, kind, ref, user_id)}
    connection.execute(insert(reversals).values(row))


def _decision(connection: Connection, kind: str, ref: str, user_id: str) -> str:
    """What a reversal took gift by gift, from its entry and the wallet's entries before it."""
    this = (entries.c.kind == kind, entries.c.ref == ref, entries.c.user_id == user_id)
    entry = connection.execute(select(entries.c.coins, entries.c.body).where(*this)).one()
    rows = parts.of_order(connection, user_id, kind, ref) or derive_order(connection, user_id, kind, ref)
    return decision(connection, user_id, entry, rows)
