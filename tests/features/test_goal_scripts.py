"""The scripts of goals, one by one: what they count, tell, and leave in the store, at an exact moment."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from server.features.goals import GIVERS_S, PUBLISH
from server.features.likes import COUNT as COUNT_LIKES
from server.rooms.admin import DELETE, TURN
from server.rooms.goals import BEGIN, CONTRIBUTOR, GOALS, PUT, REACHED
from server.store import keys
from tests.conftest import Stores
from tests.features.test_board_scripts import gift_id, show, take_back
from tests.frozen import NOW_MS, ROOM, Frozen

GOALS_KEY, MOVED, GIVERS, GIVER_NAMES, STATE = (
    keys.room(ROOM, name) for name in (GOALS, "goal_moved", "goal_givers", "goal_names", "state")
)


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        frozen.made()
        yield frozen
        frozen.close()


def rest(kind: str, gift: str = "-") -> str:
    return f'{kind} {gift} 7 {{"id":"{kind}"'


def goal(id: str, kind: str | None = None, target: int = 10, **changed: Any) -> dict[str, Any]:
    defined = rest(kind or id, "rose" if (kind or id) == "gift" else "-")
    return {"id": id, "target": target, "reached": 0, "rest": defined, "add": 0, "least": 0, "exact": "", **changed}


def put(store: Frozen, *goals: dict[str, Any], version: int = 1, token: str = "", epoch: str = "e1") -> str:
    named = {"event": REACHED, "row": CONTRIBUTOR, "changed": '{"goals":\x01goals\x01}'}
    return str(store.run(PUT, epoch=epoch, token=token, version=version, each=goals, **named)[0])


def begin(store: Frozen, *ids: str, token: str = "t1", epoch: str = "e1") -> list[str]:
    each = [{"id": id, "value": f"10 0 0 {rest(id)}"} for id in ids]
    return list(store.run(BEGIN, epoch=epoch, token=token, each=each))


def have(store: Frozen, *goals: dict[str, Any]) -> None:
    """A whole copy with these goals."""
    begin(store)
    assert put(store, *goals, token="t1") == "ok"


def numbers(store: Frozen) -> dict[str, tuple[int, int, int]]:
    """Target, current and reached of each goal."""
    found = store.client.hgetall(GOALS_KEY)
    found.pop("", None)
    return {id: tuple(int(number) for number in value.split(" ")[:3]) for id, value in found.items()}


def shown(id: str, target: int, current: int) -> str:
    """A goal as an event shows it."""
    return f'{{"id":"{id}","target":{target},"current":{current},"reached":false}}'


def givers(store: Frozen, id: str) -> dict[str, float]:
    return dict(store.client.zrange(f"{GIVERS}:{id}", 0, -1, withscores=True))


def reached(store: Frozen) -> list[tuple[str, list[str]]]:
    """Each goal that the room was told is reached, and the names of those who gave most."""
    told = [json.loads(body) for body in store.bodies() if '"goals.reached"' in body]
    return [(each["id"], [one["name"] for one in each["contributors"]]) for each in told]


def give(store: Frozen, number: int, coins: int, count: int = 1, gift: str = "rose", user: str = "alice") -> None:
    show(store, gift_id(number), coins, user, body=f'{{"gift":{{"id":"{gift}"}},"count":{count}}}')


# --- the list ------------------------------------------------------------------------------------------------------
def test_a_copy_is_filled_once(store: Frozen) -> None:
    """For the present epoch. What moved since it was begun is counted, and what was before is added."""
    assert put(store, goal("coins")) == "not_whole"
    assert begin(store, "coins", epoch="e0") == ["other_epoch"]
    assert begin(store, "coins") == ["ok", "0"]
    give(store, 1, 4)
    assert store.client.hget(STATE, "goal:coins") is None
    assert put(store, goal("coins", add=3), token="t2") == "not_whole"
    assert put(store, goal("coins", add=3), token="t1", epoch="e0") == "other_epoch"
    assert put(store, goal("coins", add=3), token="t1", version=5) == "ok"
    assert numbers(store) == {"coins": (10, 7, 0)}
    assert store.client.hget(STATE, "goal:coins") == f"10 7 0 {rest('coins')}"
    assert store.client.hget(GOALS_KEY, "") == "e1 5"
    assert store.bodies()[1:] == ['{"goals":[{"id":"coins","target":10,"current":7,"reached":false}]}']
    assert begin(store, "coins") == ["known"]
    store.client.delete(keys.room(ROOM, keys.META))
    assert (begin(store), put(store)) == (["no_room"], "no_room")


def test_what_an_old_copy_told_is_told_once(store: Frozen) -> None:
    """The copy of the epoch before moves until somebody fills it again, and SQL may not know yet what it reached."""
    have(store, goal("coins"), goal("gift", target=50))
    store.client.hset(keys.room(ROOM, keys.META), "epoch", "e2")
    give(store, 1, 10)
    assert [id for id, _ in reached(store)] == ["coins"]
    for token in ("t2", "t3"):  # the first who fills it dies
        assert begin(store, "coins", "gift", token=token, epoch="e2")[0] == "ok"
    assert put(store, goal("coins", add=10), goal("gift", add=1, target=50), token="t3", epoch="e2") == "ok"
    assert [id for id, _ in reached(store)] == ["coins"]
    assert numbers(store) == {"coins": (10, 10, 1), "gift": (50, 1, 0)}


def test_a_newer_list_keeps_what_was_counted(store: Frozen) -> None:
    """An older one changes nothing. The same list makes no event. `add` is for who fills, or for a new goal."""
    have(store, goal("coins"))
    give(store, 1, 4)
    before = len(store.bodies())
    assert put(store, goal("coins"), version=1) == "known"
    assert put(store, goal("coins", add=5), version=2) == "ok"
    assert (numbers(store), len(store.bodies())) == ({"coins": (10, 4, 0)}, before)
    assert put(store, goal("coins", target=20), goal("gift", add=6), version=3) == "ok"
    assert numbers(store) == {"coins": (20, 4, 0), "gift": (10, 6, 0)}
    assert store.bodies()[before:] == [f'{{"goals":[{shown("coins", 20, 4)},{shown("gift", 10, 6)}]}}']


def test_least_and_exact(store: Frozen) -> None:
    """Likes and viewers never fall below what SQL knows; followers are what the platform says."""
    have(store, goal("likes", least=4), goal("followers", exact=6))
    assert numbers(store) == {"likes": (10, 4, 0), "followers": (10, 6, 0)}
    assert put(store, goal("likes", least=3), goal("followers", exact=2), version=2) == "ok"
    assert numbers(store) == {"likes": (10, 4, 0), "followers": (10, 2, 0)}
    assert put(store, goal("likes", least=12), goal("followers", exact=1), version=3) == "ok"
    assert numbers(store) == {"likes": (10, 12, 1), "followers": (10, 1, 0)}
    assert reached(store) == [("likes", [])]


def test_a_reached_goal_stays_reached(store: Frozen) -> None:
    """Told once, whatever its target becomes, and also when SQL alone knows of it."""
    have(store, goal("coins", target=3), goal("likes", reached=1))
    give(store, 1, 3)
    assert reached(store) == [("coins", ["Alice"])]
    told = len(store.bodies())
    assert put(store, goal("coins", target=30), goal("likes"), version=2) == "ok"
    assert numbers(store) == {"coins": (30, 3, 1), "likes": (10, 0, 1)}
    assert len(store.bodies()) == told + 1


def test_what_a_removed_goal_leaves(store: Frozen) -> None:
    """Nothing of its own; with the last one the names go."""
    have(store, goal("coins"), goal("gift"))
    give(store, 1, 4)
    assert put(store, goal("gift"), version=2) == "ok"
    assert (list(numbers(store)), store.client.hkeys(STATE)) == (["gift"], ["goal:gift"])
    assert store.client.smembers(MOVED) == {"gift"}
    assert (givers(store, "coins"), givers(store, "gift")) == ({}, {"alice": 1.0})
    assert store.client.hgetall(GIVER_NAMES) == {"alice": "Alice"}
    assert store.bodies()[-1].startswith('{"goals":[{"id":"gift"')
    assert put(store, version=3) == "ok"
    assert not store.client.exists(GIVER_NAMES, STATE)
    assert store.bodies()[-1] == '{"goals":[]}'


# --- what moves them -----------------------------------------------------------------------------------------------
def test_a_gift_moves_its_goals(store: Frozen) -> None:
    """Coins by what was paid, a gift's own by how many; other kinds do not move. Who gave is remembered."""
    have(store, goal("coins", target=100), goal("gift", target=100), goal("likes"))
    give(store, 1, 6, count=3)
    give(store, 2, 5, count=5, gift="whale", user="bob")
    assert numbers(store) == {"coins": (100, 11, 0), "gift": (100, 3, 0), "likes": (10, 0, 0)}
    assert (givers(store, "coins"), givers(store, "gift")) == ({"alice": 6.0, "bob": 5.0}, {"alice": 3.0})
    assert GIVERS_S - 5 < store.client.ttl(f"{GIVERS}:coins") <= GIVERS_S
    assert store.client.hgetall(GIVER_NAMES) == {"alice": "Alice", "bob": "Bob"}
    assert store.client.smembers(MOVED) == {"coins", "gift"}
    show(store, gift_id(3), 1, "", body='{"gift":{"id":"rose"},"count":1}')
    assert (numbers(store)["coins"], len(givers(store, "coins"))) == ((100, 12, 0), 2)


