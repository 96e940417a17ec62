"""What a node knows of people: over the bus at once, without it soon, and as cheap as a gift needs it."""

import threading
import time
import timeit
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal import users as journal
from server.journal.users import Suspension
from server.requirements import Known
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


def of_ann(id: str = "s1", **more: object) -> Suspension:
    rest = {"capability": "chat", "reason": "r", "statement": "", "from_ms": 100, "until_ms": None}
    return Suspension(id=id, user_id="ann", **{**rest, **more})  # type: ignore[arg-type]


async def test_without_the_bus(site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that nobody told is found in SQL; a node that starts later knows it, too."""
    monkeypatch.setattr(limits, "USERS_AGAIN_S", 0.05)
    here = (await another_site()).node.users
    await here.load("ann")
    journal.suspend(site.node.engine, of_ann())
    journal.write_known(site.node.engine, "ann", Known(region="KR"), 5)
    await eventually(lambda: here.suspended("ann", "chat") and here.region("ann") == "KR", what="what is in SQL")
    assert here.suspended("ann", "go_live") is None
    later = (await another_site()).node.users
    await eventually(lambda: later.suspended("ann", "chat"), what="what was there before")


async def test_over_the_bus(site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node knows within a second, also that it is over."""
    monkeypatch.setattr(limits, "USERS_AGAIN_S", 1000.0)
    there = await another_site()
    journal.suspend(site.node.engine, of_ann())
    await site.node.users.tell("ann")
    assert site.node.users.suspended("ann", "chat") is not None
    await eventually(lambda: there.node.users.suspended("ann", "chat"), what="the news")
    journal.amend(site.node.engine, "ann", "s1", 200, lambda _before: journal.Changes(ended_ms=200))
    await site.node.users.tell("ann")
    await eventually(lambda: there.node.users.suspended("ann", "chat") is None, what="the end")


async def test_a_suspension_ends_by_itself(site: Site) -> None:
    """By the clock, without news; of two from the same thing, the longer one counts."""
    users, now_ms = site.node.users, site.node.clock.now_ms()
    for id, until_ms in (("long", now_ms + 3_600_000), ("short", now_ms + 1), ("over", now_ms - 1)):
        journal.suspend(site.node.engine, of_ann(id, until_ms=until_ms))
    await users.look("ann")
    found = users.suspended("ann", "chat")
    assert found is not None
    assert found.id == "long"
    users._clock = Clock(lambda: (now_ms + 3_599_999) / 1000)
    assert users.suspended("ann", "chat") == found
    users._clock = Clock(lambda: (now_ms + 3_600_000) / 1000)
    assert users.suspended("ann", "chat") is None


async def test_sql_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known stays, what is looked up raises, and news is read once SQL is back."""
    users = site.node.users
    journal.suspend(site.node.engine, of_ann())
    await users.look("ann")

    def away(*_args: object) -> None:
        raise SQLAlchemyError("away")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "read", away)
        await users.look("ann")
        assert users.suspended("ann", "chat") is not None
        with pytest.raises(SQLAlchemyError):
            await users.may_go_live("ann")
    journal.amend(site.node.engine, "ann", "s1", 200, lambda _before: journal.Changes(ended_ms=200))
    users.on_news(b"ben")
    await eventually(lambda: users.suspended("ann", "chat") is None, what="what could not be read before")


async def test_a_silent_sql_holds_up_no_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms open without their hosts' regions, however many there are, and learn them once SQL answers."""
    users, answers, read = site.node.users, threading.Event(), journal.read
    monkeypatch.setattr(limits, "USERS_LOAD_S", 0.05)
    for user_id in ("ann", "ben", "cleo"):
        journal.write_known(site.node.engine, user_id, Known(region="JP"), 1)

    def silent(engine: Engine, user_id: str) -> journal.User:
        answers.wait(10)
        return read(engine, user_id)

    monkeypatch.setattr(journal, "read", silent)
    began = time.monotonic()
    for user_id in ("ann", "ben", "cleo"):
        await users.load(user_id)
    assert time.monotonic() - began < 1.0
    assert users.region("ann") is None
    answers.set()
    await users.look("dora")
    assert [users.region(user_id) for user_id in ("ann", "ben", "cleo")] == ["JP"] * 3


async def test_only_so_many_regions_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were asked for first are forgotten."""
    monkeypatch.setattr(limits, "USERS_KEPT", 2)
    users = site.node.users
    for user_id in ("ann", "ben", "cleo"):
        journal.write_known(site.node.engine, user_id, Known(region="JP"), 1)
        await users.load(user_id)
    assert [users.region(user_id) for user_id in ("ann", "ben", "cleo")] == [None, "JP", "JP"]


async def test_what_a_gift_pays_for_it(site: Site) -> None:
    """A gift asks twice for suspensions and twice for a region: 1 us, with 100,000 people suspended."""
    users = site.node.users
    users._suspended = {f"u{n}": {"chat": of_ann()} for n in range(100_000)}
    users._regions = {f"u{n}": "DE" for n in range(100_000)}

    def ask() -> None:
        users.suspended("alice", "send_gifts")
        users.suspended("u7", "receive_gifts")
        users.region("creator")
        users.region("u7")

    assert min(timeit.repeat(ask, number=10_000, repeat=20)) / 10_000 < 1e-6
