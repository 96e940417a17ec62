"""What is read from another database of the same site: its entries in order, a page at a time, if they are ours."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select

from server import limits
from server.journal import database
from server.journal.books import START, Mark
from server.journal.imports import NotOurs, Source
from server.journal.tables import entries
from tests.journal.small import ALICE, fill

Place = tuple[int, int]
ALL = [*((1, n) for n in range(11)), *((2, n) for n in range(3))]


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    fill(made)
    yield made
    made.dispose()


@pytest.fixture
def source(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(limits, "AUDIT_ROWS", 4)
    return Source(engine)


def mark_at(engine: Engine, at: Place) -> Mark:
    if at == (0, -1):
        return START
    this = (entries.c.partition == ALICE, entries.c.epoch == at[0], entries.c.n == at[1])
    with engine.connect() as connection:
        return Mark(*at, connection.execute(select(entries.c.hash).where(*this)).scalar_one())


@pytest.mark.parametrize("after", [(0, -1), (1, 0), (1, 9), (1, 10), (2, 0), (2, 2)])
@pytest.mark.parametrize("before", [(1, 0), (1, 5), (2, 0), (2, 1), (2, 3), (9, 0)])
def test_entries_between(engine: Engine, source: Source, after: Place, before: Place) -> None:
    """All entries of the partition after the one and below the other, in pages that are full but for the last."""
    pages = [[(e.epoch, e.n) for e, _ in page] for page in source.entries_after(ALICE, mark_at(engine, after), before)]
    assert [at for page in pages for at in page] == [at for at in ALL if after < at < before]
    assert all(len(page) == 4 for page in pages[:-1])


@pytest.mark.parametrize("at", [(1, 0), (1, 5), (1, 9), (2, 0), (2, 2)])
def test_entries_around(source: Source, at: Place) -> None:
    """The entries of its epoch just before one, and the next from it on."""
    before = [each for each in ALL if (at[0], at[1] - 4) < each < at]
    assert sorted(source.around(ALICE, at)) == [*before, *[each for each in ALL if each >= at][:4]]


def test_a_database_without_our_last_entry(engine: Engine, source: Source) -> None:
    """It is not the same site's, or an older one."""
    for mark in (Mark(2, 9, "x"), Mark(2, 2, "x")):
        with pytest.raises(NotOurs, match="entry 2-"):
            list(source.entries_after(ALICE, mark, (9, 0)))
