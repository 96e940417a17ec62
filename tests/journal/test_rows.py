"""Orders' rows: each is of one viewer, even if others used its id, and a lost one is written again as it was."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from sqlalchemy import Engine, delete, insert, select

from server.entries import FREEZE, LIMIT, REFUND, Body
from server.journal import database, folding, parts
from server.journal.ledger import Batch
from server.journal.posted import Posted
from server.journal.tables import entries, reversals
from server.orders import rows
from server.orders.rows import CannotReverse, Pending
from server.orders.topups import TopUp
from server.store import keys
from tests.journal.desk import Desk, a_desk
from tests.journal.shop import Books, Shop
from tests.site import Site


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


def row(kind: str, user_id: str, state: str, at_ms: int = 1) -> dict[str, object]:
    return {"kind": kind, "ref": "g1", "user_id": user_id, "reason": "", "at_ms": at_ms, "body": None, "state": state}


def states(engine: Engine) -> dict[tuple[str, str], str]:
    with engine.connect() as connection:
        found = connection.execute(select(reversals.c.kind, reversals.c.user_id, reversals.c.state))
        return {(kind, user_id): state for kind, user_id, state in found}


def test_an_order_is_of_one_viewer_and_kind(engine: Engine) -> None:
    """Another viewer's order, or one of another kind, may have the same id."""
    others = [("bob", "refund", "refused", 2), ("alice", "freeze", "posted", 3), ("alice", "refund", "pending", 4)]
    with engine.begin() as connection:
        for user_id, kind, state, at_ms in others:
            connection.execute(insert(reversals).values(row(kind, user_id, state, at_ms)))
        found = [(kind, user) for kind in (REFUND, FREEZE) for user in ("alice", "bob")]
        assert [rows.state_of(connection, kind, "g1", user) for kind, user in found] == [
            "pending",
            "refused",
            "posted",
            None,
        ]
        assert [rows.at_of(connection, kind, "g1", user) for kind, user in found] == [4, 2, 3, None]
        rows.renew(connection, Pending(REFUND.name, "g1", "bob", 9))
        assert [rows.at_of(connection, kind, "g1", user) for kind, user in found] == [4, 9, 3, None]
        rows.renew(connection, Pending(FREEZE.name, "g1", "alice", 9))
        assert [rows.at_of(connection, kind, "g1", user) for kind, user in found] == [4, 9, 3, None], "it is posted"
    assert states(engine) == {
        ("refund", "bob"): "pending",
        ("freeze", "alice"): "posted",
        ("refund", "alice"): "pending",
    }


def test_a_new_order_is_later_than_the_wallets_others(engine: Engine) -> None:
    """Even if the clock was set back; other wallets' orders do not matter."""
    with engine.begin() as connection:
        assert rows.ordered_ms(connection, "alice", 70) == 70
        for user_id, at_ms in (("alice", 100), ("alice", 200), ("bob", 900)):
            connection.execute(insert(reversals).values(row("freeze", user_id, "posted", at_ms) | {"ref": f"f{at_ms}"}))
        assert [rows.ordered_ms(connection, "alice", now_ms) for now_ms in (70, 200, 201, 300)] == [201, 201, 201, 300]


def test_overtaken_orders(engine: Engine) -> None:
    """A new order overtakes the pending ones of its wallet and kinds, and no others."""
    kept = {("limit", "alice"): "pending", ("unfreeze", "alice"): "posted", ("freeze", "bob"): "pending"}
    with engine.begin() as connection:
        for (kind, user_id), state in {**kept, ("freeze", "alice"): "pending"}.items():
            connection.execute(insert(reversals).values(row(kind, user_id, state)))
        rows.overtake(connection, "alice")
    assert states(engine) == {**kept, ("freeze", "alice"): "refused"}
    with engine.begin() as connection:
        rows.overtake(connection, "alice", (LIMIT.name,))
    assert states(engine) == {**kept, ("freeze", "alice"): "refused", ("limit", "alice"): "refused"}


def test_an_entry_posts_its_own_viewers_order(engine: Engine) -> None:
    """Two viewers used one gift id: the refund of one does not post the other's."""
    with engine.begin() as connection:
        for user_id in ("alice", "bob"):
            connection.execute(insert(reversals).values(row("refund", user_id, "pending")))
            connection.execute(insert(reversals).values(row("freeze", user_id, "refused")))
        posted = Posted()
        posted.note(Body(kind="refund", id="g1", viewer="bob"), 5, 100)
        posted.write(connection)
    found = states(engine)
    assert found == {
        ("refund", "alice"): "pending",
        ("refund", "bob"): "posted",
        ("freeze", "alice"): "refused",
        ("freeze", "bob"): "refused",
    }


