"""People on the whole site: facts, suspensions, and what follows of them in rooms, on every node."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from server.features import users as feature
from server.journal import users as journal
from server.journal.due import Work
from tests.program import eventually
from tests.site import Site
from tests.test_rates import CARD
from tests.test_requirements import written

MakeSite = Callable[..., Awaitable[Site]]


async def suspend(site: Site, user: str, capability: str, id: str = "s1", **more: Any) -> dict[str, Any]:
    order = {"id": id, "capability": capability, "reason": "spam", **more}
    answer = await site.http.post(f"/v1/users/{user}/suspensions", json=order)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def amend(site: Site, user: str, id: str = "s1", **changes: Any) -> dict[str, Any]:
    answer = await site.http.patch(f"/v1/users/{user}/suspensions/{id}", json=changes)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def test_facts_and_suspensions(site: Site) -> None:
    """What was written is read; an appeal that is granted lifts a suspension, one that is denied does not."""
    assert (await site.http.get("/v1/users/ann")).json()["known"] == {}
    facts = {"age_at_least": 18, "followers": 12, "region": "DE", "identity": "verified", "payout_methods": ["bank"]}
    assert (await site.http.put("/v1/users/ann", json=facts)).json()["known"] == facts
    assert (await site.http.put("/v1/users/ann", json={"tax": "w9"})).json()["known"] == {"tax": "w9"}
    found = await suspend(site, "ann", "chat", statement="You sent the same link 40 times.")
    assert found["suspended_from"] == ["chat"]
    await suspend(site, "ann", "payout", "s2")
    assert await suspend(site, "ann", "chat", statement="You sent the same link 40 times.") == (
        (await site.http.get("/v1/users/ann")).json()
    )
    assert (await amend(site, "ann", appeal="open", appeal_text="It was my brother."))["suspensions"][0] == {
        **found["suspensions"][0],
        "appeal": "open",
        "appeal_text": "It was my brother.",
    }
    assert (await amend(site, "ann", appeal="denied"))["suspended_from"] == ["chat", "payout"]
    assert (await amend(site, "ann", appeal="granted"))["suspended_from"] == ["payout"]
    assert (await amend(site, "ann", "s2", lift=True))["suspended_from"] == []
    assert len((await site.http.get("/v1/users/ann")).json()["suspensions"]) == 2


@pytest.mark.parametrize(
    ("path", "order", "reason"),
    [
        ("suspensions", {"id": "s1", "capability": "chat", "reason": "other"}, "conflict"),
        ("suspensions", {"id": "s9", "capability": "sing", "reason": "r"}, "bad_request"),
        ("suspensions", {"id": "s9", "capability": "chat", "reason": ""}, "bad_request"),
        ("suspensions", {"id": "s9", "capability": "chat", "reason": "r", "until_ms": -1}, "bad_request"),
        ("suspensions", {"capability": "chat", "reason": "r"}, "bad_request"),
        ("suspensions/none", {"lift": True}, "no_such_suspension"),
    ],
)
async def test_orders_that_are_refused(site: Site, path: str, order: dict[str, Any], reason: str) -> None:
    """Each with its reason, and nothing changes."""
    await suspend(site, "ann", "chat")
    before = (await site.http.get("/v1/users/ann")).json()
    method = "PATCH" if "/" in path else "POST"
    answer = await site.http.request(method, f"/v1/users/ann/{path}", json=order)
    assert answer.json()["error"]["reason"] == reason
    assert (await site.http.get("/v1/users/ann")).json() == before


async def test_chat_and_gifts_of_who_is_suspended(site: Site, another_site: MakeSite) -> None:
    """Refused on every node, with until when; what was paid before is still found; others go on."""
    there = await another_site()
    alice, bob = await there.join("alice"), await site.join("bob")
    paid = await alice.gift("rose")
    until_ms = site.node.clock.now_ms() + 3_600_000
    await suspend(site, "alice", "chat", "c", until_ms=until_ms)
    await suspend(site, "alice", "send_gifts", "g")
    await eventually(lambda: there.node.users.suspended("alice", "send_gifts"), what="the news")
    chat, gift = await alice.ask("chat.send", text="hello"), await alice.gift("rose")
    assert (chat["reason"], chat["capability"], chat["until_ms"]) == ("suspended", "chat", until_ms)
    assert (gift["reason"], gift["capability"], gift["until_ms"]) == ("suspended", "send_gifts", None)
    assert (await alice.gift("rose", id=paid["id"]))["duplicate"]
    assert (await bob.ask("chat.send", text="hello"))["type"] == "ok"
    await suspend(site, "bob", "chat", "c")
    assert (await bob.gift("rose", message="hi"))["message_left_out"] == "suspended"
    await suspend(site, "creator", "receive_gifts")
    assert (await bob.gift("rose"))["reason"] == "receiver_not_eligible"
    await amend(site, "creator", lift=True)
    assert (await bob.gift("rose"))["type"] == "ok"


async def test_a_suspended_hosts_broadcast_ends(site: Site, another_site: MakeSite) -> None:
    """At once and on every node, wherever the room is open or not; it cannot begin again until that is over."""
    there = await another_site()
    for room in ("hers", "unwatched", "paused"):
        await site.put_room(room, live=True)
    await site.http.post("/v1/rooms/paused/pause")
    await site.http.put("/v1/rooms/other", json={"host": {"user_id": "bob", "name": "Bob"}})
    await site.http.post("/v1/rooms/other/start")
    near, far = await site.join("alice", room="hers"), await there.join("bob", room="hers")
    await suspend(there, "creator", "go_live", statement="Nudity.")
    for viewer in (near, far):
        assert (await viewer.happened("room.suspended", wait_s=1.0))["status"] == "suspended"
    statuses = {room: (await site.http.get(f"/v1/rooms/{room}")).json()["status"] for room in ("unwatched", "paused")}
    assert statuses == {"unwatched": "suspended", "paused": "suspended"}
    assert (await site.http.get("/v1/rooms/other")).json()["status"] == "live"
    refused = await site.http.post("/v1/rooms/hers/start")
    [missing] = refused.json()["error"]["missing"]
    assert (refused.status_code, missing["name"], missing["value"]["reason"]) == (409, "suspension", "spam")
    await amend(site, "creator", lift=True)
    assert (await site.http.post("/v1/rooms/hers/start")).status_code == 200


async def test_the_node_that_was_asked_dies(site: Site, another_site: MakeSite) -> None:
    """Between SQL and the rooms: a node with the room open ends it, and due work ends those that nobody watches."""
    there = await another_site()
    await there.put_room("unwatched", live=True)
    viewer = await there.join("alice")
    new = journal.Suspension(
        id="s1", user_id="creator", capability="go_live", reason="r", statement="", from_ms=1, until_ms=None
    )
    journal.suspend(site.node.engine, new)
    await there.node.users.look("creator")
    await viewer.happened("room.suspended")
    await feature.end_due(there.node.services, Work(feature.END, "", "creator", 0))
    assert (await there.http.get("/v1/rooms/unwatched")).json()["status"] == "suspended"
    await there.http.post("/v1/rooms/unwatched/start")
    await amend(there, "creator", lift=True)
    assert (await there.http.post("/v1/rooms/unwatched/start")).status_code == 200
    await feature.end_due(there.node.services, Work(feature.END, "", "creator", 0))
    assert (await there.http.get("/v1/rooms/unwatched")).json()["status"] == "live"


async def test_what_a_host_needs(another_site: MakeSite, tmp_path: Path) -> None:
    """Each condition that is not met, over HTTP and the socket; once all is met, they begin."""
    site = await another_site(LIVEROOM_REQUIREMENTS=str(written(tmp_path)))
    await site.put_room("r", live=False)
    await site.http.put("/v1/users/creator", json={"age_at_least": 18, "followers": 12, "region": "KR"})
    host = await site.join("creator", room="r")
    wanted = [{"name": "age_at_least", "value": 18, "needed": 19}]
    assert (await host.ask("room.start"))["missing"] == wanted
    assert (await site.http.post("/v1/rooms/r/start")).json()["error"]["missing"] == wanted
    await site.http.put("/v1/users/creator", json={"age_at_least": 19, "region": "KR"})
    assert (await host.ask("room.start"))["type"] == "ok"


async def test_nobody_begins_while_sql_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and `unavailable`; gifts and chat go on."""
    await site.put_room("r", live=False)
    host, alice = await site.join("creator", room="r"), await site.join("alice")

    def away(*_args: object) -> None:
        raise SQLAlchemyError("away")

    monkeypatch.setattr(journal, "read", away)
    assert (await host.ask("room.start"))["reason"] == "unavailable"
    assert (await site.http.post("/v1/rooms/r/start")).status_code == 503
    assert (await alice.gift("rose"))["type"] == "ok"
    assert (await alice.ask("chat.send", text="hello"))["type"] == "ok"


async def test_a_hosts_region_decides_the_rates(another_site: MakeSite, tmp_path: Path) -> None:
    """Of the gifts that come once it is known, also in a room that is open."""
    card = tmp_path / "rates.toml"
    card.write_text(CARD)
    site = await another_site(LIVEROOM_RATES=str(card))
    alice = await site.join("alice")
    await alice.gift("coffee", 10)
    assert (await alice.happened("gifts.sent", count=10))["diamonds"] == 50
    await site.http.put("/v1/users/creator", json={"region": "JP"})
    await alice.gift("coffee", 20)
    assert (await alice.happened("gifts.sent", count=20))["diamonds"] == 90
