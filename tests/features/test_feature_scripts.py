"""The scripts of gifts and boards, one by one: what they return and leave in the store, at an exact moment."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from server.features.boards import PUBLISH
from server.features.gifts import END_COMBOS, REFUND, SHOW, TEST
from server.store import keys
from tests.conftest import Stores
from tests.frozen import NOW_MS, ROOM, Frozen

BOARD, NAMES, STATE, EVENTS = (keys.room(ROOM, name) for name in ("board", "names", "state", "events"))
ONCE = keys.room(ROOM, "once", "g1")
ONCE_S, GAP_MS = 100, 4_000


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        yield frozen
        frozen.close()


# --- gifts ---------------------------------------------------------------------------------------------------------
def gift(id: str = "g1", coins: int = 5, combo: int = 0, user: str = "alice", **changed: Any) -> dict[str, Any]:
    return {
        "once": keys.room(ROOM, "once", id),
        "broadcast": "b1",
        "user_id": user,
        "user_name": user.capitalize(),
        "coins": coins,
        "combo_field": f"combo:{user}:rose:c" if combo else "",
        "combo_head": '"from":1}' if combo else "",
        "combo_count": combo,
        "body": f'{{"gift":"{id}"}}',
        **changed,
    }


def show(store: Frozen, *gifts: dict[str, Any], combos_max: int = 10) -> list[list[str]]:
    return list(store.run(SHOW, once_s=ONCE_S, gap_ms=GAP_MS, combos_max=combos_max, each=gifts))


def totals(store: Frozen) -> tuple[str | None, dict[str, float]]:
    return store.meta("coins")[0], dict(store.client.zrange(BOARD, 0, -1, withscores=True))


def test_a_gift_is_shown_and_counted_once(store: Frozen) -> None:
    """Each of a call by itself; later ones get the first one's seq, whatever they say."""
    assert show(store, gift()) == [["no_room"]]
    assert not store.client.exists(ONCE)
    store.made()
    assert show(store, gift(), gift("g2", 3), gift()) == [["ok", "1"], ["ok", "2"], ["seen", "1"]]
    assert show(store, gift(coins=99)) == [["seen", "1"]]
    assert totals(store) == ("8", {"alice": 8.0})
    assert store.bodies() == ['{"gift":"g1"}', '{"gift":"g2"}']
    assert store.client.hgetall(NAMES) == {"alice": "Alice"}
    assert 0 < store.client.ttl(ONCE) <= ONCE_S
    assert store.client.hlen(STATE) == 0


def test_a_gift_of_another_broadcast(store: Frozen) -> None:
    """It counts nowhere, and never will: also when a room has no broadcast, or its own one comes back."""
    store.made(broadcast="b2")
    assert show(store, gift()) == [["other_broadcast", "b2"]]
    assert 0 < store.client.ttl(ONCE) <= ONCE_S
    store.made(broadcast="b1")
    assert show(store, gift()) == [["seen", "0"]]
    assert show(store, gift("g2", broadcast="")) == [["other_broadcast", "b1"]]
    store.client.hdel(keys.room(ROOM, keys.META), "broadcast")
    assert show(store, gift("g3", broadcast="")) == [["ok", "1"]]
    assert totals(store) == ("5", {"alice": 5.0})


