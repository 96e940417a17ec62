"""The scripts of chat, likes and viewers, one by one: what they return and leave, at an exact moment."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from server.features.chat import HIDE, SEND
from server.features.likes import COUNT as COUNT_LIKES
from server.features.viewers import COUNT as COUNT_VIEWERS
from server.store import keys
from tests.conftest import Stores
from tests.frozen import NOW_MS, ROOM, Frozen

LIKERS, NAMES = keys.room(ROOM, "likers"), keys.room(ROOM, "names")
PRESENT, NODES, SEEN = (keys.room(ROOM, name) for name in ("present", "nodes", "seen"))


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        yield frozen
        frozen.close()


# --- chat ----------------------------------------------------------------------------------------------------------
def say(store: Frozen, text: str = "hi", user: str = "alice", **limits: int) -> list[str]:
    limits = {"slow_ms": 0, "unique_ms": 0, "per_s": 0, **limits}
    named = {
        "talk": keys.room(ROOM, "talk", user),
        "own": keys.room(ROOM, "own", user),
        "user_id": user,
        "text_hash": text,
        "body": f'{{"t":"{text}"}}',
    }
    return list(store.run(SEND, own_max=2, own_s=60, each=[{**named, **limits}])[0])


def test_a_message_is_appended(store: Frozen) -> None:
    """Nothing is remembered of who may say everything."""
    assert say(store) == ["no_room"]
    store.made()
    assert [say(store), say(store)] == [["ok", "1"], ["ok", "2"]]
    assert store.bodies() == ['{"t":"hi"}'] * 2
    assert not store.client.exists(keys.room(ROOM, "talk", "alice"))


@pytest.mark.parametrize(("status", "first"), [("live", "ok"), ("paused", "ok"), ("ended", "room_not_live")])
def test_when_a_room_takes_messages(store: Frozen, status: str, first: str) -> None:
    """While a broadcast runs, paused or not. A refused message counts nowhere."""
    store.made(status=status)
    assert say(store)[0] == first
    assert store.meta("chats", "seq") == (["1", "1"] if first == "ok" else [None, "0"])


def test_a_message_that_fails_stops_no_other(store: Frozen) -> None:
    """Its sender gets an answer, and the next message is shown."""
    store.made()
    store.client.set(keys.room(ROOM, "talk", "alice"), "not a hash")
    assert say(store, slow_ms=500)[0] == "failed"
    assert "WRONGTYPE" in say(store, slow_ms=500)[1]
    assert store.meta("chats") == [None]
    assert say(store, user="bob", slow_ms=500) == ["ok", "1"]


def test_slow_mode_ends_in_time(store: Frozen) -> None:
    """To the millisecond, each person alone; a refusal does not begin it again."""
    store.made()
    slow = {"slow_ms": 500}
    assert say(store, "a", **slow) == ["ok", "1"]
    assert 0 < store.client.pttl(keys.room(ROOM, "talk", "alice")) <= 500
    store.now_ms += 499
    assert say(store, "b", **slow) == ["slow_mode", "1"]
    assert say(store, "b", "bob", **slow) == ["ok", "2"]
    store.now_ms += 1
    assert say(store, "b", **slow) == ["ok", "3"]
    assert say(store, "c", **slow) == ["slow_mode", "500"]


def test_the_same_may_be_said_again_in_time(store: Frozen) -> None:
    """Other words may be said before; the time is that of the last message."""
    store.made()
    unique = {"unique_ms": 700}
    assert say(store, **unique) == ["ok", "1"]
    assert 500 < store.client.pttl(keys.room(ROOM, "talk", "alice")) <= 700
    store.now_ms += 699
    assert say(store, **unique) == ["duplicate_text", "1"]
    store.now_ms += 1
    assert say(store, **unique) == ["ok", "2"]
    assert say(store, "other", **unique) == ["ok", "3"]
    assert say(store, **unique) == ["ok", "4"]


def test_both_rules_at_once(store: Frozen) -> None:
    """The longer one decides how long it is remembered."""
    store.made()
    both = {"slow_ms": 100, "unique_ms": 900}
    say(store, **both)
    assert 100 < store.client.pttl(keys.room(ROOM, "talk", "alice")) <= 900
    assert say(store, "other", **both) == ["slow_mode", "100"]
    store.now_ms += 100
    assert say(store, **both) == ["duplicate_text", "800"]
    assert say(store, "other", **both) == ["ok", "2"]


def test_a_rooms_budget(store: Frozen) -> None:
    """It is a second's worth at most, grows with time, and one message needs one whole. Who is exempt takes none."""
    store.made()
    budget = {"per_s": 2}
    assert [say(store, **budget)[0] for _ in range(3)] == ["ok", "ok", "hidden"]
    assert say(store, **budget) == ["hidden", "2"]
    assert say(store)[0] == "ok"
    store.now_ms += 499
    assert say(store, **budget)[0] == "hidden"
    store.now_ms += 1
    assert [say(store, **budget)[0] for _ in range(2)] == ["ok", "hidden"]
    assert store.meta("chat_left", "chat_at") == ["0.000", str(NOW_MS + 500)]
    store.now_ms += 750
    assert say(store, **budget)[0] == "ok"
    assert store.meta("chat_left") == ["0.500"]
    store.now_ms += 60_000
    assert [say(store, **budget)[0] for _ in range(3)] == ["ok", "ok", "hidden"]


