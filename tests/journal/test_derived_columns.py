"""Reads that pay do not trust a column: it must follow from its row's body."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from server.journal.books import DERIVED, WrongRow, derived
from server.journal.database import reading
from server.journal.tables import entries
from server.orders.rows import CannotReverse
from server.store import keys
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import rows
from tests.journal.tampering import tamper
from tests.site import Site

WRONG = {
    "kind": "'topup'",
    "user_id": "'mallory'",
    "ref": "'another'",
    "room_id": "'elsewhere'",
    "creator_id": "'mallory'",
    "coins": "5000",
    "diamonds": "5000",
}


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


@pytest.mark.parametrize("column", DERIVED)
async def test_a_changed_column_is_refused(desk: Desk, column: str) -> None:
    """The refusal names the row, the column and both values; an unchanged row gives its body."""
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 30)
    await desk.journal()
    engine = desk.site.node.engine
    [row] = rows(engine, entries, entries.c.ref == gift)
    assert (derived(row).id, derived(row).creator) == (gift, "ann")
    where = f"WHERE partition = {row.partition} AND epoch = {row.epoch} AND n = {row.n}"
    assert tamper(engine, f"UPDATE entries SET {column} = {WRONG[column]} {where}") == 1
    with reading(engine).connect() as connection:
        changed = connection.execute(text(f"SELECT * FROM entries {where}")).one()
    wrong = WRONG[column].strip("'")
    with pytest.raises(WrongRow, match=rf"partition {row.partition}, {row.epoch}-{row.n}: {column} is {wrong}, but"):
        derived(changed)
    was = getattr(row, column)
    tamper(engine, f"UPDATE entries SET {column} = {was if isinstance(was, int) else repr(was)} {where}")


async def test_a_refund_of_a_changed_gift_is_refused(desk: Desk) -> None:
    """Nobody is paid from a row whose creator or price was changed; after a correction it can be refunded."""
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 30)
    await desk.journal()
    engine = desk.site.node.engine
    tamper(engine, f"UPDATE entries SET coins = 90 WHERE ref = '{gift}'")
    with pytest.raises(CannotReverse, match=rf"partition {keys.partition_of('cleo')}, 1-2: coins is 90"):
        await desk.refund(gift)
    assert await desk.holds("cleo") == 70
    tamper(engine, f"UPDATE entries SET coins = 30 WHERE ref = '{gift}'")
    await desk.refund(gift)
    assert await desk.holds("cleo") == 100
