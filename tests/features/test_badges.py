"""Badges of the room: each node knows them by itself, and they follow what happens."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.features.badges import MONTH_MS
from server.tokens import Facts
from tests.features.test_members import host_of
from tests.program import eventually
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


async def badges_of(viewer: Viewer, text: str, watcher: Viewer | None = None) -> list[str]:
    """What stands beside the name when somebody says this."""
    await viewer.ask("chat.send", text=text)
    return list((await (watcher or viewer).happened("chat.sent", text=text))["user"]["badges"])


async def test_staff(site: Site) -> None:
    """The host, a moderator of the room and one of the site; the token's badges come behind, none twice."""
    host, mod, alice = await host_of(site), await site.join("sam", "moderator"), await site.join("alice")
    assert await badges_of(host, "one", alice) == ["host"]
    assert await badges_of(mod, "two", alice) == ["mod"]
    assert await badges_of(alice, "three") == []
    await host.ask("members.promote", user_id="alice")
    await alice.happened("members.promoted")
    assert await badges_of(alice, "four") == ["mod"]
    sign = site.node.tokens.sign
    token = sign(sub="bob", name="Bob", role="moderator", exp_s=time.time() + 60, badges=("vip", "mod"))
    assert await badges_of(await site.join("bob", token=token), "five") == ["vip", "mod"]


async def test_the_first_of_the_board(site: Site, another_site: MakeSite) -> None:
    """On the next message and the next gift; also on a node that opens the room later; none after a new broadcast."""
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    await bob.gift("heart")
    await alice.happened("board.changed")
    await alice.gift("rose")
    await alice.until(lambda _: len(alice.events("board.changed")) > 1)
    assert await badges_of(alice, "one") == ["top:2"]
    sent = (await bob.gift("rose"))["id"]
    assert (await alice.happened("gifts.sent", id=sent))["from"]["badges"] == ["top:1"]
    there = await another_site()
    again = await there.join("bob")
    [room] = there.node.rooms.here()
    await _known(room)
    assert await badges_of(again, "two") == ["top:1"]
    await site.http.post("/v1/rooms/demo/end")
    await site.http.post("/v1/rooms/demo/start")
    assert await badges_of(await site.join("alice"), "three") == []


async def _known(room: Any) -> None:
    await eventually(lambda: bool(room.memory("badges", dict).ranks), what="the board")


@pytest.mark.parametrize(
    ("months", "badge"), [(0.0, "club:1"), (0.99, "club:1"), (1.01, "club:2"), (99_999, "club:999")]
)
async def test_the_club(site: Site, months: float, badge: str) -> None:
    """By the token alone: how many times 30 days one is in the club."""
    since_ms = max(0, int(time.time() * 1000 - months * MONTH_MS))
    facts = Facts(club_since_ms=since_ms)
    token = site.node.tokens.sign(sub="carol", name="Carol", role="viewer", exp_s=time.time() + 60, facts=facts)
    expected = badge if months < 999 else f"club:{1 + int(time.time() * 1000) // MONTH_MS}"
    assert await badges_of(await site.join("carol", token=token), "hello") == [expected]
    assert len("club:999") <= limits.BADGE_CHARS_MAX


async def test_nobody_knows_who_is_anonymous(site: Site) -> None:
    """An anonymous gift has one badge, also if the giver stands on the board."""
    alice = await site.join("alice")
    await alice.gift("heart")
    await alice.happened("board.changed")
    sent = (await alice.gift("rose", anonymous=True))["id"]
    assert (await alice.happened("gifts.sent", id=sent))["from"]["badges"] == ["anonymous"]
