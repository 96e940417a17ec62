"""The scripts of rooms, one by one: what they return and what they leave in the store, at an exact moment."""

import json
from collections.abc import Iterator

import pytest

from server.rooms.admin import DELETE, PUT, TURN
from server.rooms.history import APPEND, SNAPSHOT, WAKE
from server.store import keys
from tests.conftest import Stores
from tests.frozen import EVENTS, META, NOW_MS, ROOM, Frozen

KEPT_S = 500
BOARD, NAMES, STATE, LIKERS, SEEN = (keys.room(ROOM, name) for name in ("board", "names", "state", "likers", "seen"))


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        yield frozen
        frozen.close()


# --- history -------------------------------------------------------------------------------------------------------
def test_an_event_is_kept_and_told(store: Frozen) -> None:
    """With the next seq and the time; every node hears it with the epoch."""
    assert store.run(APPEND, body="{}") == ["no_room"]
    assert not store.client.exists(EVENTS)
    store.made(seq=41)
    store.now_ms = NOW_MS + 7
    assert store.run(APPEND, body='{"type":"x"}') == ["ok", "42"]
    assert store.history() == [("42-1", str(NOW_MS + 7), '{"type":"x"}')]
    assert store.told() == f'e1 42 {NOW_MS + 7} {{"type":"x"}}'
    assert store.client.ttl(EVENTS) == -1


def test_a_history_is_bounded_and_expires_without_a_broadcast(store: Frozen) -> None:
    """The store cuts whole nodes of a hundred entries; `kept_s` is the room's."""
    store.made(kept_s=KEPT_S)
    for _ in range(250):
        store.run(APPEND, body="{}", keep=10)
    assert 10 <= store.client.xlen(EVENTS) <= 110
    assert 0 < store.client.ttl(EVENTS) <= KEPT_S


def test_a_snapshot(store: Frozen) -> None:
    """The definition, the first ranks with their names, and the state; who has no name is called by the id."""
    assert store.run(SNAPSHOT, rows=2) == ["no_room"]
    store.made()
    store.client.zadd(BOARD, {"a": 5, "b": 9, "c": 1})
    store.client.hset(NAMES, "b", "Bob")
    store.client.hset(STATE, "k", "v")
    ok, about, ranks, names, state = store.run(SNAPSHOT, rows=2)
    assert (ok, ranks, names, state) == ("ok", ["b", "9", "a", "5"], ["Bob", "a"], ["k", "v"])
    assert dict(zip(about[::2], about[1::2], strict=True))["epoch"] == "e1"


def test_a_room_wakes_once(store: Frozen) -> None:
    """On a store that may have lost something it gets a new epoch, and remembers the old one."""
    wake = {"identity": "s2", "whole": 0, "epoch": "e2"}
    assert store.run(WAKE, **wake) == "no_room"
    store.made(store="s1", seq=7)
    assert store.run(WAKE, **wake) == "renewed"
    assert store.meta("epoch", "prev", "base", "store") == ["e2", "e1", "7", "s2"]
    assert store.run(WAKE, **wake) == "known"
    assert store.run(WAKE, identity="s3", whole=1, epoch="e3") == "whole"
    assert store.run(WAKE, identity="s3", whole=0, epoch="e3") == "known"
    assert store.meta("epoch", "prev", "base", "store") == ["e2", "e1", "7", "s3"]


# --- the definition ------------------------------------------------------------------------------------------------
OLD = {"host_id": "h", "host_name": "H", "title": "T", "settings": "{s}", "shown_settings": "{}", "details": ""}


def put(store: Frozen, *, expected: str = "", **changed: str) -> str:
    """Put the room, with these changes of OLD."""
    named = {**OLD, **changed}
    new = {
        "new_host": ',"host":1',
        "new_title": ',"title":2',
        "new_settings": ',"settings":3',
        "new_details": ',"language":4',
    }
    about = {"epoch": "e9", "identity": "s", "kept_s": KEPT_S, "updated": '{"type":"u"}'}
    return str(store.run(PUT, expected=expected, **about, **named, **new)[0])


