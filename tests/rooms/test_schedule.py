"""The schedule of a room: it is reminded in time, once, by any node, and only of what still holds."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from server import limits
from server.features.rooms import REMIND_LATE_MS, remind
from server.journal import due
from server.journal.due import Work
from server.rooms.admin import REMIND
from server.rooms.due import do_due
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]
HOST = {"user_id": "creator", "name": "Creator"}


async def _nothing(*_args: Any) -> None:
    """Nobody looks by themselves."""


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.rooms.due.DueWork._look", _nothing)


async def schedule(site: Site, starts_ms: int | None, status: int = 200) -> None:
    answer = await site.http.put("/v1/rooms/r", json={"host": HOST, "title": "r", "starts_at_ms": starts_ms})
    assert answer.status_code == status, answer.text


async def at(site: Site, monkeypatch: pytest.MonkeyPatch, now_ms: int) -> None:
    """Do on this node what is due at a time."""
    with monkeypatch.context() as then:
        then.setattr(site.node.clock, "now_ms", lambda: now_ms)
        await do_due(site.node.services)


async def heard(site: Site, viewer: Viewer) -> list[tuple[int, int]]:
    """The reminders that came so far."""
    answer = await site.http.post("/v1/rooms/r/publish", json={"name": "mark"})
    await viewer.happened("custom.sent", id=answer.json()["id"])
    return [(event["starts_at_ms"], event["in_ms"]) for event in viewer.events("room.reminded")]


async def test_a_room_is_reminded(site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each time once, on whichever node it is done; a lease that was over does not repeat it."""
    there = await another_site()
    await site.put_room("r", live=False)
    fan = await there.join("fan", room="r", codec="msgpack")
    starts_ms = site.node.clock.now_ms() + 2 * limits.REMIND_BEFORE_MS[0]
    await schedule(site, starts_ms)
    await schedule(site, starts_ms)  # again, which changes nothing
    nodes = [site, there, site]
    for node, before_ms in zip(nodes, limits.REMIND_BEFORE_MS, strict=True):
        for early_ms in (1, 0):
            await at(node, monkeypatch, starts_ms - before_ms - early_ms)
    for before_ms in limits.REMIND_BEFORE_MS:
        work = Work(REMIND, "r", f"{starts_ms}:{starts_ms - before_ms}", 0)
        assert await remind(there.node.services, work) is None
    assert await heard(site, fan) == [(starts_ms, before_ms) for before_ms in limits.REMIND_BEFORE_MS]
    assert due.claim(site.node.engine, starts_ms + limits.DAY_MS) == []


async def test_what_does_not_hold_any_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that begins at another time, not at all, or has begun; one that is gone harms nothing."""
    await site.put_room("r", live=False)
    fan = await site.join("fan", room="r")
    first_ms = site.node.clock.now_ms() + limits.DAY_MS
    later_ms = first_ms + limits.DAY_MS
    await schedule(site, first_ms)
    await schedule(site, later_ms)
    await at(site, monkeypatch, first_ms)
    assert await heard(site, fan) == []
    await at(site, monkeypatch, later_ms - limits.REMIND_BEFORE_MS[0])
    assert await heard(site, fan) == [(later_ms, limits.REMIND_BEFORE_MS[0])]
    (await site.http.post("/v1/rooms/r/start")).raise_for_status()
    await at(site, monkeypatch, later_ms - limits.REMIND_BEFORE_MS[1])
    await schedule(site, None)
    await at(site, monkeypatch, later_ms)
    assert len(await heard(site, fan)) == 1
    await schedule(site, later_ms)
    await site.http.delete("/v1/rooms/r")
    await at(site, monkeypatch, later_ms)
    assert due.claim(site.node.engine, later_ms + limits.DAY_MS) == []


async def test_a_reminder_that_comes_too_late(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage nobody hears that the show begins soon when it should have begun."""
    await site.put_room("r", live=False)
    fan = await site.join("fan", room="r")
    starts_ms = site.node.clock.now_ms() + limits.DAY_MS
    await schedule(site, starts_ms)
    await at(site, monkeypatch, starts_ms + REMIND_LATE_MS)
    assert await heard(site, fan) == [(starts_ms, 0)]


async def test_without_sql(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that could not be written down is refused, and the room stays as it is."""
    await site.put_room("r", live=False)

    def away(*_args: Any) -> None:
        raise OperationalError("away", None, Exception())

    monkeypatch.setattr(due, "add", away)
    await schedule(site, site.node.clock.now_ms() + limits.DAY_MS, status=503)
    assert (await site.http.get("/v1/rooms/r")).json()["starts_at_ms"] is None
    await schedule(site, None)
