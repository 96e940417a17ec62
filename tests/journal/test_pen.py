"""The books: SQL alone writes them, numbered and chained, in the transaction of what they are about."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct, ValidationError
from sqlalchemy import Connection, Engine, func, insert, select

from server import limits
from server.booked import CorrectionEntry, HoldEntry, Money, Move, PaidEntry, ReleaseEntry, ReturnEntry, WriteOffEntry
from server.clock import Clock
from server.journal import database, pen
from server.journal.books import Misfit
from server.journal.ledger import Ledger
from server.journal.pen import BooksFrozen
from server.journal.tables import entries, legs, postings, quarantine, watermarks
from server.journal.verify import verify
from tests.journal.ledger import rows
from tests.journal.small import MS

YEN = Money(currency="JPY", net=900, fee=50, withheld=49, rounding=1)


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def hold(id: str = "p1", diamonds: int = 100, creator: str = "ann") -> HoldEntry:
    return HoldEntry(id=id, creator=creator, diamonds=diamonds, rate="1/jp")


def paid(id: str = "p1", diamonds: int = 100, creator: str = "ann") -> PaidEntry:
    return PaidEntry(id=id, creator=creator, diamonds=diamonds, provider="bank", money=YEN)


def returned(id: str = "p1", diamonds: int = 100) -> ReturnEntry:
    return ReturnEntry(id=id, creator="ann", diamonds=diamonds, provider="bank", money=Money(currency="JPY", net=900))


def release(id: str = "p1", diamonds: int = 100) -> ReleaseEntry:
    return ReleaseEntry(id=id, creator="ann", diamonds=diamonds)


def correction(*moves: tuple[str, str, int], creator: str | None = "ann") -> CorrectionEntry:
    made = tuple(Move(*move) for move in moves)
    return CorrectionEntry(id="c1", creator=creator, moves=made, salt="s", by="olga", reason="typed twice")


def write(engine: Engine, *some: Struct) -> None:
    with engine.begin() as connection:
        for entry in some:
            pen.write(connection, entry, MS)


def balances(engine: Engine) -> dict[tuple[str, str], int]:
    """What each account has, without those that have nothing."""
    query = select(postings.c.asset, postings.c.account, func.sum(postings.c.amount)).group_by(
        *postings.c["asset", "account"]
    )
    with engine.connect() as connection:
        return {(asset, account): int(sum_) for asset, account, sum_ in connection.execute(query) if sum_}


def wrong(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return verify(connection, limits.BOOKS).wrong


def test_a_payout_and_its_return(engine: Engine) -> None:
    """Each step is an entry, moves its postings, and follows the one before."""
    write(engine, hold())
    assert balances(engine) == {("diamonds", "creator:ann"): -100, ("diamonds", "held:ann"): 100}
    write(engine, paid())
    assert balances(engine) == {
        ("diamonds", "creator:ann"): -100,
        ("diamonds", "house:redeemed"): 100,
        ("money:JPY", "house:redeemed"): -1_000,
        ("money:JPY", "house:fees"): 50,
        ("money:JPY", "house:withheld"): 49,
        ("money:JPY", "house:rounding"): 1,
        ("money:JPY", "provider:bank"): 900,
    }
    write(engine, returned())
    assert balances(engine) == {
        ("money:JPY", "house:redeemed"): -100,
        ("money:JPY", "house:fees"): 50,
        ("money:JPY", "house:withheld"): 49,
        ("money:JPY", "house:rounding"): 1,
    }
    assert [(row.partition, row.epoch, row.n, row.kind) for row in rows(engine, entries)] == [
        (limits.BOOKS, 1, 0, "payout_hold"),
        (limits.BOOKS, 1, 1, "payout_paid"),
        (limits.BOOKS, 1, 2, "payout_return"),
    ]
    assert wrong(engine) == []


def test_a_release(engine: Engine) -> None:
    """What was held is the creator's again, as if nothing had been."""
    write(engine, hold(), release())
    assert balances(engine) == {}


def test_decisions_of_an_operator(engine: Engine) -> None:
    """A debt is borne by the house, and a correction moves what it says. Who and why can be erased."""
    write(
        engine,
        WriteOffEntry(id="w1", creator="ann", diamonds=7, salt="s", by="olga", reason="left"),
        correction(("diamonds", "creator:ann", 3), ("diamonds", "house:corrected", -3)),
    )
    assert balances(engine) == {
        ("diamonds", "creator:ann"): 10,
        ("diamonds", "house:loss"): -7,
        ("diamonds", "house:corrected"): -3,
    }
    assert all("olga" in row.text and "olga" not in row.body for row in rows(engine, entries))
    with engine.begin() as connection:
        connection.execute(entries.update().values(text=None))
    assert wrong(engine) == []


