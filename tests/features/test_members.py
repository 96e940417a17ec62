"""Members: who may decide what about whom, and that it holds on every node, after restarts, and with a store away."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets

from protocol.closes import Close
from server import limits
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


async def host_of(site: Site) -> Viewer:
    """The host of the demo room."""
    return await site.join("creator", token=site.token("creator", "host", room="demo"))


async def refused_at(site: Site, user: str, **options: Any) -> int:
    """The status with which a connection is refused."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        await site.join(user, **options)
    return refused.value.response.status_code


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_mute_holds_on_every_node(site: Site, another_site: MakeSite, codec: str) -> None:
    """Everybody gets it, its person cannot chat on any node, and sees so in the next welcome."""
    there = await another_site()
    host, mod = await host_of(site), await there.join("mod", "moderator", codec=codec)
    alice, again = await site.join("alice", codec=codec), await there.join("alice", codec=codec)
    assert alice.welcome["you"] == {**alice.welcome["you"], "muted": False, "muted_until_ms": None}
    assert (await host.ask("members.mute", user_id="alice", seconds=60, reason="loud"))["type"] == "ok"
    for viewer in (alice, again, mod):
        event = await viewer.happened("members.muted", user_id="alice", reason="loud")
        assert event["by"] == {"user_id": "creator", "name": "Creator"}
        assert event["until_ms"] - event["at_ms"] == pytest.approx(60_000, abs=2_000)
    for viewer in (alice, again):
        reply = await viewer.ask("chat.send", text="but")
        assert (reply["reason"], 0 < reply["retry_after_ms"] <= 60_000) == ("muted", True)
    you = (await there.join("alice")).welcome["you"]
    assert (you["muted"], you["muted_until_ms"]) == (True, event["until_ms"])
    assert (await mod.ask("members.unmute", user_id="alice"))["type"] == "ok"
    await alice.happened("members.unmuted", user_id="alice")
    assert (await alice.ask("chat.send", text="thanks"))["type"] == "ok"


async def test_a_mute_without_an_end_ends_with_the_broadcast(site: Site) -> None:
    """Until then it has no time; the next broadcast is a new start."""
    host, alice = await host_of(site), await site.join("alice")
    await host.ask("members.mute", user_id="alice")
    assert (await alice.happened("members.muted"))["until_ms"] is None
    assert (await alice.ask("chat.send", text="now"))["retry_after_ms"] is None
    you = (await site.join("alice")).welcome["you"]
    assert (you["muted"], you["muted_until_ms"]) == (True, None)
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    again = await site.join("alice")
    assert again.welcome["you"]["muted"] is False
    assert (await again.ask("chat.send", text="now"))["type"] == "ok"


@pytest.mark.parametrize("over_http", [False, True])
async def test_a_ban_closes_and_keeps_out(site: Site, another_site: MakeSite, over_http: bool) -> None:
    """Every socket on every node is closed after the event, nobody of the id comes in, until the ban is lifted."""
    there = await another_site()
    host, obs = await host_of(site), await there.join("obs", "overlay")
    sockets = [await site.join("alice"), await there.join("alice"), await there.join("alice", codec="msgpack")]

    async def decide(verb: str, **fields: Any) -> None:
        if over_http:
            done = await there.http.post(f"/v1/rooms/demo/members/alice/{verb}", json=fields)
            assert done.status_code == 200, done.text
        else:
            assert (await host.ask(f"members.{verb}", user_id="alice", **fields))["type"] == "ok"

    await decide("ban", reason="spam")
    for viewer in sockets:
        assert await viewer.closed() == Close.BANNED
        assert viewer.events("members.banned")[0]["until_ms"] is None
    await obs.happened("members.banned", user_id="alice")
    for each in (site, there):
        assert await refused_at(each, "alice") == 403
        assert await refused_at(each, "alice", role="bot") == 403
    await decide("unban")
    await obs.happened("members.unbanned", user_id="alice")
    assert (await (await site.join("alice")).ask("chat.send", text="back"))["type"] == "ok"


async def test_a_page_sees_that_it_is_banned(site: Site) -> None:
    """`refusals=close` gives the close code in place of the HTTP answer."""
    await site.http.post("/v1/rooms/demo/members/alice/ban", json={"seconds": 60})
    address = site.address(token=site.token("alice")) + "&refusals=close"
    async with websockets.connect(address, proxy=None) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == Close.BANNED


async def test_a_kick_closes_once(site: Site) -> None:
    """They may come back."""
    host, alice = await host_of(site), await site.join("alice")
    await host.ask("members.kick", user_id="alice", reason="calm down")
    assert await alice.closed() == Close.BANNED
    assert (await (await site.join("alice")).ask("chat.send", text="calm"))["type"] == "ok"