def test_a_room_is_made(store: Frozen) -> None:
    """Offline, at seq 0, without an event; what nobody made cannot be patched."""
    assert put(store, expected="h\0H\0T\0{s}\0") == "no_room"
    assert not store.client.exists(META)
    assert put(store) == "created"
    made = {"epoch": "e9", "store": "s", "seq": "0", "status": "offline", "kept_s": str(KEPT_S)}
    assert store.client.hgetall(META) == {**made, **OLD}
    assert put(store) == "unchanged"
    assert store.history() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host_id": "h2"}, ',"host":1'),
        ({"host_name": "H2"}, ',"host":1'),
        ({"title": "T2"}, ',"title":2'),
        ({"settings": "{s2}"}, ""),  # of staff alone: nobody is shown it
        ({"settings": "{s2}", "shown_settings": "{2}"}, ',"settings":3'),
        ({"details": "{d2}"}, ',"language":4'),
        ({"host_id": "h2", "title": "T2"}, ',"host":1,"title":2'),
    ],
)
def test_a_change_is_published(store: Frozen, changed: dict[str, str], said: str) -> None:
    """The event has what has changed, and the room has all of it. Again, it changes nothing."""
    put(store)
    assert put(store, **changed) == "updated"
    assert store.bodies() == [f'{{"type":"u"{said}}}']
    assert store.meta(*OLD) == [{**OLD, **changed}[name] for name in OLD]
    assert put(store, **changed) == "unchanged"
    assert len(store.bodies()) == 1


def test_a_change_of_what_has_changed(store: Frozen) -> None:
    """It is based on something that is not there any more."""
    put(store)
    assert put(store, expected="h\0H\0other\0{s}", title="T2") == "changed"
    assert store.meta("title") == ["T"]
    assert put(store, expected="h\0H\0T\0{s}\0", title="T2") == "updated"


# --- the status ----------------------------------------------------------------------------------------------------
def turn(store: Frozen, status: str, allowed: str = " offline live paused ended ", broadcast: str = "") -> list[str]:
    about = {"audience": keys.room(ROOM, "audience", ""), "started_at_ms": 5, "kept_s": KEPT_S, "body": f'"{status}"'}
    return list(store.run(TURN, allowed=allowed, status=status, broadcast=broadcast, **about))


def fill(store: Frozen) -> list[str]:
    """Something under each of the room's keys that a turn knows; their names, without `meta`."""
    for name in (BOARD, LIKERS):
        store.client.zadd(name, {"u": 3})
    store.client.hset(NAMES, "u", "U")
    store.client.hset(STATE, "k", "v")
    store.client.sadd(SEEN, "u")
    store.run(APPEND, body="0")
    return [BOARD, LIKERS, NAMES, STATE, SEEN, EVENTS]


def test_a_turn_that_is_not_possible(store: Frozen) -> None:
    """Without a room, from another status, or when it is there already."""
    assert turn(store, "paused") == ["no_room"]
    store.made(status="live")
    assert turn(store, "live") == ["unchanged"]
    assert turn(store, "paused", allowed=" liver paused ") == ["wrong_status", "live"]
    assert (store.meta("status"), store.history()) == (["live"], [])


def test_a_pause_changes_nothing_else(store: Frozen) -> None:
    """Nothing expires."""
    store.made(coins=9)
    names = fill(store)
    for status in ("paused", "live"):
        assert turn(store, status) == ["ok"]
    assert store.bodies()[1:] == ['"paused"', '"live"']
    assert store.meta("status", "coins", "kept_s") == ["live", "9", None]
    assert {store.client.ttl(name) for name in (META, *names)} == {-1}


@pytest.mark.parametrize("status", ["ended", "suspended"])
def test_after_a_broadcast_everything_but_the_room_expires(store: Frozen, status: str) -> None:
    """Its seqs stay: nobody may use one again."""
    store.made()
    names = fill(store)
    assert turn(store, status) == ["ok"]
    assert all(0 < store.client.ttl(name) <= KEPT_S for name in names)
    assert store.client.ttl(META) == -1
    assert store.meta("status", "kept_s") == [status, str(KEPT_S)]