@pytest.mark.parametrize(
    ("before", "entry", "why"),
    [
        ([hold()], hold(), "there is a payout_hold p1"),
        ([hold()], hold(creator="ben"), "there is a payout_hold p1"),
        ([], release(), "no payout_hold p1"),
        ([], paid(), "no payout_hold p1"),
        ([hold()], paid(diamonds=99), "of 99 diamonds"),
        ([hold()], paid(creator="ben"), "of 100 diamonds of ben"),
        ([hold(), release()], release(), "there is a payout_release p1"),
        ([hold(), release()], paid(), "has ended as payout_release"),
        ([hold(), paid()], release(), "has ended as payout_paid"),
        ([hold()], returned(), "no payout_paid p1"),
        ([hold(), paid(), returned()], returned(), "there is a payout_return p1"),
        ([], hold(diamonds=-1), "cannot be read"),
        ([], hold(diamonds=2**60), "cannot be read"),
        ([], hold(creator="x" * 65), "cannot be read"),
        ([], correction(("diamonds", "creator:ann", 3)), "sum to"),
        ([], correction(), "sum to"),
        ([], correction(("diamonds", "creator:ben", 3), ("diamonds", "house:corrected", -3)), "not this entry's"),
        ([], correction(("coins", "creator:ann", 3), ("coins", "house:sold", -3)), "not this entry's"),
        ([], correction(("coins", "viewer:ann", 3), ("coins", "house:sold", -3)), "cannot be read"),
        ([], correction(("diamonds", "held:ann", 3), ("diamonds", "creator:ann", -3)), "cannot be read"),
        ([], correction(("dollars", "house:fees", 3), ("dollars", "house:sold", -3)), "cannot be read"),
    ],
)
def test_what_does_not_follow_is_refused(engine: Engine, before: list[Struct], entry: Struct, why: str) -> None:
    """Held diamonds are released or paid once, whatever comes twice, and nothing is out of balance."""
    write(engine, *before)
    was = rows(engine, entries), rows(engine, legs), rows(engine, watermarks)
    with pytest.raises((Misfit, ValidationError), match=why):
        write(engine, entry)
    assert (rows(engine, entries), rows(engine, legs), rows(engine, watermarks)) == was
    assert wrong(engine) == []


def test_many_at_once(engine: Engine) -> None:
    """Writers wait for each other: no number is given twice, and none is left out."""
    failed: list[BaseException] = []

    def some(of: int) -> None:
        try:
            for n in range(10):
                write(engine, hold(f"p{of}-{n}"))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=some, args=(of,)) for of in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [row.n for row in rows(engine, entries)] == [*range(40)]
    assert wrong(engine) == []


def test_two_want_to_end_one_hold(engine: Engine) -> None:
    """Of a release and a payment at once, one is refused."""
    write(engine, hold())
    together, refused = threading.Barrier(2), []

    def end(entry: Struct) -> None:
        together.wait()
        try:
            write(engine, entry)
        except Misfit as error:
            refused.append(error)

    threads = [threading.Thread(target=end, args=(entry,)) for entry in (release(), paid())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert len(rows(engine, entries)) == 2


def test_nothing_stays_of_a_rollback(engine: Engine) -> None:
    """The entry is of the caller's transaction: with that it goes."""

    def failing(connection: Connection) -> None:
        pen.write(connection, hold(), MS)
        raise RuntimeError

    with pytest.raises(RuntimeError), engine.begin() as connection:
        failing(connection)
    assert rows(engine, entries) == rows(engine, legs) == []
    with engine.begin() as connection:
        pen.lock(connection)
    assert wrong(engine) == [], "a lock alone leaves nothing to doubt"
    write(engine, hold())
    assert wrong(engine) == []


def test_frozen_books_are_not_written(engine: Engine) -> None:
    """What an audit has doubts about does not grow. The drain goes on: the books are none of its logs."""
    write(engine, hold())
    row = {"partition": limits.BOOKS, "epoch": 0, "n": 0, "reason": "audit: wrong", "body": "", "at_ms": MS}
    with engine.begin() as connection:
        connection.execute(insert(quarantine).values(row))
    with pytest.raises(BooksFrozen, match="audit: wrong"):
        write(engine, paid())
    marks, stuck = Ledger(engine, Clock(lambda: MS / 1000)).begin()
    assert stuck == {}
    assert [*marks] == [*range(limits.WALLET_PARTITIONS)]
