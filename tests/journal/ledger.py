"""What the journal's tests share: gifts and top-ups, rows to look at, and entries that no script writes."""

import asyncio
from typing import Any

from sqlalchemy import Engine, Table, select

from server import limits
from server.journal.database import reading
from server.journal.drain import Drain
from server.store import keys
from tests.conftest import Stores
from tests.money import a_gift
from tests.site import Site


def rows(engine: Engine, table: Table, *where: Any) -> list[Any]:
    """Rows of a table, in the order of its key."""
    with reading(engine).connect() as connection:
        return list(connection.execute(select(table).where(*where).order_by(*table.primary_key.columns)))


async def drained(drain: Drain) -> int:
    """Drain to the end. Returns the number of entries."""
    moved = 0
    while last := await drain.drain_once():
        moved += last
    return moved


async def broadcast_of(site: Site, room: str = "demo") -> str | None:
    """The broadcast that is on in a room, or its last one."""
    found = await site.node.history.store.call("HGET", keys.room(room, keys.META), "broadcast")
    return found.decode() if isinstance(found, bytes) else None


async def pay(site: Site, viewer: str, coins: int, **fields: Any) -> str:
    """Pay a gift of the current broadcast without showing it in the room, as if the node had died right after."""
    if "broadcast" not in fields:
        fields["broadcast"] = await broadcast_of(site, fields.get("room", "demo"))
    gift = a_gift(viewer, coins, **fields)
    await site.node.wallet.spend(gift)
    return gift.gift_id


async def some_money(site: Site, gifts: int = 20) -> None:
    """Top-ups and gifts of three people."""
    for viewer in ("alice", "bob", "carol"):
        await site.give_coins(viewer, 1_000)
    await asyncio.gather(*(pay(site, ("alice", "bob", "carol")[n % 3], 5 + n) for n in range(gifts)))


def log_ids(stores: Stores) -> set[tuple[int, int, int]]:
    """The ids of all entries in the wallet store's logs: partition, epoch, number."""
    found = set()
    with stores.wallet.client() as look:
        for partition in range(limits.WALLET_PARTITIONS):
            for id, _ in look.xrange(keys.log(partition)):
                found.add((partition, *map(int, id.split("-"))))
    return found


def forged(stores: Stores, viewer: str, fields: dict[str, Any], number: int | None = None) -> None:
    """Write an entry that none of our scripts would write."""
    partition = keys.partition_of(viewer)
    with stores.wallet.client() as look:
        id = "1-*" if number is None else f"1-{number}"
        look.xadd(keys.log(partition), fields, id=id)


def gift_of(id: str, **changed: Any) -> dict[str, Any]:
    gift = a_gift("mallory", 10, id=id)
    return {"t": "1", "b": "80", "d": "10", "k": "0", "e": gift.entry, **changed}
