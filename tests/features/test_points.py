"""Fan points: who watches, chats and gives earns them once, on whatever nodes and sockets; the day has its caps."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from server import limits
from server.features import points as feature
from server.journal import points as journal
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def minute(*sites: Site) -> None:
    """A minute passes: every node of the room tells SQL."""
    for site in sites:
        for room in site.node.rooms.here():
            await feature.count_minute(room)
            fans = feature._fans(room)
            await eventually(lambda fans=fans: not fans.telling, what="what SQL was told")


async def of(site: Site, user: str = "alice", host: str = "creator") -> dict[str, Any]:
    answer = await site.http.get(f"/v1/users/{user}/points?host={host}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_watching_chatting_giving(site: Site, another_site: MakeSite) -> None:
    """Each once a minute on two nodes; nothing for the host, for a bot, and between broadcasts."""
    there = await another_site()
    alice, also = await site.join("alice"), await there.join("alice", codec="msgpack")
    await site.join("creator", token=site.token("creator", "host", room="demo"))
    await site.join("bot", "bot")
    assert (await also.ask("chat.send", text="hello"))["type"] == "ok"
    await alice.happened("chat.sent", text="hello")
    await minute(site, there)
    await alice.gift("rose", 3)
    await site.settled()
    found = await of(there)
    assert (found["points"], found["watch"], found["chat"], found["gifts"]) == (5, 1, 1, 3)
    assert found["today"] == {"watch": 1, "chat": 1, "gifts": 3}
    assert (found["dormant"], found["user_id"], found["host_id"]) == (False, "alice", "creator")
    for nobody in ("creator", "bot", "bob"):
        assert (await of(site, nobody))["points"] == 0
    await site.http.post("/v1/rooms/demo/pause")
    await alice.happened("room.paused")
    real = site.node.clock.now_ms
    site.node.clock.now_ms = lambda: real() + 60_000  # type: ignore[method-assign]
    await minute(site)
    assert (await of(there))["watch"] == 1


async def test_they_sleep_after_a_week(site: Site) -> None:
    """They stay, and wake with the next."""
    await site.join("alice")
    assert (await of(site))["dormant"] is True
    await minute(site)
    assert (await of(site))["dormant"] is False
    real = site.node.clock.now_ms
    site.node.clock.now_ms = lambda: real() + 8 * limits.DAY_MS  # type: ignore[method-assign]
    found = await of(site)
    assert (found["dormant"], found["points"], found["today"]["watch"]) == (True, 1, 0)


async def test_sql_is_away_for_some_minutes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, up to a bound, and nothing comes twice when it is not sure what SQL has got."""
    await site.join("alice")
    real_count, real_ms, passed = journal.count, site.node.clock.now_ms, [0]
    site.node.clock.now_ms = lambda: real_ms() + 60_000 * passed[0]  # type: ignore[method-assign]

    def lost(*args: Any) -> None:
        real_count(*args)
        raise OperationalError("", {}, Exception("the answer is lost"))

    with monkeypatch.context() as away:
        away.setattr(journal, "count", lost)
        for _ in range(3):
            await minute(site)
            passed[0] += 1
    await minute(site)
    assert (await of(site))["watch"] == 4
    [room] = site.node.rooms.here()
    for _ in range(feature.MINUTES_KEPT + 5):
        feature._fans(room).untold.append(("creator", 1, []))
    assert len(feature._fans(room).untold) == feature.MINUTES_KEPT


async def test_a_minute_that_is_pushed_out_while_it_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other one goes in its place."""
    await site.join("alice")
    [room] = site.node.rooms.here()
    fans, told = feature._fans(room), []
    fans.untold.extend(("creator", n, []) for n in range(feature.MINUTES_KEPT))

    def count(_engine: Any, _caps: Any, _host: str, minute: int, _there: Any) -> None:
        told.append(minute)
        if minute == 0:
            fans.untold.append(("creator", feature.MINUTES_KEPT, []))

    monkeypatch.setattr(journal, "count", count)
    await feature._tell(room, fans)
    assert told == [*range(feature.MINUTES_KEPT + 1)]


async def test_the_host_changes(site: Site) -> None:
    """The new host earns nothing from here on, the former one does, and nobody does who has left."""
    alice, creator = await site.join("alice"), await site.join("creator")
    await site.http.patch("/v1/rooms/demo", json={"host": {"user_id": "alice", "name": "Alice"}})
    await creator.happened("room.updated", host={"user_id": "alice", "name": "Alice"})
    await minute(site)
    assert (await of(site, "creator", "alice"))["watch"] == 1
    assert (await of(site, "alice", "alice"))["watch"] == 0
    await alice.leave()
    await creator.leave()
    [room] = site.node.rooms.here()
    await eventually(lambda: not feature._fans(room).here, what="an empty room")


async def test_who_may_see_them(site: Site) -> None:
    """The platform and the person."""
    path = "/v1/users/alice/points?host=creator"
    for token, status in (
        (site.token("alice"), 200),
        (site.token("bob"), 403),
        (site.token("creator", "host", room="demo"), 403),
        ("x", 401),
    ):
        answer = await site.http.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert (await site.http.get("/v1/users/alice/points")).status_code == 400
    assert (await site.http.get("/v1/users/alice/points?host=no:body")).status_code == 400
