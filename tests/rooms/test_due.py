"""Work that is due: done once by the first node, again when its doer dies, and never in the way of other work."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Engine, select

from server import limits
from server.journal import due
from server.journal.due import Work
from server.journal.tables import due_work
from server.rooms import due as doing
from server.rooms.room import Services
from server.store.client import StoreDown
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def _nothing(*_args: Any) -> None:
    """Nobody looks by themselves."""


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.rooms.due.DueWork._look", _nothing)


def left(engine: Engine) -> list[tuple[str, int, str]]:
    with engine.connect() as connection:
        rows = connection.execute(select(due_work).order_by(due_work.c.ref)).all()
    return [(row.ref, row.due_at_ms, row.data) for row in rows]


async def test_work_is_taken_once(site: Site, another_site: MakeSite) -> None:
    """By one node, the oldest first; another takes what its doer has not ended when the lease is over."""
    engine, there = site.node.engine, (await another_site()).node.engine
    works = [Work("k", "r", ref, at) for ref, at in (("b", 20), ("a", 10), ("late", 99))]
    due.add(engine, works)
    due.add(there, [Work("k", "r", "a", 5, "again")])  # it is there already
    assert [work.ref for work in due.claim(engine, 50)] == ["a", "b"]
    assert due.claim(there, 50) == []
    assert due.claim(there, 50 + limits.DUE_LEASE_MS - 1) == [works[2]]
    taken = due.claim(there, 50 + limits.DUE_LEASE_MS)
    assert [work.ref for work in taken] == ["a", "b"]
    due.end(there, taken[0], None)
    due.end(there, taken[1], taken[1]._replace(due_at_ms=70, data="seen"))
    assert left(engine) == [("b", 70, "seen"), ("late", 99, "")]
    due.add(there, [Work("k", "r", "new", 1), Work("k", "other", "new", 1)], "k")
    assert left(engine) == [("new", 1, ""), ("new", 1, "")]


async def test_a_fault_holds_up_nothing_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away, a fault, and work of a newer program stay for later."""
    done: list[str] = []

    async def do(_services: Services, work: Work) -> Work | None:
        if work.ref == "away":
            raise StoreDown("away")
        if work.ref == "fault":
            raise RuntimeError("fault")
        done.append(work.ref)
        return work._replace(due_at_ms=10**15) if work.ref == "again" else None

    monkeypatch.setitem(doing.DOERS, "k", do)
    refs = ("again", "away", "fault", "fine")
    due.add(site.node.engine, [*(Work("k", "r", ref, 1) for ref in refs), Work("newer", "r", "newer", 1)])
    assert await doing.do_due(site.node.services) == 5
    assert sorted(done) == ["again", "fine"]
    assert [row[0] for row in left(site.node.engine)] == ["again", "away", "fault", "newer"]