@pytest.mark.parametrize(
    ("standing", "answer"),
    [
        ({"muted_until_ms": NOW_MS + 1}, ["muted", "1"]),
        ({"muted_until_ms": NOW_MS}, ["ok", "1"]),
        ({"muted_until_ms": 2**53 - 1}, ["muted", "0"]),
        ({"muted_until_ms": 2**53 - 2}, ["muted", str(2**53 - 2 - NOW_MS)]),
        ({"muted_until_ms": NOW_MS + 1, "muted_in": "b1"}, ["muted", "1"]),
        ({"muted_until_ms": NOW_MS + 1, "muted_in": "b0"}, ["ok", "1"]),
        ({"warned": {"text": "no"}}, ["warned", "0"]),
        ({}, ["ok", "1"]),
    ],
)
def test_what_staff_decided_holds(store: Frozen, standing: dict[str, Any], answer: list[str]) -> None:
    """Of the sender, now and in this broadcast."""
    store.made()
    store.client.hset(keys.room(ROOM, "people"), "alice", f"7 {json.dumps(standing)}")
    assert say(store, slow_ms=500, per_s=9) == answer
    assert say(store, user="bob")[0] == "ok"
    assert store.client.exists(keys.room(ROOM, "talk", "alice")) == (answer[0] == "ok")


def test_nothing_decided_binds_who_is_exempt(store: Frozen) -> None:
    """Staff is asked by its node, which knows who is above them."""
    store.made()
    store.client.hset(keys.room(ROOM, "people"), "alice", f'7 {{"muted_until_ms":{NOW_MS + 1}}}')
    assert say(store) == ["ok", "1"]


def test_a_hidden_person_is_heard_by_no_history(store: Frozen) -> None:
    """The nodes learn of the message, which has no seq; the rules and the budget hold for it as for others."""
    store.made(seq=6)
    store.client.hset(keys.room(ROOM, "people"), "alice", '7 {"hidden":true}')
    assert say(store, slow_ms=500, per_s=1) == ["shadowed", "6"]
    assert store.told() == f'e1 0 shadow alice {{"at_ms":{NOW_MS},"t":"hi"}}'
    assert (store.history(), store.meta("seq", "chat_left")) == ([], ["6", "0.000"])
    assert say(store, slow_ms=500, per_s=1) == ["slow_mode", "500"]
    assert say(store, per_s=1) == ["hidden", "6"]


