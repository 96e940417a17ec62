"""A room's history over HTTP: every event once, in order, by type, and each hole is named."""

from typing import Any

import httpx
import pytest

from server import limits
from server.http.api import HttpError
from server.http.events import Gap, start_of
from server.rooms import unsaid
from server.store import keys
from tests.conftest import Stores
from tests.site import Site

PATH = "/v1/rooms/mine/events"
META = {"epoch": "now", "seq": "9", "prev": "before", "base": "5"}


async def talk(site: Site, lines: int) -> list[dict[str, Any]]:
    """Make a room in which somebody says so many lines. Returns its events as a socket got them."""
    await site.put_room("mine", live=False)
    obs = await site.join("obs", "overlay", room="mine")
    await site.http.post("/v1/rooms/mine/start")
    alice = await site.join("alice", room="mine")
    for number in range(lines):
        assert (await alice.ask("chat.send", text=f"line {number}"))["type"] == "ok"
    await obs.happened("chat.sent", text=f"line {lines - 1}")
    await alice.leave()
    return obs.events()


async def page(site: Site, **asked: Any) -> dict[str, Any]:
    done = await site.http.get(PATH, params=asked)
    assert done.status_code == 200, done.text
    found: dict[str, Any] = done.json()
    return found


async def all_pages(site: Site, **asked: Any) -> list[dict[str, Any]]:
    pages = [await page(site, **asked)]
    while pages[-1]["next"] is not None:
        pages.append(await page(site, **dict(httpx.QueryParams(pages[-1]["next"]))))
        assert len(pages) < 100
    return pages


async def test_page_by_page(site: Site) -> None:
    """The pages together are the history, as sockets have it; who comes back with the position gets what is new."""
    told = await talk(site, 7)
    pages = await all_pages(site, limit=3)
    events = [event for each in pages for event in each["events"]]
    assert [each for each in pages if each["gaps"]] == []
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event for event in events if event in told] == told
    assert (await page(site, after=pages[-1]["position"]))["events"] == []
    await site.http.post("/v1/rooms/mine/pause")
    assert "room.paused" in [event["type"] for event in (await page(site, after=pages[-1]["position"]))["events"]]


async def test_some_types_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at a bounded part of the history, and may have few events or none; the next one goes on."""
    monkeypatch.setattr(limits, "EVENTS_LOOK", 4)
    told = await talk(site, 9)
    for limit in (1, 3, 100):
        pages = await all_pages(site, types="chat.sent,room.paused", limit=limit)
        assert max(len(each["events"]) for each in pages) <= min(limit, 4)
        events = [event for each in pages for event in each["events"]]
        assert events == [event for event in told if event["type"] == "chat.sent"]
        assert all("types=" in each["next"] for each in pages[:-1])


async def test_what_is_no_longer_kept(site: Site, stores: Stores) -> None:
    """The hole has its first and its last seq, also when nothing at all is left."""
    await talk(site, 5)
    whole = await page(site)
    epoch, head = whole["epoch"], whole["events"][-1]["seq"]
    with stores.room.client() as client:
        client.xtrim(keys.room("mine", keys.EVENTS), minid="4-0", approximate=False)
    cut = await page(site, after=f"{epoch}:1", limit=2)
    assert cut["gaps"] == [{"epoch": epoch, "from": 2, "to": 3}]
    assert [event["seq"] for event in cut["events"]] == [4, 5]
    assert (await page(site))["gaps"] == [{"epoch": epoch, "from": 1, "to": 3}]
    assert (await page(site, after=f"{epoch}:3"))["gaps"] == []
    with stores.room.client() as client:
        client.delete(keys.room("mine", keys.EVENTS))
    gone = await page(site, after=f"{epoch}:{head - 1}", types="chat.sent")
    newest = int(gone["position"].rpartition(":")[2])
    assert (gone["gaps"], gone["events"], gone["next"]) == ([{"epoch": epoch, "from": head, "to": newest}], [], None)


@pytest.mark.parametrize(
    ("after", "seq", "lost"),
    [
        (None, 0, ()),
        ("now:9", 9, ()),
        ("now:0", 0, ()),
        ("before:3", 3, (Gap("before", 6, None),)),
        ("before:5", 5, (Gap("before", 6, None),)),
        ("before:8", 5, (Gap("before", 9, None),)),
        ("older:8", 0, (Gap("older", 9, None),)),
    ],
)
def test_where_a_page_begins(after: str | None, seq: int, lost: tuple[Gap, ...]) -> None:
    """With another epoch nobody knows what is lost; the one before has the same events up to the base."""
    start = start_of(after, META)
    assert (start.seq, start.lost) == (seq, lost)


def test_a_place_ahead() -> None:
    """No room has been there."""
    with pytest.raises(HttpError):
        start_of("now:10", META)


async def test_what_is_refused(site: Site) -> None:
    """Without the key; a room that is not there; a type that is not, or too many."""
    await site.put_room("mine")
    assert (await site.http.get(PATH, headers={"Authorization": ""})).status_code == 401
    assert (await site.http.get("/v1/rooms/nowhere/events")).status_code == 404
    for asked in ({"types": "chat.said"}, {"types": ",".join(["chat.sent"] * (limits.EVENT_TYPES_MAX + 1))}):
        assert (await site.http.get(PATH, params=asked)).status_code == 400
    assert (await page(site, types=",".join(["chat.sent"] * limits.EVENT_TYPES_MAX)))["events"] == []


async def test_deleted_chat(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on no page, neither by id nor by its author; what they say later is. A page that is read again, too."""
    monkeypatch.setattr(limits, "EVENTS_LOOK", 2)
    monkeypatch.setattr(unsaid, "ROOMS_MAX", 1)
    await talk(site, 2)
    host = await site.join("creator", token=site.token("creator", "host", room="mine"), room="mine")
    eve, bob = await site.join("eve", room="mine"), await site.join("bob", room="mine")
    await eve.ask("chat.send", text="bad")
    said = (await bob.ask("chat.send", text="worse"))["id"]

    async def texts() -> list[str]:
        pages = await all_pages(site, limit=2, types="chat.sent")
        assert [each for each in pages if each["gaps"]] == []
        return [event["text"] for each in pages for event in each["events"]]

    assert await texts() == ["line 0", "line 1", "bad", "worse"]
    await host.ask("chat.delete", ids=[said])
    assert await texts() == ["line 0", "line 1", "bad"]
    await host.ask("chat.delete", user_id="eve")
    await eve.ask("chat.send", text="sorry")
    assert await texts() == ["line 0", "line 1", "sorry"]
    await site.join("alice")
    assert (await site.http.get("/v1/rooms/demo/events")).status_code == 200  # another room takes the place
    assert await texts() == ["line 0", "line 1", "sorry"]
    assert sum(len(each["events"]) for each in await all_pages(site, types="chat.deleted")) == 2
