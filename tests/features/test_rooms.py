"""A room's life: its steps, the events they cause, who stays, and exact snapshots."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest

from protocol.closes import Close
from protocol.rooms import Settings
from server import limits
from server.rooms.about import shown_settings
from tests.site import Site, Viewer

MakeSite = Callable[[], Awaitable[Site]]
OF_EVENTS = ("seq", "at_ms", "id", "replayed")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts and boards are sent soon after each other, because the real pauses would only make these tests long."""
    monkeypatch.setattr(limits, "VIEWERS_EVERY_MS", 200)
    monkeypatch.setattr(limits, "BOARD_EVERY_MS", 200)


async def turn(site: Site, *verbs: str, room: str = "demo") -> httpx.Response:
    """Take steps in a room's life; return the last answer."""
    answer = await site.http.get(f"/v1/rooms/{room}")
    for verb in verbs:
        answer = await site.http.post(f"/v1/rooms/{room}/{verb}")
    return answer


def plain(event: dict[str, Any]) -> dict[str, Any]:
    """An event without its seq, id and time."""
    return {key: value for key, value in event.items() if key not in OF_EVENTS}


async def test_each_step_is_announced(site: Site, another_site: MakeSite) -> None:
    """Each step is one event on every node, with the new status; the API shows it at once."""
    there = await another_site()
    await site.put_room("r", live=False)
    watchers = [await site.join("obs", "overlay", room="r"), await there.join("obs", "overlay", room="r")]
    assert watchers[0].welcome["room"]["status"] == "offline"
    assert watchers[0].welcome["room"]["broadcast_id"] is None
    steps = [
        ("start", "room.updated", "live"),
        ("pause", "room.paused", "paused"),
        ("resume", "room.resumed", "live"),
        ("suspend", "room.suspended", "suspended"),
        ("start", "room.updated", "live"),
        ("end", "room.ended", "ended"),
        ("suspend", "room.suspended", "suspended"),
    ]
    for number, (verb, tag, status) in enumerate(steps, 1):
        shown = (await turn(site, verb, room="r")).json()
        assert shown["status"] == status
        for watcher in watchers:
            event = await watcher.happened(tag, seq=number)
            assert plain(event) == {
                "type": tag,
                "status": status,
                **({key: shown[key] for key in ("broadcast_id", "started_at_ms")} if verb == "start" else {}),
            }
    for watcher in watchers:
        assert [event["seq"] for event in watcher.events()] == list(range(1, len(steps) + 1))


TO = {
    "offline": (),
    "live": ("start",),
    "paused": ("start", "pause"),
    "ended": ("start", "end"),
    "suspended": ("suspend",),
}
WRONG = {
    "offline": ("pause", "resume", "end"),
    "live": (),
    "paused": ("start",),
    "ended": ("pause", "resume"),
    "suspended": ("pause", "resume", "end"),
}
AGAIN = {"live": ("start", "resume"), "paused": ("pause",), "ended": ("end",), "suspended": ("suspend",)}


async def test_impossible_steps(site: Site) -> None:
    """A step from a wrong status is a 409 that says so; repeating a step is allowed; neither is announced."""
    for status, steps in TO.items():
        await site.put_room(status, live=False)
        before = (await turn(site, *steps, room=status)).json()
        assert before["status"] == status
        for verb in WRONG[status]:
            answer = await turn(site, verb, room=status)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "wrong_status"), (status, verb)
        for verb in AGAIN.get(status, ()):
            assert (await turn(site, verb, room=status)).status_code == 200, (status, verb)
        assert (await site.http.get(f"/v1/rooms/{status}")).json() == before
        assert (await turn(site, "explode", room=status)).status_code == 404
    assert (await turn(site, "start", room="none")).status_code == 404


async def test_an_update_contains_what_changed(site: Site) -> None:
    """Only what is new is in it; repeating it announces nothing; nor does what nobody may see."""
    alice = await site.join("alice")
    host = {"user_id": "creator", "name": "Creator"}
    now = {"host": host, "title": "demo", "settings": {}}

    async def put(**change: Any) -> dict[str, Any]:
        now.update(change)
        before = len(alice.events("room.updated"))
        (await site.http.put("/v1/rooms/demo", json=now)).raise_for_status()
        event: dict[str, Any] = await alice.until(lambda _: alice.events("room.updated")[before:])
        return {key: value for key, value in plain(event[0]).items() if key != "type"}

    open_settings = msgspec.to_builtins(shown_settings(Settings()))
    assert await put(title="first") == {"title": "first"}
    assert await put(settings={"slow_mode_s": 3}) == {"settings": {**open_settings, "slow_mode_s": 3}}
    assert await put(host={**host, "name": "Renamed"}) == {"host": {**host, "name": "Renamed"}}
    (await site.http.put("/v1/rooms/demo", json=now)).raise_for_status()
    secret = await put(settings={"slow_mode_s": 3, "blocked_words": ["secretword"]})
    assert "secretword" not in str(secret)
    assert await put(title="last") == {"title": "last"}
    assert len(alice.events("room.updated")) == 5