def test_a_hidden_persons_own_messages_are_kept(store: Frozen) -> None:
    """The newest ones, for a while, each with its broadcast; nobody else's are."""
    store.made(seq=6)
    store.client.hset(keys.room(ROOM, "people"), "alice", '7 {"hidden":true}')
    own = keys.room(ROOM, "own", "alice")
    for number in range(3):
        assert say(store, f"n{number}", per_s=900) == ["shadowed", "6"]
    assert store.client.lrange(own, 0, -1) == [f'b1 {{"at_ms":{NOW_MS},"t":"n{number}"}}' for number in (1, 2)]
    assert 0 < store.client.ttl(own) <= 60  # own_s
    assert say(store, "x", "bob", per_s=900) == ["ok", "7"]
    assert not store.client.exists(keys.room(ROOM, "own", "bob"))


def test_what_was_hidden_is_told(store: Frozen) -> None:
    """It is not an event: it has no seq, and is in no history."""
    assert store.run(HIDE, count=3) == ["no_room"]
    store.made(seq=4)
    assert store.run(HIDE, count=3) == ["ok"]
    assert store.told() == "e1 0 hidden 3"
    assert (store.history(), store.meta("seq")) == ([], ["4"])


# --- likes ---------------------------------------------------------------------------------------------------------
ROW = '{"u":\x01user_id\x01,"n":\x01name\x01,"c":\x01count\x01}'


def like(store: Frozen, *likes: tuple[str, int], broadcast: str = "b1") -> list[str]:
    each = [{"user_id": user, "user_name": user.capitalize(), "count": count} for user, count in likes]
    event = "\x01added\x01 \x01total\x01 \x01top\x01"
    about = {"per_user_max": 10, "top_rows": 2, "event": event, "row": ROW, "broadcast": broadcast}
    return list(store.run(COUNT_LIKES, each=each, **about))


def test_likes_add_up(store: Frozen) -> None:
    """Each person's up to a bound; the event has what was added, the total and who likes most."""
    assert like(store, ("a", 1)) == ["no_room"]
    store.made()
    assert like(store) == ["ok", "0"]
    assert like(store, ("a", 4), ("b", 6), ("c", 1)) == ["ok", "11"]
    top = '{"u":"b","n":"B","c":6},{"u":"a","n":"A","c":4}'
    assert store.bodies() == [f"11 11 [{top}]"]
    assert like(store, ("a", 9), ("b", 1)) == ["ok", "18"]
    assert store.bodies()[1].startswith("7 18 ")
    assert dict(store.client.zrange(LIKERS, 0, -1, withscores=True)) == {"a": 10.0, "b": 7.0, "c": 1.0}
    assert like(store, ("a", 5)) == ["ok", "18"]
    assert like(store, ("d", 0)) == ["ok", "18"]
    assert len(store.bodies()) == 2
    assert store.client.hgetall(NAMES) == {"a": "A", "b": "B", "c": "C"}
    store.client.hdel(NAMES, "a")
    like(store, ("b", 1))
    assert '"u":"a","n":"a"' in store.bodies()[2]


def test_likes_of_another_broadcast(store: Frozen) -> None:
    """They count nowhere. A room without one has likes of none."""
    store.made(broadcast="b2")
    assert like(store, ("a", 1)) == ["other_broadcast"]
    store.client.hdel(keys.room(ROOM, keys.META), "broadcast")
    assert like(store, ("a", 1), broadcast="") == ["ok", "1"]
    assert store.meta("likes") == ["1"]


# --- viewers -------------------------------------------------------------------------------------------------------
GONE_MS, EVERY_MS = 30_000, 1_000


def count(store: Frozen, *changes: str, node: str = "n1", count_in: int = 1) -> list[str]:
    """Tell who came and went, as "+alice"."""
    event = '{"now":\x01now\x01,"peak":\x01peak\x01,"unique":\x01unique\x01}'
    prefix = keys.room(ROOM, "node", "")
    about: dict[str, Any] = {"mine": prefix + node, "node_id": node, "node_prefix": prefix, "event": event}
    each = [{"change": change[0], "user_id": change[1:]} for change in changes]
    return list(store.run(COUNT_VIEWERS, each=each, gone_ms=GONE_MS, every_ms=EVERY_MS, count_in=count_in, **about))


