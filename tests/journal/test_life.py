"""Work that is due and broadcasts that have ended, in both databases."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.journal import broadcasts, due, given
from server.journal.broadcasts import Sums
from server.journal.due import Work
from server.rooms.due import do_due
from tests.features.test_broadcasts import end, summed
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def _nothing(*_args: Any) -> None:
    """Nobody looks by themselves."""


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUM_AFTER_MS", 0)
    monkeypatch.setattr("server.rooms.due.DueWork._look", _nothing)


async def test_work_is_claimed_once(site: Site, another_site: MakeSite) -> None:
    """By one of two nodes, until its lease is over; what replaces it is other work."""
    engine, there = site.node.engine, (await another_site()).node.engine
    due.add(engine, [Work("k", "r", ref, 10) for ref in ("a", "b")])
    due.add(there, [Work("k", "r", "a", 99)])
    first = due.claim(engine, 50)
    assert sorted(work.ref for work in first) == ["a", "b"]
    assert due.claim(there, 50) == []
    again = due.claim(there, 50 + limits.DUE_LEASE_MS)
    assert sorted(again) == sorted(first)
    due.add(engine, [Work("k", "r", "a", 70)], "k")  # the room's work is other work now
    due.end(there, again[0]._replace(ref="a", due_at_ms=10), None)
    assert due.claim(there, 80) == [Work("k", "r", "a", 70)]


async def test_a_summary(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the ledger's entries, less what is taken back; people are new in a room once; pages have all of it."""
    monkeypatch.setattr(limits, "SQL_VALUES_MAX", 2)
    alice = await site.join("alice")
    sent = await alice.gift("crown")
    await alice.gift("rose")
    ids = [await end(site)]
    await site.settled()
    (await site.http.post(f"/v1/gifts/{sent['id']}/refund", json={"reason": "r"})).raise_for_status()
    async with site.draining() as drain:
        while await drain.drain_once():
            pass
    await do_due(site.node.services)
    found = await summed(site, ids[0])
    assert (found["gifts"], found["coins"], found["diamonds"], len(found["top_fans"])) == (2, 1, 1, 1)
    engine = site.node.engine
    assert [each.gift for each in given.gifts(engine, "demo", 0)] == ["crown", "rose"]
    assert broadcasts.sums(engine, "demo", "another", 0, 2**52) == Sums(0, 0, 0, ())
    for broadcast_id, people in (("b1", ["u1", "u2", "u3"]), ("b1", ["u3"]), ("b2", ["u2", "u4", "u5"])):
        broadcasts.meet(engine, "r", broadcast_id, 7, people)
    assert [broadcasts.met(engine, "r", each) for each in ("b1", "b2", "b3")] == [3, 2, 0]
    assert broadcasts.met(engine, "demo", "b1") == 0
    for _ in range(2):
        await site.http.post("/v1/rooms/demo/start")
        ids.append(await end(site))
        await do_due(site.node.services)
    pages, query = [], "limit=2"
    while query:
        page = (await site.http.get(f"/v1/rooms/demo/broadcasts?{query}")).json()
        pages += [each["broadcast_id"] for each in page["broadcasts"]]
        query = page["next"]
    assert pages == ids[::-1]