async def test_what_each_status_allows(site: Site) -> None:
    """Gifts and likes need a live room, chat a live or paused one; this applies as soon as the step was announced."""
    alice = await site.join("alice")

    async def taken() -> list[str]:
        replies = [await alice.gift(), await alice.ask("likes.send", count=1), await alice.ask("chat.send", text="hi")]
        return [reply.get("reason", "ok") for reply in replies]

    assert await taken() == ["ok", "ok", "ok"]
    for times in (1, 2):
        await turn(site, "pause")
        await alice.until(lambda _, times=times: len(alice.events("room.paused")) == times)
        assert await taken() == ["room_not_live", "room_not_live", "ok"]
        await turn(site, "resume")
        await alice.until(lambda _, times=times: len(alice.events("room.resumed")) == times)
        assert await taken() == ["ok", "ok", "ok"]


@pytest.mark.parametrize("verb", ["end", "suspend"])
async def test_the_end_closes_sockets(site: Site, another_site: MakeSite, verb: str) -> None:
    """After the event itself, every socket except the overlays' is closed with the code that says not to come back."""
    there = await another_site()
    overlay, far_overlay = await site.join("obs", "overlay"), await there.join("obs", "overlay", codec="msgpack")
    watching = [await site.join("alice"), await there.join("bob", codec="msgpack"), await there.join("creator", "host")]
    bot = await site.join("bot", "bot")
    for number in range(100):  # a busy room: the event waits for its tick
        await bot.tell({"type": "chat.send", "text": f"chat {number}"})
    await turn(site, verb)
    tag = {"end": "room.ended", "suspend": "room.suspended"}[verb]
    for viewer in watching:
        assert await viewer.closed() == Close.ROOM_ENDED == 4501
        told = [event["type"] for event in viewer.events()]
        assert [type_ for type_ in told if type_ != "viewers.counted"][-1] == tag  # the others leave and are counted
    await turn(site, "start")
    for watcher in (overlay, far_overlay):
        await watcher.happened(tag)
        await watcher.happened("room.updated", status="live")
        assert (await watcher.ask("ping"))["type"] == "ok"


async def test_a_new_broadcast_starts_at_zero(site: Site, another_site: MakeSite) -> None:
    """Likes, coins, board and streaks belong to one broadcast; people who are still here count for the new one."""
    await site.put_room("demo", live=False)
    overlay = await site.join("obs", "overlay")
    alice = await site.join("alice")
    await alice.gift("heart", 2, combo="c1")
    await alice.ask("likes.send", count=5)
    await overlay.happened("likes.counted", total=5)
    await overlay.happened("board.changed")
    await overlay.happened("viewers.counted", now=1)
    old = (await site.http.get("/v1/rooms/demo")).json()
    assert (old["likes"], old["coins"], old["viewers"]) == (5, 10, {"now": 1, "peak": 1, "unique": 1})
    await turn(site, "end")
    assert await alice.closed() == Close.ROOM_ENDED
    bob = await site.join("bob")  # waits for the next broadcast
    await overlay.until(lambda told: any(m.get("now") == 1 and m.get("unique") == 2 for m in told))
    ended = (await site.http.get("/v1/rooms/demo")).json()
    assert (ended["likes"], ended["coins"]) == (5, 10)

    started = (await turn(site, "start")).json()
    assert started["broadcast_id"] != old["broadcast_id"]
    assert (started["likes"], started["coins"]) == (0, 0)
    assert started["viewers"] == {"now": 1, "peak": 1, "unique": 1}
    await bob.happened("room.updated", broadcast_id=started["broadcast_id"], started_at_ms=started["started_at_ms"])
    newcomer = await (await another_site()).join("obs", "overlay", codec="msgpack")
    room = newcomer.welcome["room"]
    assert (room["likes"], room["coins"], room["top"], room["open_combos"]) == (0, 0, [], [])
    assert room["viewers"]["now"] == 1
    await bob.gift("rose")
    event = await overlay.until(lambda _: overlay.events("board.changed")[1:])
    assert event[0]["top"] == [{"rank": 1, "user": {"user_id": "bob", "name": "Bob"}, "coins": 1}]
    await bob.ask("likes.send", count=1)
    assert (await overlay.happened("likes.counted", total=1))["added"] == 1


def folded(viewer: Viewer, upto: int) -> dict[str, Any]:
    """What a viewer knows at `upto`: its snapshot and the events after it, by the rules of the protocol alone."""
    room = {key: viewer.welcome["room"][key] for key in ("status", "title", "viewers", "likes", "coins", "top")}
    seen = viewer.welcome["seq"]
    for event in viewer.events():
        if event["seq"] > upto:
            break
        assert event["seq"] > seen
        seen = event["seq"]
        match event["type"]:
            case "gifts.sent":
                room["coins"] += event["coins"]
            case "likes.counted":
                room["likes"] = event["total"]
            case "viewers.counted":
                room["viewers"] = {key: event[key] for key in ("now", "peak", "unique")}
            case "board.changed":
                room["top"] = event["top"]
            case "room.updated" | "room.paused" | "room.resumed":
                room |= {key: event[key] for key in ("status", "title") if key in event}
    return room


