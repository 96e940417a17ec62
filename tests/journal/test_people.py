"""What staff decides, in SQL: rights that end while somebody acts, and two who decide at once. On both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protocol.closes import Close
from server.features import members
from tests.features.test_members import host_of
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def test_a_ban_takes_the_promotion(site: Site, another_site: MakeSite) -> None:
    """Everybody hears that too, once, before the ban; others lose nothing. Unbanned they are a viewer."""
    there = await another_site()
    host, bob, mod = await host_of(site), await there.join("bob", codec="msgpack"), await there.join("roommod")
    await host.ask("members.promote", user_id="roommod")
    await mod.happened("members.promoted")
    for user in ("roommod", "alice"):
        assert (await host.ask("members.ban", user_id=user, reason="spam"))["type"] == "ok"
    assert await mod.closed() == Close.BANNED
    await bob.happened("members.banned", user_id="alice")
    said = [(m["type"], m["user_id"]) for m in bob.events() if m["type"].startswith("members.")]
    assert said == [
        ("members.promoted", "roommod"),
        ("members.demoted", "roommod"),
        ("members.banned", "roommod"),
        ("members.banned", "alice"),
    ]
    assert len({m["id"] for m in bob.events("members.demoted") + bob.events("members.banned")}) == 3
    await host.ask("members.unban", user_id="roommod")
    again = await there.join("roommod")
    assert again.welcome["you"]["role"] == "viewer"


@pytest.mark.parametrize("verb", ["demote", "ban"])
async def test_an_act_in_the_moment_of_a_demotion(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """SQL decides what came first: an act that was checked before, and comes to SQL after, is refused without a row."""
    there = await another_site()
    host, mod, alice = await host_of(there), await site.join("roommod"), await site.join("alice")
    await host.ask("members.promote", user_id="roommod")
    await mod.happened("members.promoted")
    passed, go_on = asyncio.Event(), asyncio.Event()
    checked = members.act

    async def late(services: Any, room_id: str, by: Any, deed: Any) -> None:
        passed.set()
        await go_on.wait()
        await checked(services, room_id, by, deed)

    with monkeypatch.context() as patch:
        patch.setattr(members, "act", late)
        asking = asyncio.create_task(mod.ask("members.mute", user_id="alice"))
        await passed.wait()
    assert (await host.ask(f"members.{verb}", user_id="roommod"))["type"] == "ok"
    go_on.set()
    if verb == "demote":
        assert (await asking)["reason"] == "not_allowed"
    assert (await alice.ask("chat.send", text="heard"))["type"] == "ok"
    acts = (await site.http.get("/v1/rooms/demo/moderation")).json()["acts"]
    assert [act["act"] for act in acts] == [f"members.{verb}", "members.promote"]
    asking.cancel()


async def test_two_decide_about_somebody_new(site: Site, another_site: MakeSite) -> None:
    """Both decisions hold, though there was no row to lock."""
    there = await another_site()
    host, mod = await host_of(site), await there.join("mod", "moderator")
    for number in range(10):
        who = f"troll-{number}"
        replies = await asyncio.gather(host.ask("members.mute", user_id=who), mod.ask("members.hide", user_id=who))
        assert [reply["type"] for reply in replies] == ["ok", "ok"], replies
    listed = (await site.http.get("/v1/rooms/demo/members")).json()["members"]
    assert [(each["muted"], each["hidden"]) for each in listed] == [(True, True)] * 10