def test_who_reached_a_goal(store: Frozen) -> None:
    """Those who gave most, with their names, when it is reached to the coin; once."""
    have(store, goal("coins"))
    give(store, 1, 4, user="bob")
    give(store, 2, 5)
    store.client.hdel(GIVER_NAMES, "bob")
    assert reached(store) == []
    give(store, 3, 1)
    give(store, 4, 9)
    assert reached(store) == [("coins", ["Alice", "bob"])]
    assert numbers(store) == {"coins": (10, 19, 1)}


def test_a_refund_lowers_its_goals(store: Frozen) -> None:
    """Not below nothing; what was reached stays reached. Who has nothing left in it is not among its givers."""
    have(store, goal("coins"), goal("gift"))
    give(store, 1, 12, count=3)
    give(store, 2, 1, user="bob")
    taken = '"gift":{"id":"rose"},"count":3}'
    take_back(store, gift_id(1), 12, body=f'{{"gift_id":"{gift_id(1)}",{taken}')
    assert numbers(store) == {"coins": (10, 1, 1), "gift": (10, 1, 0)}
    assert (givers(store, "coins"), givers(store, "gift")) == ({"bob": 1.0}, {"bob": 1.0})
    take_back(store, gift_id(3), 5, "bob", body=f'{{"gift_id":"{gift_id(3)}","gift":{{"id":"whale"}},"count":1}}')
    assert numbers(store) == {"coins": (10, 0, 1), "gift": (10, 1, 0)}
    assert (givers(store, "coins"), givers(store, "gift")) == ({}, {"bob": 1.0})
    take_back(store, gift_id(2), 1, "", body=f'{{"gift_id":"{gift_id(2)}","gift":{{"id":"rose"}},"count":1}}')
    assert givers(store, "gift") == {"bob": 1.0}


