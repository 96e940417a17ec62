"""HTTP requests and upgrades take a bounded part of each turn of the loop, however many come at once."""

import asyncio
import gc
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from server import limits
from server.edge.crowd import Crowd
from server.edge.door import STATE
from server.edge.patience import PatientHttp
from server.edge.turns import Arrivals
from tests.edge.test_door import ROOM, answer_to, request
from tests.edge.test_patience import Wire, answer
from tests.edge.test_turns import next_turn
from tests.program import eventually
from tests.site import Site

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"200 OK"


class Paused(Wire):
    """Knows whether it reads."""

    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Visitor:
    """An HTTP connection, and how many of its requests were read."""

    def __init__(self, arrivals: Arrivals) -> None:
        config = uvicorn.Config(answer, http=PatientHttp, log_config=None, access_log=False)
        config.load()
        self.wire = Paused()
        self.http = PatientHttp(config, ServerState(), {STATE: SimpleNamespace(arrivals=arrivals)})
        self.http.connection_made(self.wire)

    @property
    def read(self) -> bool:
        return self.http.cycle is not None


@pytest.fixture
async def crowd(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimpleNamespace]:
    """Connections on a node whose turns have no time for requests: each takes one."""
    monkeypatch.setattr(limits, "HEADS_TURN_S", 0.0)
    arrivals = Arrivals()
    visitors = [Visitor(arrivals) for _ in range(8)]
    yield SimpleNamespace(arrivals=arrivals, visitors=visitors)
    for each in visitors:
        each.http.connection_lost(None)


async def test_a_turn_reads_what_it_has_time_for(crowd: SimpleNamespace) -> None:
    """Of many requests each turn reads one, in order, and asks the others' peers for no more meanwhile."""
    for each in crowd.visitors:
        each.http.data_received(GET)
    for count in range(9):
        assert [each.read for each in crowd.visitors] == [True] * count + [False] * (8 - count)
        assert [each.wire.reading for each in crowd.visitors] == [True] * count + [False] * (8 - count)
        assert crowd.arrivals.held_bytes == (8 - count) * len(GET)
        await next_turn()
    await eventually(lambda: all(OK in each.wire.written for each in crowd.visitors), what="all answers")


async def test_a_turn_with_time_reads_at_once() -> None:
    """Few requests wait for nothing."""
    arrivals = Arrivals()
    visitor = Visitor(arrivals)
    visitor.http.data_received(GET)
    assert visitor.read
    assert arrivals.waits == 0
    visitor.http.connection_lost(None)


async def test_bytes_that_come_meanwhile(crowd: SimpleNamespace) -> None:
    """They are read behind those that wait, and reading is paused again."""
    visitor = crowd.visitors[0]
    visitor.http.data_received(GET[:20])
    visitor.http.flow.resume_reading()  # as the end of an earlier request does
    visitor.http.data_received(GET[20:])
    assert not visitor.wire.reading
    await next_turn()
    assert visitor.read
    assert crowd.arrivals.held_bytes == 0


async def test_who_leaves_the_line(crowd: SimpleNamespace) -> None:
    """A connection that was lost or given up meanwhile is not read, and holds nothing."""
    lost, late, last = crowd.visitors[:3]
    for each in (lost, late, last):
        each.http.data_received(GET)
    lost.http.connection_lost(None)
    late.http.give_up()
    for _ in range(3):
        await next_turn()
    assert [each.read for each in (lost, late, last)] == [False, False, True]
    assert crowd.arrivals.held_bytes == crowd.arrivals.waiting == 0


async def test_what_waits_has_a_bound(crowd: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above it a request is read at once: the loop may be late, but memory has an end."""
    monkeypatch.setattr(limits, "UNREAD_BYTES_MAX", len(GET))
    first, second = crowd.visitors[:2]
    first.http.data_received(GET)
    second.http.data_received(GET)
    assert (first.read, second.read) == (False, True)
    assert second.wire.reading


async def test_one_that_fails_is_closed_alone(crowd: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in reading ends that connection; the others are read."""
    broken, sound = crowd.visitors[:2]
    monkeypatch.setattr(broken.http, "_read", lambda _: 1 / 0)
    monkeypatch.setattr(broken.wire, "abort", broken.wire.close, raising=False)
    broken.http.data_received(GET)
    sound.http.data_received(GET)
    for _ in range(3):
        await next_turn()
    assert broken.wire.closed
    assert sound.read


def test_a_long_line_turns_people_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the line are let in, unless it is so long that who comes now had better come back."""
    monkeypatch.setattr(limits, "UNREAD_MAX", 100)
    crowd = Crowd()
    assert crowd.stay_away_s(0, 1.0, 99) is None
    assert crowd.stay_away_s(0, 1.0, 100) is not None
    assert crowd.stay_away_s(0, 1.0, 50) is not None
    assert crowd.stay_away_s(0, 1.0, 49) is None


@pytest.mark.parametrize("short", [True, False])
async def test_a_whole_crowd_is_let_in(site: Site, monkeypatch: pytest.MonkeyPatch, *, short: bool) -> None:
    """However little a turn reads, everybody gets the answer, on both ways and beside other requests."""
    monkeypatch.setattr(limits, "HEADS_TURN_S", 0.0)
    await site.node.rooms.open("demo")
    site.node.sessions.arrivals.turn()  # a turn begins that has no time
    end = "" if short else "&page=1"
    upgrades = [request(f"{ROOM}?token={site.token(f'fan-{n}')}{end}") for n in range(30)]
    other = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = await asyncio.gather(*(answer_to(site, each) for each in [*upgrades, other]))
    assert [each.status.split()[1] for each in answers] == ["101"] * 30 + ["200"]
    assert site.node.sessions.arrivals.waits > 0
    assert site.node.sessions.arrivals.held_bytes == 0


async def test_who_is_turned_away_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal leaves no circle to the garbage collector: for a crowd of them it took a tenth of a second at once."""
    monkeypatch.setattr(limits, "CROWD_MAX", 0)
    await site.node.rooms.open("demo")
    await asyncio.sleep(0)
    gc.collect()
    gc.disable()
    try:
        asked = request(f"{ROOM}?token={site.token('alice')}")
        answers = await asyncio.gather(*(answer_to(site, asked) for _ in range(10)))
        assert {each.status.split()[1] for each in answers} == {"503"}
        await eventually(lambda: not any(isinstance(each, PatientHttp) for each in gc.get_objects()), what="their end")
    finally:
        gc.enable()
