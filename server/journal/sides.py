"""Both sides of a finding, so that a person can compare them: what the journal has, and what the wallet store has."""

import asyncio
from typing import Any, cast

from msgspec import Struct
from sqlalchemy import Connection, Engine, select

from server.journal.accounts import Sums
from server.journal.books import LogEntry, Unreadable, parse
from server.journal.database import reading
from server.journal.findings import Wrong
from server.journal.tables import entries, positions
from server.store import keys
from server.store.client import Store, StoreRefused, of_one_key
from server.store.cluster import ClusterStore


class Side(Struct, frozen=True):
    """A finding's row, key or entry in the journal, and the same in the store."""

    where: str
    journal: str
    store: str


async def side_of(engine: Engine, wallet: Store | ClusterStore, wrong: Wrong) -> Side | None:
    """Both sides of a finding, or None when it is about neither an entry nor an account.

    Raises StoreError, SQLAlchemyError.
    """
    at = _log_id(wrong.where)
    try:
        store = await _in_store(wallet, wrong.partition, wrong.where, at)
    except StoreRefused as refused:
        if not of_one_key(refused):
            raise
        store = f"it cannot be read: {refused}"
    if store is None:
        return None
    journal = await asyncio.to_thread(_journal, engine, wrong.partition, wrong.where, at)
    return Side(wrong.where, journal, store)


async def _in_store(wallet: Store | ClusterStore, partition: int, where: str, at: tuple[int, int] | None) -> str | None:
    kind, _, name = where.partition(":")
    if kind == "viewer":
        return _balance(await wallet.call("HGET", keys.wallet(name), "c"))
    if kind == "creator":
        return _balance(await wallet.call("GET", keys.credit(partition, name)))
    if at is None:
        return None
    found = cast(list[Any], await wallet.call("XRANGE", keys.log(partition), where, where))
    return _entry(parse(found[0]) if found else None)


def _balance(held: object) -> str:
    """A balance as the store has it, which may be no number at all."""
    return held.decode(errors="replace") if isinstance(held, bytes) else "0"


def _journal(engine: Engine, partition: int, where: str, at: tuple[int, int] | None) -> str:
    with reading(engine).connect() as connection:
        return _account(connection, partition, where) if at is None else _row(connection, partition, at)


def _log_id(text: str) -> tuple[int, int] | None:
    epoch, _, n = text.partition("-")
    return (int(epoch), int(n)) if epoch.isdecimal() and n.isdecimal() else None


def _row(connection: Connection, partition: int, at: tuple[int, int]) -> str:
    this = (entries.c.partition == partition, entries.c.epoch == at[0], entries.c.n == at[1])
    row = connection.execute(select(entries).where(*this)).one_or_none()
    if row is None:
        return "no such row"
    balances = f"balance {row.balance}, credited {row.credited}, at {row.at_ms}"
    about = f"{row.kind} {row.ref} of {row.user_id} to {row.creator_id}: {row.coins} coins, {row.diamonds} diamonds"
    return f"{about}; {balances}; body {row.body}"


def _entry(entry: LogEntry | Unreadable | None) -> str:
    if entry is None:
        return "no such entry in the log: it was trimmed, or never there"
    if isinstance(entry, Unreadable):
        return f"{entry.reason}; {entry.entry.decode(errors='replace')}"
    about = entry.about
    what = (
        f"{about.kind} {about.id} of {about.viewer} to {about.creator}: {about.coins} coins, {about.diamonds} diamonds"
    )
    return f"{what}; balance {entry.balance}, credited {entry.credited}, at {entry.at_ms}; body {entry.body.decode()}"


def _account(connection: Connection, partition: int, account: str) -> str:
    this = (positions.c.partition == partition, positions.c.account == account)
    position = connection.execute(select(positions.c.balance).where(*this)).scalar()
    sums = Sums(connection, partition).all
    return f"position {position}, postings sum to {sum(sums[each] for each in sums if each[1] == account)}"