MAY = {  # who acts on whom with which command: allowed or not
    ("alice", "bob", "members.mute"): False,
    ("alice", "creator", "members.ban"): False,
    ("roommod", "alice", "members.ban"): True,
    ("roommod", "roommod2", "members.mute"): False,
    ("roommod", "creator", "members.kick"): False,
    ("roommod", "alice", "members.promote"): False,
    ("creator", "roommod", "members.demote"): True,
    ("creator", "creator", "members.mute"): False,
    ("creator", "sitemod", "members.ban"): False,
    ("sitemod", "creator", "members.mute"): True,
    ("sitemod", "sitemod", "members.mute"): False,
}


@pytest.mark.parametrize(("by", "whom", "command"), MAY)
async def test_nobody_acts_on_an_equal_or_higher_role(site: Site, by: str, whom: str, command: str) -> None:
    """Viewers on nobody; the room's moderators on viewers; the host on them; the site's staff on all of those."""
    host, site_mod = await host_of(site), await site.join("sitemod", "moderator")
    others = {user: await site.join(user) for user in ("alice", "bob", "roommod", "roommod2")}
    for user in ("roommod", "roommod2"):
        assert (await host.ask("members.promote", user_id=user))["type"] == "ok"
        await others[user].happened("members.promoted", user_id=user)
    everybody = {**others, "creator": host, "sitemod": site_mod}
    reply = await everybody[by].ask(command, user_id=whom)
    assert reply.get("reason") == (None if MAY[by, whom, command] else "not_allowed")


async def test_a_promoted_viewer_is_staff(site: Site, another_site: MakeSite) -> None:
    """At once on every node: exempt from slow mode, no longer counted as a viewer, until demoted."""
    there = await another_site()
    await site.http.patch("/v1/rooms/demo", json={"settings": {"slow_mode_s": 60}})
    host, alice, bob = await host_of(site), await there.join("alice"), await site.join("bob")
    await bob.happened("viewers.counted", now=2)
    await host.ask("members.promote", user_id="alice")
    await alice.happened("members.promoted", user_id="alice")
    await bob.happened("viewers.counted", now=1)
    for n in range(2):
        assert (await alice.ask("chat.send", text=f"word {n}"))["type"] == "ok"
    assert (await bob.happened("chat.sent", text="word 1"))["user"]["role"] == "moderator"
    assert (await there.join("alice")).welcome["you"]["role"] == "moderator"
    await host.ask("members.demote", user_id="alice")
    await alice.happened("members.demoted", user_id="alice")
    assert (await alice.ask("chat.send", text="first"))["type"] == "ok"
    assert (await alice.ask("chat.send", text="second"))["reason"] == "slow_mode"


async def test_a_hidden_person_speaks_to_nobody(site: Site, another_site: MakeSite) -> None:
    """Their sockets and staff see their chat, on all nodes; others see no event, no gap and no count."""
    there = await another_site()
    host, control = await host_of(site), await there.join("bob")
    troll, again = await site.join("troll"), await there.join("troll", codec="msgpack")
    await host.ask("members.hide", user_id="troll", reason="a troll")
    before = await host.ask("chat.send", text="one")
    reply = await troll.ask("chat.send", text="grr")
    assert (reply["type"], reply["seq"]) == ("ok", before["seq"])
    for viewer in (troll, again):
        mine = await viewer.happened("chat.sent", text="grr")
        assert "seq" not in mine
        assert "hidden" not in mine
    assert (await host.happened("chat.sent", text="grr"))["hidden"] is True
    await host.ask("chat.send", text="two")
    await control.happened("chat.sent", text="two")
    assert [event["text"] for event in control.events("chat.sent")] == ["one", "two"]
    assert not [message for message in control.told if "troll" in str(message) and message["type"] != "viewers.counted"]
    late = await there.join("late", chats=50)
    await late.until(lambda told: sum(m["type"] == "chat.sent" for m in told) == 2)
    await host.ask("members.unhide", user_id="troll")
    assert (await troll.ask("chat.send", text="hello"))["seq"] > before["seq"]
    await control.happened("chat.sent", text="hello")


async def test_a_warning_must_be_acknowledged(site: Site, another_site: MakeSite) -> None:
    """It comes at once and at the next connect, and stops the chat until then."""
    there = await another_site()
    host, alice = await host_of(site), await there.join("alice")
    await host.ask("members.warn", user_id="alice", text=" Be\u202e nice ")
    said = await alice.happened("members.warned")
    assert (said["text"], said["by"]["user_id"]) == ("Be nice", "creator")
    assert (await alice.ask("chat.send", text="no"))["reason"] == "warned"
    again = await site.join("alice")
    await again.happened("members.warned", text="Be nice")
    assert (await again.ask("members.acknowledge"))["type"] == "ok"
    assert (await alice.ask("chat.send", text="yes"))["type"] == "ok"
    assert (await host.ask("members.warn", user_id="alice", text="\u200b"))["reason"] == "bad_command"


