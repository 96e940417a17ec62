"""The copy of a room's goals: it is made again from SQL, the journal and the history, and nothing counts twice."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.exc import OperationalError

from server.features import goals
from server.rooms.goals import GOALS, fill
from server.store import keys
from tests.conftest import Stores
from tests.features.test_goals import at, set_goal
from tests.features.test_members import host_of
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def test_a_lost_copy_is_counted_again(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """Gifts from the journal and from the room's history, each once; likes from their last note in SQL."""
    host, alice = await host_of(site), await site.join("alice")
    await alice.gift("rose", 50)  # before the goal
    await alice.happened("gifts.sent", count=50)
    await site.settled()  # a while: the clocks of stores and nodes need not agree to the millisecond
    await set_goal(host, "a", target=20)
    await set_goal(host, "g", "gift", gift="heart")
    await set_goal(host, "l", "likes")
    await alice.gift("rose", 20)
    await site.settled()
    await alice.gift("heart", 2)
    await alice.ask("likes.send", count=9)
    await at(alice, a=(30, True), g=(2, False), l=(9, False))
    [room] = site.node.rooms.here()
    await goals._save(room)
    with stores.room.client() as client:
        client.delete(keys.room("demo", GOALS), keys.room("demo", "goal_moved"))
    await fill(site.node.services, "demo", room.epoch)
    there = await another_site()
    shown = (await there.http.get("/v1/rooms/demo/goals")).json()["goals"]
    assert [(goal["id"], goal["current"], goal["reached"]) for goal in shown] == [
        ("a", 30, True),
        ("g", 2, False),
        ("l", 9, False),
    ]
    await alice.gift("heart", 1)
    await at(alice, a=(35, True), g=(3, False), l=(9, False))
    assert len(alice.events("goals.reached")) == 1


async def test_a_change_that_was_cut_off(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL has it and the node died before the room heard: the next look finds it."""
    host = await host_of(site)
    await set_goal(host, "a")

    async def dies(*_args: object) -> None:
        raise OperationalError("", {}, Exception("killed"))

    with monkeypatch.context() as patch:
        patch.setattr(goals, "show", dies)
        await host.ask("goals.set", id="b", kind="likes", title="t", target=5)
    [room] = site.node.rooms.here()
    await goals.keep_goals(room)
    await at(host, a=(0, False), b=(0, False))


async def test_a_note_that_failed_comes_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL was away for a moment, and nothing has moved since."""
    host = await host_of(site)
    await set_goal(host, "l", "likes")

    def fails(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(goals.journal, "change", fails)
        await host.ask("likes.send", count=3)
        await at(host, l=(3, False))
        [room] = site.node.rooms.here()
        room.memory("goals", goals._Goals).saved = True  # as the loop that begins to save leaves it
        await goals._save(room)
    await goals.save_goals(room)

    async def is_noted() -> bool:
        return [goal.current for goal in goals.journal.read(site.node.engine, "demo").goals] == [3]

    await eventually(is_noted, what="the note in SQL")
