"""Goals: who may set them, that they move with gifts, likes and viewers on every node, and that nothing is lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from server.features import goals
from server.journal import goals as journal
from server.journal.drain import Drain
from tests.features.test_members import host_of
from tests.features.test_refunded import refund
from tests.journal.ledger import drained, pay
from tests.program import eventually
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def journal_process(site: Site) -> AsyncIterator[Drain]:
    """A drain for which every entry is old enough to be shown."""
    async with site.draining(ahead_s=5) as drain:
        yield drain


def progress(viewer: Viewer) -> dict[str, tuple[int, bool]]:
    """How far each goal is, as a client folds the events."""
    found = {goal["id"]: goal for goal in viewer.welcome["room"]["goals"]}
    for event in viewer.events():
        if event["type"] == "goals.changed":
            found = {goal["id"]: goal for goal in event["goals"]}
        elif event["type"] == "goals.progressed":
            found |= {goal["id"]: goal for goal in (event["goal"], *event.get("others", ()))}
        elif event["type"] == "goals.reached" and event["id"] in found:
            found[event["id"]] = {**found[event["id"]], "reached": True}
    return {goal_id: (goal["current"], goal["reached"]) for goal_id, goal in found.items()}


async def at(viewer: Viewer, **wanted: tuple[int, bool]) -> None:
    """Wait until the goals stand so."""
    try:
        await viewer.until(lambda _: progress(viewer) == wanted)
    except TimeoutError:
        raise AssertionError(f"the goals are {progress(viewer)}, not {wanted}") from None


async def set_goal(host: Viewer, goal_id: str, kind: str = "coins", target: int = 100, **more: Any) -> None:
    reply = await host.ask("goals.set", id=goal_id, kind=kind, title="We can", target=target, **more)
    assert (reply["type"], reply.get("id")) == ("ok", goal_id), reply


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_goal_is_set_moves_and_is_reached(site: Site, another_site: MakeSite, codec: str) -> None:
    """Everybody sees it on every node; it is reached once, by those who gave most."""
    there = await another_site()
    host, alice, bob = await host_of(site), await site.join("alice"), await there.join("bob", codec=codec)
    reply = await host.ask("goals.set", kind="coins", title="New microphone", target=30)
    made = (await bob.happened("goals.changed"))["goals"]
    assert made == [
        {"id": reply["id"], "kind": "coins", "title": "New microphone", "target": 30, "current": 0, "reached": False}
    ]
    await alice.gift("rose", 10)
    await at(bob, **{reply["id"]: (10, False)})
    await bob.gift("rose", 25)
    reached = await alice.happened("goals.reached", id=reply["id"])
    assert [one["user_id"] for one in reached["contributors"]] == ["bob", "alice"]
    assert reached["contributors"][0] == {"user_id": "bob", "name": "Bob"}
    await alice.gift("rose")
    for viewer in (alice, bob):
        await at(viewer, **{reply["id"]: (36, True)})
        assert len(viewer.events("goals.reached")) == 1
    late = await there.join("late", codec=codec)
    assert progress(late) == {reply["id"]: (36, True)}
    assert (await host.ask("goals.remove", id=reply["id"]))["type"] == "ok"
    await at(bob)
    acts = (await there.http.get("/v1/rooms/demo/moderation")).json()["acts"]
    assert [act["act"] for act in acts] == ["goals.remove", "goals.set"]


async def test_each_kind_counts_its_own(site: Site, another_site: MakeSite) -> None:
    """Coins, gifts of one name, likes, viewers at once, and followers, which the platform knows."""
    there = await another_site()
    host = await host_of(site)
    await set_goal(host, "c")
    await set_goal(host, "g", "gift", gift="rose")
    await set_goal(host, "l", "likes")
    await set_goal(host, "v", "viewers", 2)
    await set_goal(host, "f", "followers")
    alice, bob = await there.join("alice"), await site.join("bob")
    await alice.gift("heart", 2)
    await alice.gift("rose", 3)
    await bob.ask("likes.send", count=7)
    await at(bob, c=(13, False), g=(3, False), l=(7, False), v=(2, True), f=(0, False))
    body = {"kind": "followers", "title": "Fans", "target": 1000, "current": 1001}
    assert (await there.http.put("/v1/rooms/demo/goals/f", json=body)).status_code == 200
    await at(bob, c=(13, False), g=(3, False), l=(7, False), v=(2, True), f=(1001, True))
    await bob.happened("goals.reached", id="f", contributors=[])


async def test_refusals(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its name."""
    monkeypatch.setattr(goals, "GOALS_MAX", 2)
    host, alice = await host_of(site), await site.join("alice")
    fields: dict[str, Any] = {"kind": "coins", "title": "t", "target": 5}

    async def refused(command: str, **changed: Any) -> str:
        return str((await host.ask(command, **changed)).get("reason"))

    assert (await alice.ask("goals.set", **fields))["reason"] == "not_allowed"
    assert (await alice.ask("goals.remove", id="a"))["reason"] == "not_allowed"
    assert await refused("goals.remove", id="a") == "unknown_goal"
    assert await refused("goals.set", **fields | {"target": 0}) == "bad_command"
    assert await refused("goals.set", **fields | {"title": "\u200b"}) == "bad_command"
    assert await refused("goals.set", **fields | {"gift": "rose"}) == "bad_command"
    assert await refused("goals.set", **fields | {"kind": "gift"}) == "bad_command"
    assert await refused("goals.set", **fields | {"kind": "gift", "gift": "nothing"}) == "unknown_gift"
    await set_goal(host, "a")
    await set_goal(host, "b", "likes")
    assert await refused("goals.set", **fields | {"id": "a", "kind": "likes"}) == "other_kind"
    assert await refused("goals.set", **fields) == "too_many_goals"
    await set_goal(host, "b", "likes", 7)  # a change of one is none more

    def away(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(journal, "change", away)
        assert await refused("goals.set", **fields | {"id": "a"}) == "unavailable"
        assert await refused("goals.remove", id="a") == "unavailable"
    assert (await alice.gift("rose"))["type"] == "ok"
    await at(alice, a=(1, False), b=(0, False))


async def test_an_edit_keeps_the_progress(site: Site, another_site: MakeSite) -> None:
    """A lower target reaches the goal, a higher one takes nothing back."""
    await another_site()
    host, alice = await host_of(site), await site.join("alice")
    await set_goal(host, "a")
    await alice.gift("rose", 20)
    await at(alice, a=(20, False))
    await set_goal(host, "a", target=10)
    await alice.happened("goals.reached", id="a")
    await at(alice, a=(20, True))
    await set_goal(host, "a", target=1000)
    await at(alice, a=(20, True))
    await set_goal(host, "a", target=15)
    await alice.gift("rose", 1)
    await at(alice, a=(21, True))
    assert len(alice.events("goals.reached")) == 1


async def test_goals_go_on_in_the_next_broadcast(site: Site, another_site: MakeSite) -> None:
    """Snapshots have them, and gifts move them."""
    host, alice = await host_of(site), await site.join("alice")
    await set_goal(host, "a")
    await alice.gift("rose", 20)
    await at(alice, a=(20, False))
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    there = await another_site()
    bob = await there.join("bob")
    assert progress(bob) == {"a": (20, False)}
    await bob.gift("rose", 5)
    await at(bob, a=(25, False))


async def test_refunds_and_late_gifts_count(site: Site, another_site: MakeSite, journal_process: Drain) -> None:
    """A refund lowers a goal that stays reached; a gift that is shown after its broadcast still brings it forward."""
    await another_site()
    host, alice = await host_of(site), await site.join("alice")
    await set_goal(host, "a", target=20)
    await set_goal(host, "g", "gift", gift="rose")
    gift = await alice.gift("rose", 30)
    await alice.gift("rose", 4)
    await at(alice, a=(34, True), g=(34, False))
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    bob = await site.join("bob")
    await refund(site, journal_process, gift["id"])
    await at(bob, a=(4, True), g=(4, False))
    await pay(site, "alice", 6, broadcast="an-older-one")
    await drained(journal_process)
    await journal_process.retell_once()
    await at(bob, a=(10, True), g=(5, False))
    assert 6 not in [event["coins"] for event in bob.events("gifts.sent")]  # earlier ones follow an older snapshot
    assert len(alice.events("goals.reached")) == 1


async def test_the_platform_has_goals_too(site: Site) -> None:
    """Over HTTP: made, listed, removed; each error by its status."""
    path = "/v1/rooms/demo/goals"
    body = {"kind": "coins", "title": "t", "target": 5}
    assert (await site.http.put(f"{path}/a", json=body)).json() == {}
    shown = (await site.http.get(path)).json()["goals"]
    assert shown == [{"id": "a", "kind": "coins", "title": "t", "target": 5, "current": 0, "reached": False}]
    statuses = [
        (await site.http.put(f"{path}/a", json={**body, "kind": "likes"})).status_code,
        (await site.http.put(f"{path}/a", json={**body, "current": 5})).status_code,
        (await site.http.put(f"{path}/b", json={**body, "kind": "gift", "gift": "none"})).status_code,
        (await site.http.delete(f"{path}/b")).status_code,
        (await site.http.delete(f"{path}/a")).status_code,
        (await site.http.get("/v1/rooms/nowhere/goals")).status_code,
        (await site.http.put("/v1/rooms/nowhere/goals/a", json=body)).status_code,
        (await site.http.get(path, headers={"Authorization": ""})).status_code,
    ]
    assert statuses == [409, 409, 404, 404, 200, 404, 404, 401]
    await eventually(lambda: _none(site), what="no goals")


async def _none(site: Site) -> bool:
    return (await site.http.get("/v1/rooms/demo/goals")).json() == {"goals": []}