def test_what_a_broadcast_leaves_for_its_summary(store: Frozen) -> None:
    """Its figures and who watched it, when it ends, paused or not. A pause, and the end of nothing, leave none."""
    ended, watched = keys.room(ROOM, "ended"), keys.room(ROOM, "audience", "b1")
    store.made(host_id="h", host_name="H", title="T", likes=4, chats=5, started_at_ms=7, peak=1)
    fill(store)
    store.client.hset(keys.room(ROOM, "present"), mapping={"u": 1, "v": 1})
    store.client.sadd(SEEN, "v", "w")
    assert turn(store, "paused") == ["ok"]
    assert (store.client.exists(ended, watched), store.meta("unsummed")) == (0, [None])
    assert turn(store, "ended") == ["ok"]
    found = json.loads(store.client.hget(ended, "b1"))
    assert found == {
        "host_id": "h",
        "host_name": "H",
        "title": "T",
        "status": "ended",
        "started_at_ms": "7",
        "ended_at_ms": str(NOW_MS),
        "peak": "2",
        "unique": "3",
        "likes": "4",
        "chats": "5",
    }
    assert store.client.smembers(watched) == {"u", "v", "w"}
    assert 0 < store.client.ttl(watched) <= KEPT_S
    assert store.meta("peak", "unique", "unsummed") == ["2", "3", "1"]
    store.client.delete(ended, watched)
    assert turn(store, "suspended") == ["ok"]
    assert store.client.exists(ended, watched) == 0


def test_nobody_watched(store: Frozen) -> None:
    store.made()
    assert turn(store, "ended") == ["ok"]
    assert json.loads(store.client.hget(keys.room(ROOM, "ended"), "b1"))["unique"] == "0"
    assert not store.client.exists(keys.room(ROOM, "audience", "b1"))


def test_the_next_broadcast_begins_at_zero(store: Frozen) -> None:
    """With the people who are here; nothing expires any more, and the history goes on."""
    store.made(coins=9, board_coins=9, likes=4, kept_s=KEPT_S, status="ended", now=1, peak=7, unique=8)
    names = fill(store)
    people = {f"v{n}": 1 for n in range(2_500)}
    present = keys.room(ROOM, "present")
    store.client.hset(present, mapping=people)
    for name in (*names, present):
        store.client.expire(name, 60)
    assert turn(store, "live", broadcast="b2") == ["ok"]
    totals = ["0", "0", "0", "2500", "2500", "2500"]
    assert store.meta("coins", "board_coins", "likes", "now", "peak", "unique") == totals
    assert store.meta("broadcast", "started_at_ms", "status", "kept_s") == ["b2", "5", "live", None]
    assert [store.client.exists(name) for name in (BOARD, LIKERS, NAMES, STATE)] == [0] * 4
    assert store.client.smembers(SEEN) == people.keys()
    assert {store.client.ttl(name) for name in (META, EVENTS, SEEN, present)} == {-1}
    assert store.bodies() == ["0", '"live"']


def test_a_room_is_deleted(store: Frozen) -> None:
    """After its last event nothing of it is left, nor the sets of nodes that have viewers there."""
    each = [{"key": key, "name": name} for name, key in keys.all_of_a_room(ROOM).items()]
    assert store.run(DELETE, body="end", each=each) == ["no_room"]
    store.made()
    fill(store)
    nodes = [keys.room(ROOM, "node", name) for name in ("n1", "n2")]
    store.client.zadd(keys.room(ROOM, "nodes"), {"n1": 1, "n2": 2})
    for name in nodes:
        store.client.sadd(name, "u")
    assert store.run(DELETE, body="end", each=each) == ["ok"]
    assert store.told() == f"e1 1 {NOW_MS} 0"
    assert store.told() == f"e1 2 {NOW_MS} end"
    assert store.client.keys("*") == []