def test_people_are_counted_over_nodes(store: Frozen) -> None:
    """Each once, by the first word of a node that they came and the last that they went."""
    assert count(store, "+a") == ["no_room", "same", "known"]
    store.made()
    assert count(store, "+a", "+b", "+a") == ["ok", "published", "new"]
    assert store.bodies() == ['{"now":2,"peak":2,"unique":2}']
    assert store.meta("now", "peak", "unique", "viewers_at") == ["2", "2", "2", str(NOW_MS)]
    assert count(store, "+a", node="n2") == ["ok", "same", "new"]
    assert count(store, "-a", "-a") == ["ok", "same", "known"]
    assert store.client.hgetall(PRESENT) == {"a": "1", "b": "1"}
    store.now_ms += EVERY_MS
    assert count(store, "-a", "-stranger", node="n2") == ["ok", "published", "known"]
    assert store.client.hgetall(PRESENT) == {"b": "1"}
    assert store.bodies()[1:] == ['{"now":1,"peak":2,"unique":2}']
    assert store.client.smembers(SEEN) == {"a", "b"}


def test_a_count_is_published_in_its_time(store: Frozen) -> None:
    """To the millisecond; when nothing has changed, not at all; a new person in the place of another is news."""
    store.made()
    count(store, "+a")
    store.now_ms += EVERY_MS - 1
    assert count(store, "-a", "+b")[1] == "later"
    store.now_ms += 1
    assert count(store)[1] == "published"
    assert store.bodies()[1:] == ['{"now":1,"peak":1,"unique":2}']
    store.now_ms += EVERY_MS
    assert count(store)[1] == "same"
    assert count(store, "+c")[1] == "published"
    assert store.meta("peak") == ["2"]


def test_a_node_that_is_silent_is_gone(store: Frozen) -> None:
    """Once its time is over, to the millisecond; its people go with it, but for those who are on another."""
    store.made()
    count(store, "+a", "+b", node="dead")
    count(store, "+b")
    store.now_ms += GONE_MS - 1
    count(store)
    assert store.client.hgetall(PRESENT) == {"a": "1", "b": "2"}
    store.now_ms += 1
    assert count(store) == ["ok", "published", "known"]
    assert store.client.hgetall(PRESENT) == {"b": "1"}
    assert store.client.zrange(NODES, 0, -1) == ["n1"]
    assert not store.client.exists(keys.room(ROOM, "node", "dead"))
    assert count(store, "+a", node="dead") == ["ok", "later", "new"]


def test_a_node_of_the_future(store: Frozen) -> None:
    """It has beaten before the clock was set back: as if it did so now. One of this very moment stays as it is."""
    store.made()
    store.client.zadd(NODES, {"ahead": NOW_MS + 1, "now": NOW_MS, "before": NOW_MS - 5})
    count(store)
    assert dict(store.client.zrange(NODES, 0, -1, withscores=True)) == {
        "ahead": NOW_MS,
        "now": NOW_MS,
        "before": NOW_MS - 5,
        "n1": NOW_MS,
    }


def test_a_node_that_leaves(store: Frozen) -> None:
    """It is in the list no more, and the next word from it is a new node's."""
    store.made()
    count(store, "+a")
    assert count(store, "-a", count_in=0) == ["ok", "later", "known"]
    assert (store.client.zcard(NODES), store.client.exists(PRESENT)) == (0, 0)
    assert count(store)[2] == "new"


def test_without_a_broadcast_what_is_counted_expires(store: Frozen) -> None:
    """And with one it does not."""
    store.made()
    count(store, "+a")
    assert [store.client.ttl(name) for name in (SEEN, PRESENT)] == [-1, -1]
    store.made(kept_s=500)
    count(store)
    assert all(0 < store.client.ttl(name) <= 500 for name in (SEEN, PRESENT))
