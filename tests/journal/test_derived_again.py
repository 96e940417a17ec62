"""Reversals that overlap, in a database that was restored: their entries come again, in another order than decided."""

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, select

from server.journal import database, derived
from server.journal.database import reading
from server.journal.ordered import verify_orders
from server.journal.parts import PartRow
from server.journal.tables import reversal_parts, reversals
from server.orders.decisions import Decision
from tests.journal.copies import Copy, copied, restored
from tests.journal.desk import drifts
from tests.journal.shop import Books, Order, Shop


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    """An empty journal's database."""
    made = database.connect(journal)
    yield made
    made.dispose()


def two_pay(engine: Engine) -> tuple[Shop, str, str, Copy]:
    """Two top-ups pay for one gift of two diamonds. Then a backup is made."""
    shop = Shop(Books(engine), "cleo")
    first, second = shop.buy(1), shop.buy(2)
    shop.give(3, 2, "ann")
    return shop, first, second, copied(engine)


def sound(engine: Engine, *orders: Order) -> None:
    """Parts, days, and each order's row are as they were decided."""
    with reading(engine).connect() as connection:
        found = [PartRow(*row) for row in connection.execute(select(reversal_parts))]
        kept = {row.ref: row.body for row in connection.execute(select(reversals))}
        assert verify_orders(connection) == []
    taken = {(order.ref, part.gift_id): part.diamonds for order in orders for part in order.decision.reversed}
    assert {(row.reversal, row.gift): row.diamonds for row in found} == taken
    for order in orders:
        again = msgspec.json.decode(kept[order.ref] or "", type=Decision)
        assert (again.coins, again.decided) == (order.decision.coins, order.decision.decided)
        assert {part.gift_id: part for part in again.reversed} == {
            part.gift_id: part for part in order.decision.reversed
        }
    assert drifts(engine) == []


async def test_gifts_whose_ids_do_not_rise(engine: Engine) -> None:
    """The database gives parts in the order of the gifts' ids, and the entry sums them as they were spent."""
    shop = Shop(Books(engine), "cleo")
    topup = shop.buy(20)
    shop.give(1, 1, "cid")
    for n in range(2, 11):
        shop.give(1, 1, "ben" if n == 10 else "ann")  # cleo-g10 comes before cleo-g2
    backup = copied(engine)
    decided = shop.charge_back(topup)
    restored(engine, backup)
    shop.journal()
    assert decided
    sound(engine, decided)


@pytest.mark.parametrize("order", [(0, 0), (1, 0)])
async def test_entries_come_again_in_another_order(engine: Engine, order: tuple[int, int]) -> None:
    """The second chargeback counts what the first one takes, also when its entry comes before the other's."""
    shop, first, second, backup = two_pay(engine)
    decided = [shop.charge_back(first), shop.charge_back(second)]
    restored(engine, backup)
    for which in order:
        shop.journal(which)
    assert [each.decision.diamonds for each in decided if each] == [0, 2]
    sound(engine, *(each for each in decided if each))


async def test_one_of_them_was_lost_and_is_sent_again(engine: Engine) -> None:
    """Only the second reached the wallet. The first is decided again, and together they take all diamonds."""
    shop, first, second, backup = two_pay(engine)
    shop.charge_back(first)
    reached = shop.charge_back(second)
    restored(engine, backup)
    shop.journal(1)
    shop.under_way.clear()
    assert reached
    sound(engine, reached)
    shop.orders.clear()
    again = shop.charge_back(first)
    shop.journal()
    assert again
    assert (again.decision.diamonds, reached.decision.diamonds) == (0, 2)
    sound(engine, reached, again)


async def test_a_rebuild_puts_the_orders_right(engine: Engine) -> None:
    """An older program did not write down what came before. Once all entries are there, a rebuild derives the rest."""
    shop, first, second, backup = two_pay(engine)
    decided = [shop.charge_back(first), shop.charge_back(second)]
    for each in decided:
        assert each
        assert each.decision.decided
        older = msgspec.structs.replace(each.decision.decided, earlier=None)
        each.decision = msgspec.structs.replace(each.decision, decided=older)
    restored(engine, backup)
    shop.journal(1)
    shop.journal(0)
    derived.rebuild(engine)
    sound(engine, *(each for each in decided if each))