async def test_snapshots_are_exact(site: Site, another_site: MakeSite) -> None:
    """A viewer's snapshot plus its events equals a fresh node's snapshot at that seq, whenever the viewer came."""
    there = await another_site()
    viewers = [await site.join("obs", "overlay")]
    alice = await site.join("alice")
    for number in range(12):
        node = (site, there)[number % 2]
        await alice.gift(("rose", "heart", "coffee")[number % 3], 1 + number)
        await alice.ask("likes.send", count=3)
        await site.put_room("demo", live=False, slow_mode_s=number)
        if number % 4 == 1:
            await turn(site, "pause", "resume")
        viewers.append(await node.join(f"u{number}", codec=("json", "msgpack")[number % 2]))
    await viewers[0].happened("likes.counted", total=36)
    paid = sum(event["coins"] for event in viewers[0].events("gifts.sent"))
    boards = partial(viewers[0].events, "board.changed")
    await viewers[0].until(lambda _: any(sum(row["coins"] for row in each["top"]) == paid for each in boards()))
    await viewers[0].happened("viewers.counted", unique=13)
    fresh = await (await another_site()).join("fresh", "overlay")
    seq, room = fresh.welcome["seq"], fresh.welcome["room"]
    assert room["coins"] == paid > 0
    expected = {key: room[key] for key in ("status", "title", "viewers", "likes", "coins", "top")}
    for viewer in viewers:
        await viewer.until(lambda _, v=viewer: v.welcome["seq"] >= seq or any(e["seq"] >= seq for e in v.events()))
        assert folded(viewer, seq) == expected


async def test_the_host_runs_the_show(site: Site, another_site: MakeSite) -> None:
    """Start, pause, resume and end by the host's socket: everybody gets the events, and staff the acts."""
    await site.put_room("stage", live=False)
    there = await another_site()
    token = site.token("creator", "host", room="stage")
    host, mod = await site.join(room="stage", token=token), await there.join("mod", "moderator", room="stage")
    viewer = await there.join("alice", room="stage", codec="msgpack")
    for verb, event in (
        ("start", "room.updated"),
        ("pause", "room.paused"),
        ("resume", "room.resumed"),
        ("end", "room.ended"),
    ):
        assert (await viewer.ask(f"room.{verb}"))["reason"] == "not_allowed"
        assert (await host.ask(f"room.{verb}"))["type"] == "ok"
        for each in (host, viewer):
            await each.happened(event)
        if verb != "end":
            await mod.happened("moderation.acted", act=f"room.{verb}")
    assert await viewer.closed() == 4501
    acts = (await site.http.get("/v1/rooms/stage/moderation")).json()["acts"]
    assert [act["act"] for act in acts] == ["room.end", "room.resume", "room.pause", "room.start"]


async def test_a_step_that_the_status_does_not_allow(site: Site) -> None:
    """It is refused with the status, and nothing changes."""
    host = await site.join("creator", token=site.token("creator", "host", room="demo"))
    refused = await host.ask("room.resume")
    assert (refused["type"], host.welcome["room"]["status"]) == ("ok", "live")  # a repeated step is done already
    await site.put_room("other", live=False)
    there = await site.join(room="other", token=site.token("creator", "host", room="other"))
    refused = await there.ask("room.pause")
    assert (refused["reason"], refused["status"]) == ("wrong_status", "offline")


async def test_staff_changes_the_room(site: Site) -> None:
    """Only what is named changes; texts are cleaned; viewers may not; a faulty one is a bad command."""
    host = await site.join("creator", token=site.token("creator", "host", room="demo"))
    mod, alice = await site.join("mod", "moderator"), await site.join("alice")
    assert (await alice.ask("room.set", title="mine"))["reason"] == "not_allowed"
    assert (await host.ask("room.set", title=" Jazz\u202e "))["type"] == "ok"
    assert (await alice.happened("room.updated", title="Jazz"))["type"] == "room.updated"
    assert (await mod.ask("room.set", settings={"slow_mode_s": 7}))["type"] == "ok"
    assert (await alice.happened("room.updated", settings={**host.welcome["room"]["settings"], "slow_mode_s": 7}))[
        "seq"
    ]
    assert (await site.http.get("/v1/rooms/demo")).json()["title"] == "Jazz"
    for wrong in (
        {"title": "\u200b"},
        {"title": "x" * 201},
        {"settings": {"slow_mode_s": -1}},
        {"settings": {"loud": 1}},
    ):
        assert (await host.ask("room.set", **wrong))["reason"] == "bad_command"
    said = await host.happened("moderation.acted", act="room.set", data={"settings": {"slow_mode_s": 7}})
    assert said["by"]["user_id"] == "mod"