async def test_lost_rows_of_one_id(desk: Desk) -> None:
    """Two viewers' gifts of one id are refunded, and all rows are lost: their entries write the same rows again.

    A chargeback freezes its wallet, too, which leaves no row of its own.
    """
    for user in ("cleo", "dan", "eve"):
        await desk.buy(user, 100, f"t-{user}")
    gift = await desk.give("cleo", 60, 30)
    await desk.give("dan", 7, 3, to="ben", id=gift)
    await desk.journal()
    for user in ("cleo", "dan"):
        await desk.site.node.refunds.refund(gift, "a test", user)
    await desk.site.node.own_limits.set("cleo", "l1", 5_000)
    await desk.site.node.freezes.freeze("dan", "f1")
    await desk.charge_back("t-eve")
    await desk.journal()
    assert await desk.status("eve") == "frozen"
    engine = desk.site.node.engine
    columns = [column for column in reversals.c if column.name not in ("reason", "at_ms")]
    query = select(*columns).order_by(reversals.c.kind, reversals.c.ref, reversals.c.user_id)
    was = [tuple(each) for each in desk.rows(query)]
    assert len(was) == 5
    for user in ("cleo", "dan"):
        [(part, body)] = parts.with_gifts(engine, user, "refund", gift)
        assert (part.user_id, msgspec.json.decode(body, type=Body).viewer) == (user, user)
    posted = Posted()
    for entry in desk.rows(select(entries).order_by(entries.c.partition, entries.c.epoch, entries.c.n)):
        posted.note(msgspec.json.decode(entry.body, type=Body), entry.at_ms, entry.balance)
    with engine.begin() as connection:
        connection.execute(delete(reversals))
        posted.write(connection)
    assert [tuple(each) for each in desk.rows(query)] == was
    again = await desk.site.node.purchases.top_up("cleo", TopUp("t-cleo", 100, "test"))
    assert again.duplicate


def test_a_batch_writes_the_balances_that_it_moved(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none of the batches before it, which are written already."""
    books = Books(engine)
    written: list[list[object]] = []
    write = books.ledger.write

    def noted(batch: Batch) -> int:
        written.append([account for _, account, _ in batch.balances])
        return write(batch)

    monkeypatch.setattr(books.ledger, "write", noted)
    other = next(f"u{n}" for n in range(9_999) if keys.partition_of(f"u{n}") == keys.partition_of("cleo"))
    for user in ("cleo", other):
        Shop(books, user).buy(5)
    assert written == [[], ["viewer:cleo"], [f"viewer:{other}"]]


def test_lots_are_of_one_wallet(engine: Engine) -> None:
    """What others do does not move its fold; so a plan that was made from it stays good."""
    books = Books(engine)
    cleo, dan = Shop(books, "cleo"), Shop(books, "dan")
    cleo.buy(5)
    cleo.give(1, 1, "ann")
    dan.buy(5)
    was = folding.fold(engine, "cleo")
    dan.give(1, 1, "ann")
    assert folding.fold(engine, "cleo").at == was.at
    cleo.give(1, 1, "ann")
    assert folding.fold(engine, "cleo").at == (1, was.at[1] + 1)
    assert folding.fold(engine, "eve").at == folding.START


async def test_orders_at_once_have_an_order(desk: Desk) -> None:
    """Of many limits or freezes of one wallet at once each is later than the one before, and the last applies."""
    await desk.buy("cleo", 100)
    node = desk.site.node
    at_once = [node.own_limits.set("cleo", f"l{n}", 100 + n) for n in range(8)]
    at_once += [node.freezes.freeze("cleo", f"f{n}") for n in range(8)]
    done = await asyncio.gather(*at_once, return_exceptions=True)
    assert {type(each) for each in done if isinstance(each, Exception)} <= {CannotReverse}
    await desk.journal()
    times = [each.at_ms for each in desk.rows(select(reversals.c.at_ms))]
    assert len(times) == len(set(times)) == 16
    newest = max(desk.rows(select(reversals).where(reversals.c.kind == "limit")), key=lambda each: each.at_ms)
    assert newest.state == "posted"
