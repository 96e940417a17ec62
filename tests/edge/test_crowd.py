"""When too many come at once, some are asked to come back, each at a time of its own, before anybody waits for long."""

import re
import socket
from collections import Counter

import pytest
import websockets

from server import limits
from server.edge.crowd import Crowd, queue_of
from server.edge.door import Door
from tests.edge.test_door import ROOM, Way, answer_to, request, way
from tests.edge.test_refusing import closed
from tests.site import Site

__all__ = ["way"]


def test_the_queue_of_a_listener() -> None:
    """The kernel says how many wait to be accepted, also through a copy of the handle; and 0 of another socket."""
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as other:
        assert queue_of(listener) == queue_of(other) == (0, 0)
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        assert queue_of(listener) == (0, 10)
        made = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        with listener.dup() as copy:
            assert queue_of(copy) == queue_of(listener) == (3, 10)
        for each in made:
            each.close()


def test_a_crowd_begins_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins at the bound, and ends when half of them are in: those who wait in the kernel's queue count, too."""
    monkeypatch.setattr(limits, "CROWD_MAX", 10)
    crowd = Crowd()
    assert crowd.stay_away_s(9, 1.0) is None
    assert crowd.stay_away_s(10, 1.0) is not None
    assert crowd.stay_away_s(5, 1.0) is not None
    assert crowd.stay_away_s(4, 1.0) is None
    assert crowd.stay_away_s(9, 1.0) is None
    assert crowd.turned_away == 2
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        crowd.watch([listener])
        made = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        assert crowd.stay_away_s(4, 1.0) is None
        assert crowd.stay_away_s(5, 1.0) is not None  # 8 of the 16 who may wait there
        for each in made:
            each.close()


def test_each_has_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes back before a second or after half a minute, and only so many come in each second."""
    monkeypatch.setattr(limits, "CROWD_MAX", 0)
    crowd, count = Crowd(), 2 * int(limits.RETURNS_PER_S * limits.RETURN_S_MAX)
    waits = [crowd.stay_away_s(0, 5.0) or 0.0 for _ in range(count)]
    assert limits.RETURN_S_MIN <= min(waits) <= max(waits) <= limits.RETURN_S_MAX
    seconds = Counter(int(wait - 1e-6) for wait in waits)
    assert max(seconds.values()) <= 3 * limits.RETURNS_PER_S  # twice as many as there are places
    assert crowd.stay_away_s(0, 1_000.0) == pytest.approx(limits.RETURN_S_MIN, abs=0.01)


@pytest.mark.parametrize("lines", [[], ["Sec-WebSocket-Protocol: liveroom.v1.json"], ["Sec-WebSocket-Protocol: x"]])
@pytest.mark.parametrize("query", ["token={}", "token=", "token={}&refusals=close", "token={}&refusals=http"])
async def test_both_ways_turn_people_away_alike(
    site: Site, way: Way, monkeypatch: pytest.MonkeyPatch, query: str, lines: list[str]
) -> None:
    """On the short way nobody is let in either, and head and body are the same."""
    monkeypatch.setattr(limits, "CROWD_MAX", 0)
    monkeypatch.setattr(Crowd, "place_s", lambda *_: 3.5)
    made, answers = request(f"{ROOM}?{query.format(site.token('alice'))}", *lines), []
    for way.open in (True, False):
        answers.append(await answer_to(site, made))
    assert answers[0] == answers[1]
    assert way.taken == (lines[-1:] != ["Sec-WebSocket-Protocol: x"] or "close" not in query)
    assert ("503" in answers[0].status) is ("close" not in query)
    assert answers[0].headers.get("retry-after", "4") == "4"
    assert not site.node.sessions.connections


@pytest.mark.parametrize("short", [True, False])
async def test_when_the_crowd_is_in(site: Site, monkeypatch: pytest.MonkeyPatch, *, short: bool) -> None:
    """Pages get 4006 with the wait, others the status; afterwards everybody is let in again."""
    await site.node.rooms.open("demo")
    if not short:
        monkeypatch.setattr(Door, "enter", lambda *_: False)
    address = site.address(token=site.token("alice"))
    with monkeypatch.context() as crowded:
        crowded.setattr(limits, "CROWD_MAX", 0)
        code, reason = await closed(site, address)
        assert code == 4006
        assert limits.RETURN_S_MIN * 1000 <= int(re.fullmatch(r"retry_after_ms=(\d+)", reason)[1]) < 2_000  # type: ignore[index]
        with pytest.raises(websockets.InvalidStatus) as error:
            await site.join("alice")
        assert error.value.response.status_code == 503
        assert error.value.response.headers["Retry-After"] == "2"
        assert b'"crowded"' in (error.value.response.body or b"")
    assert (await site.join("alice")).welcome["type"] == "welcome"