def test_likes_move_theirs(store: Frozen) -> None:
    have(store, goal("likes", target=3), goal("coins"))
    told = {"event": '{"added":\x01added\x01}', "row": "\x01user_id\x01", "broadcast": "b1"}
    likes = {"user_id": "alice", "user_name": "Alice", "count": 3}
    assert store.run(COUNT_LIKES, per_user_max=9, top_rows=1, each=[likes], **told)[0] == "ok"
    assert numbers(store) == {"likes": (3, 3, 1), "coins": (10, 0, 0)}


# --- telling -------------------------------------------------------------------------------------------------------
def publish(store: Frozen) -> list[Any]:
    told = '{"goal":\x01goal\x01,"others":\x01others\x01}'
    outcome = store.run(PUBLISH, every_ms=1_000, event=told)
    return [outcome[0], *(int(each) for each in outcome[1:])]


def test_goals_that_moved_are_told_in_time(store: Frozen) -> None:
    """One that moved, and all others beside it; at most once in its time, to the millisecond."""
    have(store, goal("coins"), goal("likes"))
    before = len(store.bodies())
    assert publish(store) == ["ok", 2]
    assert len(store.bodies()) == before
    give(store, 1, 4)
    assert publish(store) == ["ok", 2]
    others = '{"id":"likes","target":10,"current":0,"reached":false}'
    assert store.bodies()[before + 1 :] == [
        f'{{"goal":{{"id":"coins","target":10,"current":4,"reached":false}},"others":[{others}]}}'
    ]
    assert (store.client.exists(MOVED), store.meta("goals_at")) == (0, [str(NOW_MS)])
    give(store, 2, 1)
    store.now_ms += 999
    assert publish(store) == ["later", 2]
    store.now_ms += 1
    assert publish(store) == ["ok", 2]
    store.client.delete(keys.room(ROOM, keys.META))
    assert publish(store) == ["no_room"]


def test_a_copy_that_is_filled_makes_no_event(store: Frozen) -> None:
    """Its numbers are not whole yet. A goal that moved and is gone makes no event."""
    begin(store, "coins")
    give(store, 1, 4)
    assert publish(store) == ["later", 1]
    assert put(store, goal("likes"), token="t1") == "ok"
    store.client.sadd(MOVED, "gone")
    before = len(store.bodies())
    assert publish(store) == ["ok", 1]
    assert (len(store.bodies()), store.client.exists(MOVED)) == (before, 0)


def test_the_next_broadcast_shows_them(store: Frozen) -> None:
    """As they are."""
    have(store, goal("coins"))
    give(store, 1, 4)
    about = {"audience": "audience:", "started_at_ms": 5, "kept_s": 50, "body": "{}", "allowed": " live ended "}
    for status, broadcast in (("ended", ""), ("live", "b2")):
        assert store.run(TURN, status=status, broadcast=broadcast, **about) == ["ok"]
    assert store.client.hgetall(STATE) == {"goal:coins": f"10 4 0 {rest('coins')}"}


def test_a_deleted_room_leaves_no_givers(store: Frozen) -> None:
    have(store, goal("coins"))
    give(store, 1, 4)
    store.run(DELETE, body="{}")
    assert list(store.client.scan_iter(match=f"*{ROOM}*goal_givers*")) == []