def test_a_gift_that_was_counted_and_not_told(store: Frozen) -> None:
    """A command that fails between leaves it so: a retry tells of it, and counts nothing."""
    store.made()
    store.client.set(EVENTS, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        show(store, gift(combo=1))
    assert totals(store) == ("5", {"alice": 5.0})
    assert 0 < store.client.ttl(ONCE) <= ONCE_S
    store.client.delete(EVENTS)
    assert show(store, gift(combo=1)) == [["ok", "2"]]
    assert totals(store) == ("5", {"alice": 5.0})
    assert store.client.hvals(STATE) == [f'{NOW_MS + GAP_MS} 5 1 "from":1}}']
    assert 0 < store.client.ttl(ONCE) <= ONCE_S


def test_a_streak_adds_up(store: Frozen) -> None:
    """Gifts out of order: the highest count, all coins, and the time from the last."""
    store.made()
    show(store, gift("g1", 4, 4))
    store.now_ms += 10
    show(store, gift("g2", 2, 2))
    assert store.client.hgetall(STATE) == {"combo:alice:rose:c": f'{NOW_MS + 10 + GAP_MS} 6 4 "from":1}}'}
    show(store, gift("g3", 1, 7))
    assert store.client.hvals(STATE) == [f'{NOW_MS + 10 + GAP_MS} 7 7 "from":1}}']


def test_streaks_are_bounded(store: Frozen) -> None:
    """One more is paid and shown, and has no end; those that run go on."""
    store.made()
    show(store, gift("g1", 1, 1), gift("g2", 1, 1, "bob"), gift("g3", 1, 1, "carol"), combos_max=2)
    show(store, gift("g4", 1, 2), combos_max=2)
    assert {field.split(":")[1]: value.split()[2] for field, value in store.client.hgetall(STATE).items()} == {
        "alice": "2",
        "bob": "1",
    }
    assert totals(store)[0] == "4"


EVENT = '{"id":\x01id\x01,"combo":\x01combo\x01,"count":\x01count\x01,\x01head\x01,"coins":\x01coins\x01}'


def end_combos(store: Frozen) -> int:
    (open_,) = store.run(END_COMBOS, gap_ms=GAP_MS, ended_id="e", event=EVENT)
    return int(open_)


def test_a_streak_ends_in_time(store: Frozen) -> None:
    """To the millisecond, and once; what else is in the state stays."""
    store.made()
    store.client.hset(STATE, "goal:x", "1 2 3 4")
    show(store, gift("g1", 4, 4), gift("g2", 2, 1, "bob"))
    store.now_ms += 1
    show(store, gift("g3", 1, 1, "carol"))
    assert end_combos(store) == 3
    store.now_ms = NOW_MS + GAP_MS - 1
    assert end_combos(store) == 3
    store.now_ms += 1
    assert end_combos(store) == 1
    ended = store.bodies()[3:]
    assert sorted(body.partition(',"combo"')[2] for body in ended) == [
        ':"c","count":1,"from":1,"coins":2}',
        ':"c","count":4,"from":1,"coins":4}',
    ]
    assert sorted(body[:13] for body in ended) == ['{"id":"e-1","', '{"id":"e-2","']
    assert end_combos(store) == 1
    store.now_ms += 1
    assert end_combos(store) == 0
    assert len(store.bodies()) == 6
    assert store.client.hgetall(STATE) == {"goal:x": "1 2 3 4"}


def test_a_streak_of_before_the_clock_was_set_back(store: Frozen) -> None:
    """What ends later than a gap from now is over; what ends exactly then may be new."""
    store.made()
    show(store, gift("g1", 1, 1))
    assert end_combos(store) == 1
    store.now_ms -= 1
    assert end_combos(store) == 0
    assert len(store.bodies()) == 2


def test_a_test_gift_has_its_time_and_no_place(store: Frozen) -> None:
    """The nodes hear of it, and no history."""
    assert store.run(TEST, body='{"type":"x"}') == ["no_room"]
    store.made()
    store.now_ms += 7
    assert store.run(TEST, body='{"type":"x"}') == ["ok"]
    assert store.told() == f'e1 0 test {{"at_ms":{NOW_MS + 7},"type":"x"}}'
    assert (store.history(), store.meta("seq")) == ([], ["0"])


# --- what is taken back --------------------------------------------------------------------------------------------
def part(id: str = "r1", coins: int = 3, user: str = "alice", **changed: Any) -> dict[str, Any]:
    once = keys.room(ROOM, "refunded", id)
    return {"once": once, "broadcast": "b1", "user_id": user, "coins": coins, "body": f'"{id}"', **changed}


def take_back(store: Frozen, *parts: dict[str, Any]) -> list[list[str]]:
    return list(store.run(REFUND, once_s=ONCE_S, each=parts))


def test_a_part_is_taken_back_once(store: Frozen) -> None:
    """Total and board go down, and the board is due again. Who has nothing left is not on it."""
    once = keys.room(ROOM, "refunded", "r1")
    assert take_back(store, part()) == [["no_room"]]
    assert not store.client.exists(once)
    store.made()
    show(store, gift(coins=5), gift("g2", 4, user="bob"))
    assert take_back(store, part(), part()) == [["ok", "3"], ["seen", "3"]]
    assert totals(store) == ("6", {"alice": 2.0, "bob": 4.0})
    assert store.meta("board_coins") == ["-1"]
    assert 0 < store.client.ttl(once) <= ONCE_S
    assert take_back(store, part("r2", 2), part("r3", 9, "bob")) == [["ok", "4"], ["ok", "5"]]
    assert totals(store) == ("0", {})
    assert store.client.hlen(NAMES) == 0
    assert store.bodies()[2:] == ['"r1"', '"r2"', '"r3"']
    assert take_back(store, part("r4", 1, "stranger")) == [["ok", "6"]]
    assert totals(store) == ("0", {})


def test_a_part_of_another_broadcast(store: Frozen) -> None:
    """The present one loses nothing, now or later."""
    store.made(broadcast="b2", coins=9)
    assert take_back(store, part()) == [["other_broadcast", "b2"]]
    assert 0 < store.client.ttl(keys.room(ROOM, "refunded", "r1")) <= ONCE_S
    store.made(broadcast="b1")
    assert take_back(store, part()) == [["seen", "0"]]
    assert store.meta("coins", "seq") == ["9", "0"]
    store.client.hdel(keys.room(ROOM, keys.META), "broadcast")
    assert take_back(store, part("r2", broadcast="")) == [["ok", "1"]]
    assert store.meta("coins") == ["6"]


def test_a_part_that_was_taken_back_and_not_told(store: Frozen) -> None:
    """A retry tells of it, and takes nothing more."""
    store.made()
    show(store, gift(coins=5))
    store.client.delete(EVENTS)
    store.client.set(EVENTS, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        take_back(store, part())
    assert 0 < store.client.ttl(keys.room(ROOM, "refunded", "r1")) <= ONCE_S
    store.client.delete(EVENTS)
    assert take_back(store, part()) == [["ok", "3"]]
    assert totals(store) == ("2", {"alice": 2.0})
    assert 0 < store.client.ttl(keys.room(ROOM, "refunded", "r1")) <= ONCE_S


# --- the board -----------------------------------------------------------------------------------------------------
ROW = '{"r":\x01rank\x01,"u":\x01user_id\x01,"n":\x01name\x01,"c":\x01coins\x01}'


def publish(store: Frozen, first_places: int = 0) -> str:
    named = {"event": '{"top":\x01top\x01}', "row": ROW, "climbed": '{"r":\x01rank\x01,"u":\x01user_id\x01}'}
    return str(store.run(PUBLISH, every_ms=1_000, rows=2, first_places=first_places, **named)[0])


def test_who_is_new_among_the_first_places(store: Frozen) -> None:
    """Each once, also after they changed places; who falls out and comes back is new again."""
    store.made()
    for user, coins, climbed in (("alice", 5, ["alice"]), ("bob", 9, ["bob"]), ("alice", 9, ["alice"])):
        show(store, gift(f"g-{user}-{coins}", coins, user=user))
        before = len(store.bodies())
        assert publish(store, first_places=1) == "ok"
        assert store.bodies()[before + 1 :] == [f'{{"r":1,"u":"{user}"}}' for user in climbed]
        store.now_ms += 1_000


def test_a_board_is_published_when_it_has_changed(store: Frozen) -> None:
    """The first ranks, with names as text; at most once in its time, to the millisecond."""
    assert publish(store) == "no_room"
    store.made()
    assert publish(store) == "ok"
    assert store.history() == []
    show(store, gift(coins=5, user_name='A "b"'), gift("g2", 9, user="bob"), gift("g3", 1, user="carol"))
    store.client.hdel(NAMES, "bob")
    assert publish(store) == "ok"
    top = '{"r":1,"u":"bob","n":"bob","c":9},{"r":2,"u":"alice","n":"A \\"b\\"","c":5}'
    assert store.bodies()[3:] == [f'{{"top":[{top}]}}']
    assert store.meta("board_at", "board_coins") == [str(NOW_MS), "15"]
    store.now_ms += 999
    assert publish(store) == "ok"  # nothing was given since
    show(store, gift("g4", 1, user_name='A "b"'))
    assert publish(store) == "later"
    assert len(store.bodies()) == 5
    store.now_ms += 1
    assert publish(store) == "ok"
    top = top.replace('"c":5', '"c":6')
    assert store.bodies()[5:] == [f'{{"top":[{top}]}}']
    assert store.meta("board_at", "board_coins") == [str(NOW_MS + 1_000), "16"]
