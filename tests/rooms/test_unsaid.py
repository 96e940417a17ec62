"""What staff deleted comes to nobody again: neither the message nor a quote of it, from the ring or the history."""

from typing import Any

import pytest

from server import limits
from server.rooms.newest import _Newest
from server.rooms.replay import _Missed
from tests.site import Site, Viewer


@pytest.fixture(autouse=True)
def _each_snapshot_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0.0)


@pytest.fixture
async def host(site: Site) -> Viewer:
    return await site.join("creator", token=site.token("creator", "host", room="demo"))


async def say(viewer: Viewer, text: str, **more: Any) -> str:
    said = await viewer.ask("chat.send", text=text, **more)
    await viewer.happened("chat.sent", id=said["id"])
    return str(said["id"])


async def missed(site: Site, since: str, *, ring: bool, **how: Any) -> list[tuple[str, str | None]]:
    """Text and quote of each chat that somebody gets who comes back; everything else is there, and once."""
    [room] = site.node.rooms.here()
    if not ring:
        room.outbox.begin(room.head)
        room.memory("missed", _Missed).to = room.memory("newest", _Newest).to = 0
    viewer = await site.join("late", "bot", since=since, **how)
    await viewer.ask("ping")
    again = [event for event in viewer.events() if event["seq"] <= viewer.welcome["seq"]]
    assert all(event["replayed"] for event in again)
    assert [event["seq"] for event in again] == sorted({event["seq"] for event in again})
    await viewer.leave()
    chats = [event for event in again if event["type"] == "chat.sent"]
    return [(event["text"], event.get("reply_to", {}).get("text")) for event in chats]


@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_who_comes_back(site: Site, host: Viewer, codec: str, ring: bool) -> None:
    """They miss nothing else, and may have seen the deleted message themselves."""
    alice, bob = await site.join("alice"), await site.join("bob")
    start = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    bad = await say(bob, "bad")
    seen = f"{alice.welcome['epoch']}:{(await alice.happened('chat.sent', id=bad))['seq']}"
    good = await say(alice, "good")
    await say(alice, "indeed", reply_to=good)
    await say(alice, "why?", reply_to=bad)
    await say(bob, "worse")
    assert len(await missed(site, start, ring=ring, codec=codec)) == 5
    await host.ask("chat.delete", ids=[bad])
    how: dict[str, Any] = {"ring": ring, "codec": codec}
    left = [("good", None), ("indeed", "good"), ("why?", None), ("worse", None)]
    assert await missed(site, start, **how) == [*left]
    assert await missed(site, seen, **how) == [*left]
    await host.ask("chat.delete", user_id="alice")
    assert await missed(site, start, **how) == [("worse", None)]
    await say(alice, "sorry")
    assert await missed(site, start, **how) == [("worse", None), ("sorry", None)]
    assert await missed(site, "another:1", chats=9, **how) == [("worse", None), ("sorry", None)]


async def test_nobody_else_is_quoted_wrongly(site: Site, host: Viewer) -> None:
    """A text that looks like an id is a text."""
    alice = await site.join("alice")
    start = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    bad = await say(alice, "bad")
    await say(alice, f'"id":"{bad}"')
    await host.ask("chat.delete", ids=[bad])
    assert await missed(site, start, ring=True) == [(f'"id":"{bad}"', None)]


async def test_the_history_over_http(site: Site, host: Viewer) -> None:
    """No quote there either."""
    alice = await site.join("alice")
    bad = await say(alice, "bad")
    await say(alice, "why?", reply_to=bad)
    await host.ask("chat.delete", ids=[bad])
    page = (await site.http.get("/v1/rooms/demo/events?types=chat.sent")).json()
    assert [(event["text"], "reply_to" in event) for event in page["events"]] == [("why?", False)]