async def test_the_platform_decides_over_http(site: Site) -> None:
    """Every decision, also about the host; what is wrong is a clear error."""
    people = "/v1/rooms/demo/members"
    for verb in ("mute", "hide", "promote", "ban"):
        assert (await site.http.post(f"{people}/creator/{verb}", json={})).status_code == 200
    assert (await site.http.post(f"{people}/alice/warn", json={"text": "hello"})).status_code == 200
    found = (await site.http.get(people)).json()
    assert [(one["user_id"], one["banned"], one["warned"]) for one in found["members"]] == [
        ("alice", False, True),
        ("creator", True, False),
    ]
    first = (await site.http.get(people, params={"limit": 1})).json()
    assert (len(first["members"]), first["next"]) == (1, "limit=1&after=alice")
    for path, body, status in (
        (f"{people}/alice/praise", {}, 404),
        (f"{people}/alice/kick", {"seconds": 5}, 400),
        (f"{people}/alice/warn", {}, 400),
        (f"{people}/a:b/ban", {}, 400),
        ("/v1/rooms/nowhere/members/alice/ban", {}, 404),
    ):
        assert (await site.http.post(path, json=body)).status_code == status
    assert (await site.http.post(f"{people}/alice/ban", json={}, headers={"Authorization": ""})).status_code == 401


async def test_too_many_decisions_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room keeps so many; who is lifted makes place, and who is there can still be changed."""
    monkeypatch.setattr(limits, "PEOPLE_MAX", 2)
    host = await host_of(site)
    for user in ("alice", "bob"):
        assert (await host.ask("members.ban", user_id=user))["type"] == "ok"
    assert (await host.ask("members.ban", user_id="carol"))["reason"] == "too_many_members"
    assert (await host.ask("members.mute", user_id="alice"))["type"] == "ok"
    assert (await host.ask("members.unban", user_id="bob"))["type"] == "ok"
    assert (await host.ask("members.ban", user_id="carol"))["type"] == "ok"


@pytest.mark.parametrize(("by", "whom"), [("creator", "sitemod"), ("roommod", "cohost")])
async def test_who_sits_on_another_node_is_not_bound_by_who_is_below(
    site: Site, another_site: MakeSite, by: str, whom: str
) -> None:
    """The node of who decides cannot know their role; what it decides binds only who is below."""
    there = await another_site()
    host, mod = await host_of(site), await site.join("roommod")
    await host.ask("members.promote", user_id="roommod")
    await mod.happened("members.promoted")
    token = there.token(whom, "moderator" if whom == "sitemod" else "host", room="demo")
    actors, above = {"creator": host, "roommod": mod}, await there.join(whom, token=token)
    for verb, text in (("mute", None), ("hide", None), ("warn", "no"), ("ban", None)):
        await actors[by].ask(f"members.{verb}", user_id=whom, **({"text": text} if text else {}))
    await above.happened("members.banned")
    reply = await above.ask("chat.send", text="still here")
    assert reply["type"] == "ok"
    assert (await host.happened("chat.sent", text="still here"))["seq"] == reply["seq"]
    again = await there.join(whom, token=token)
    assert again.welcome["you"]["muted"] is False
    assert [m for m in (*above.told, *again.told) if m["type"] == "members.warned"] == []
    assert (await there.http.post(f"/v1/rooms/demo/members/{whom}/mute", json={})).status_code == 200
    await above.happened("members.muted", by={"user_id": "platform", "name": ""})
    assert (await above.ask("chat.send", text="no"))["reason"] in ("muted", "not_allowed")


async def test_nobody_sees_a_hidden_person(site: Site, another_site: MakeSite) -> None:
    """No frame of a control viewer names them, whatever they do, but for what they paid: a gift is shown.

    What counts without a name (viewers, likes, a goal's progress) has them in it.
    """
    there = await another_site()
    host, control = await host_of(site), await there.join("control", codec="msgpack")
    mallory = await site.join("mallory")
    await site.give_coins("mallory", 10_000)
    await host.ask("members.hide", user_id="mallory")
    await host.ask("goals.set", kind="coins", title="Goal", target=90)
    await host.happened("goals.changed")
    await mallory.leave()
    seen = len(control.told)
    mallory, alice = await site.join("mallory"), await site.join("alice")
    await mallory.ask("likes.send", count=9)
    await mallory.ask("chat.send", text="does anybody hear me")
    await control.happened("likes.counted", total=9)
    await alice.ask("likes.send", count=2)
    liked = await control.happened("likes.counted", total=11)
    assert [row["user"]["user_id"] for row in liked["top"]] == ["alice"]
    await mallory.gift("crown")
    reached = await control.happened("goals.reached")
    assert reached["contributors"] == []
    await control.happened("board.changed")
    await control.until(
        lambda _: any(one["user_id"] == "alice" for e in control.events("viewers.counted") for one in e["joined"])
    )
    naming = {message["type"] for message in control.told[seen:] if "mallory" in str(message)}
    assert naming == {"gifts.sent"}
