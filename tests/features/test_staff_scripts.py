"""The scripts of staff's work, one by one: held messages, pins, reports, standings, at an exact moment."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from server.features.held import CLOSE, PUT, SWEEP
from server.features.pins import SET as PIN
from server.features.pins import SWEEP as SWEEP_PINS
from server.features.reports import COUNT
from server.rooms.admin import TURN
from server.rooms.people import FILL
from server.rooms.staff import ACT
from server.store import keys
from tests.conftest import Stores
from tests.frozen import LIVE, META, NOW_MS, ROOM, Frozen

HELD, DECIDED, PEOPLE, STATE = (keys.room(ROOM, name) for name in ("held", "decided", "people", "state"))
KEPT = {"kept": 50, "most_decided": 2}


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        frozen.made(seq=7)
        yield frozen
        frozen.close()


def told(store: Frozen) -> list[str]:
    """What the nodes were told since the last look, without the epoch."""
    store.client.publish(LIVE, "the end")
    found: list[str] = []
    while (message := store.told() or "") != "the end":
        found.append(message.removeprefix("e1 "))
    return found


def stand(store: Frozen, user: str, **standing: Any) -> None:
    store.client.hset(PEOPLE, user, f"1 {json.dumps(standing)}")


# --- held messages -------------------------------------------------------------------------------------------------
def message(id: str = "m1", user: str = "alice", at_ms: int = NOW_MS) -> str:
    return json.dumps({"id": id, "user": {"user_id": user}, "held_at_ms": at_ms})


def hold(store: Frozen, id: str = "m1", user: str = "alice", edit_of: str = "", at_ms: int = NOW_MS) -> list[str]:
    bounds = {"most": 3, "most_of_one": 2, **KEPT}
    named = {"id": id, "user_id": user, "message": message(id, user, at_ms), "event": f'{{"sent":"{id}"}}'}
    return list(store.run(PUT, **named, edit_of=edit_of, edited=f'"{edit_of} edited"', **bounds))


def close(store: Frozen, id: str = "m1", event: str = "", user: str = "alice") -> list[str]:
    said = {"resolved": f'"{id} resolved"', "denied": f'"{id} denied"'}
    return list(store.run(CLOSE, id=id, user_id=user, event=event, **said, **KEPT))


def test_a_message_is_held(store: Frozen) -> None:
    """Staff gets it; of one person two, three in all."""
    assert hold(store) == ["held", "7"]
    assert told(store) == [f"0 held {message()}"]
    assert store.client.hgetall(HELD) == {"m1": message() + '\n{"sent":"m1"}'}
    assert hold(store, "m2") == ["held", "7"]
    assert hold(store, "m3") == ["full"]
    assert hold(store, "m3", "bob") == ["held", "7"]
    assert hold(store, "m4", "carol") == ["full"]
    store.client.delete(META)
    assert hold(store, "m5", "dan") == ["no_room"]


def test_an_edit_takes_the_place_of_the_message(store: Frozen) -> None:
    """Once, also when its sender has as many as they may."""
    hold(store, "m1")
    hold(store, "m2")
    told(store)
    assert hold(store, "m3", edit_of="m1") == ["held", "7"]
    assert told(store) == ['0 resolved alice "m1 edited"', f"0 held {message('m3')}"]
    assert sorted(store.client.hkeys(HELD)) == ["m2", "m3"]
    assert hold(store, "m4", edit_of="m1") == ["gone"]


@pytest.mark.parametrize(
    ("standing", "answer"),
    [
        ({"muted_until_ms": NOW_MS + 9}, ["muted", "9"]),
        ({"muted_until_ms": NOW_MS}, ["held", "7"]),
        ({"muted_until_ms": NOW_MS + 9, "muted_in": "b1"}, ["muted", "9"]),
        ({"muted_until_ms": NOW_MS + 9, "muted_in": "b0"}, ["held", "7"]),
        ({"banned_until_ms": NOW_MS + 1}, ["banned", "0"]),
        ({"banned_until_ms": NOW_MS}, ["held", "7"]),
        ({"warned": {"text": "no"}}, ["warned", "0"]),
        ({"hidden": True}, ["hidden", "0"]),
    ],
)
def test_who_may_not_chat_is_not_held(store: Frozen, standing: dict[str, Any], answer: list[str]) -> None:
    """To the millisecond."""
    stand(store, "alice", **standing)
    assert hold(store) == answer


def test_one_decision_wins(store: Frozen) -> None:
    """The second moderator gets the first one's; a message that was never there is unknown."""
    hold(store)
    told(store)
    assert close(store, "m9") == ["unknown"]
    assert close(store) == ["ok", "7"]
    assert told(store) == ['0 resolved alice "m1 resolved"']
    assert close(store) == ["already", '"m1 resolved"']
    assert 0 < store.client.ttl(DECIDED) <= 50
    assert store.history() == []
    store.client.delete(META)
    assert close(store) == ["no_room"]


def test_an_approved_message_is_sent_in_the_same_step(store: Frozen) -> None:
    hold(store)
    assert close(store, event='{"sent":1}') == ["ok", "8"]
    assert (store.bodies(), store.client.exists(HELD)) == (['{"sent":1}'], 0)


@pytest.mark.parametrize(
    ("standing", "sent"),
    [({"warned": {"text": "no"}}, True), ({"muted_until_ms": NOW_MS + 1}, False), ({"hidden": True}, False)],
)
def test_an_approved_message_of_who_may_not_chat(store: Frozen, standing: dict[str, Any], sent: bool) -> None:
    """A warning does not stop what was written before it. All else denies the message. A denial asks nothing."""
    hold(store)
    stand(store, "alice", **standing)
    told(store)
    assert close(store, event='{"sent":1}')[0] == ("ok" if sent else "barred")
    assert told(store)[0] == f'0 resolved alice "m1 {"resolved" if sent else "denied"}"'
    assert store.bodies() == (['{"sent":1}'] if sent else [])
    hold(store, "m2", "bob")
    stand(store, "bob", **standing)
    assert close(store, "m2", user="bob")[0] == "ok"


def test_decisions_are_remembered_within_bounds(store: Frozen) -> None:
    """Above the bound all are forgotten."""
    for id in ("m1", "m2", "m3"):
        hold(store, id)
        close(store, id)
    assert store.client.hgetall(DECIDED) == {"m3": '"m3 resolved"'}


def sweep(store: Frozen, most: int = 9, ids: tuple[str, ...] = (), people: tuple[str, ...] = ()) -> list[str]:
    gone = {"ids": json.dumps(dict.fromkeys(ids, True)), "user_ids": json.dumps(dict.fromkeys(people, True))}
    said = {"expired": "\x01id\x01 expired", "denied": "\x01id\x01 denied"}
    return list(store.run(SWEEP, life_ms=100, most=most, **gone, **said, **KEPT))


def test_holds_end_in_time(store: Frozen) -> None:
    """To the millisecond, so many at a time."""
    for id, at_ms in (("m1", NOW_MS), ("m2", NOW_MS + 1)):
        hold(store, id, at_ms=at_ms)
    hold(store, "m3", "bob", at_ms=NOW_MS)
    told(store)
    store.now_ms = NOW_MS + 99
    assert sweep(store) == ["0", "3"]
    store.now_ms += 1
    assert sweep(store, most=1) == ["1", "2"]
    assert sweep(store, most=1) == ["1", "1"]
    assert sorted(told(store)) == ['0 resolved alice "m1" expired', '0 resolved bob "m3" expired']
    assert sweep(store) == ["0", "1"]
    store.now_ms += 1
    assert sweep(store) == ["1", "0"]
    store.client.delete(META)
    assert sweep(store) == ["no_room"]


def test_holds_end_with_their_message_or_sender(store: Frozen) -> None:
    hold(store, "m1")
    hold(store, "m2")
    hold(store, "m3", "bob")
    told(store)
    assert sweep(store, ids=("m2",), people=("bob",)) == ["2", "1"]
    assert sorted(told(store)) == ['0 resolved alice "m2" denied', '0 resolved bob "m3" denied']


def turn(store: Frozen, status: str, broadcast: str = "") -> None:
    about = {"audience": "audience:", "started_at_ms": 5, "kept_s": 50, "body": "{}", "allowed": " live ended "}
    assert store.run(TURN, status=status, broadcast=broadcast, **about) == ["ok"]


def test_what_the_next_broadcast_keeps(store: Frozen) -> None:
    """What is decided about people, for good; no held message, decision or count of reports."""
    hold(store)
    hold(store, "m2", "bob")
    close(store)
    stand(store, "alice", warned={"text": "no"})
    report(store, "bob")
    turn(store, "ended")
    assert 0 < store.client.ttl(PEOPLE) <= 50
    turn(store, "live", "b2")
    assert store.client.ttl(PEOPLE) == -1
    assert store.client.exists(HELD, DECIDED, keys.room(ROOM, "reported")) == 0


# --- reports -------------------------------------------------------------------------------------------------------
def report(store: Frozen, reporter: str, threshold: int = 2, most: int = 5, user: str = "mallory") -> list[str]:
    reports = keys.room(ROOM, "reports", "m7")
    about = {"told": "\x01reports\x01 of \x01of_user\x01", "event": '{"sent":7}', "deleted": '{"deleted":7}'}
    bounds = {"most": most, "kept_s": 60, "most_users": 1, "threshold": threshold, "most_held": 1}
    held = {"held_message": message("m7", user)}
    return list(store.run(COUNT, reports=reports, reporter=reporter, user_id=user, **about, **bounds, **held))


def test_enough_reports_hold_a_message(store: Frozen) -> None:
    """Each person counts once; at the threshold it goes, once, if it may be held."""
    assert report(store, "ann") == ["ok", "1"]
    assert told(store) == ["0 staff 1 of 1"]
    assert 0 < store.client.ttl(keys.room(ROOM, "reports", "m7")) <= 60
    assert report(store, "ann") == ["known"]
    assert report(store, "ben") == ["held", "2"]
    assert store.client.hgetall(HELD) == {"m7": message("m7", "mallory") + '\n{"sent":7}'}
    assert store.bodies() == ['{"deleted":7}']
    assert told(store)[:2] == ["0 staff 2 of 2", f"0 held {message('m7', 'mallory')}"]
    assert report(store, "cem") == ["ok", "3"]
    assert len(store.bodies()) == 1


def test_reports_are_bounded(store: Frozen) -> None:
    """Of a message, of people, and of what is held."""
    hold(store)
    assert [report(store, name, most=2)[0] for name in ("ann", "ben", "cem")] == ["ok", "ok", "known"]
    assert report(store, "dan", user="eve") == ["ok", "3"]
    assert told(store)[-1] == "0 staff 3 of 0"
    assert store.bodies() == []
    store.client.delete(META)
    assert report(store, "fay") == ["no_room"]


# --- pins ----------------------------------------------------------------------------------------------------------
def pin(store: Frozen, id: str, until_ms: int | None = None, user: str | None = "alice") -> str:
    event = {"user": {"user_id": user}} if user else {"from": {"user_id": "bob"}}
    value = json.dumps({"id": id, "until_ms": until_ms, "event": event})
    return str(store.run(PIN, pin_id=id, pin=value, most=3, event=f'"{id}"')[0])


def pins(store: Frozen) -> list[str]:
    return sorted(field[4:] for field in store.client.hkeys(STATE) if field.startswith("pin:"))


def unpin(store: Frozen, ids: tuple[str, ...] = (), people: tuple[str, ...] = ()) -> list[int]:
    gone = {"ids": json.dumps(dict.fromkeys(ids, True)), "user_ids": json.dumps(dict.fromkeys(people, True))}
    return list(store.run(SWEEP_PINS, ended_id="u", event="\x01id\x01 off \x01pin\x01", **gone))


def test_something_is_pinned_once(store: Frozen) -> None:
    assert [pin(store, id) for id in ("p1", "p1", "p2", "p3", "p4")] == ["ok", "known", "ok", "ok", "full"]
    assert store.bodies() == ['"p1"', '"p2"', '"p3"']
    store.client.delete(META)
    assert pin(store, "p5") == "no_room"


def test_pins_end_in_time(store: Frozen) -> None:
    """To the millisecond; those without a time stay."""
    pin(store, "p1", NOW_MS + 5)
    pin(store, "p2")
    pin(store, "p3", NOW_MS + 6)
    assert unpin(store) == [0, 2]
    store.now_ms += 5
    assert unpin(store) == [1, 1]
    assert store.bodies()[3:] == ['"u-1" off "p1"']
    store.now_ms += 1
    assert unpin(store) == [1, 0]
    assert pins(store) == ["p2"]


def test_pins_of_ids_and_people_go(store: Frozen) -> None:
    """A gift has no author who could be meant."""
    store.client.hset(STATE, "combo:x", "1")
    for id, user in (("p1", "alice"), ("p2", None), ("p3", "carol")):
        pin(store, id, user=user)
    assert unpin(store, ("p1",), ("carol", "bob")) == [2, 0]
    assert sorted(body.partition(" off ")[0] for body in store.bodies()[3:]) == ['"u-1"', '"u-2"']
    assert sorted(body.partition(" off ")[2] for body in store.bodies()[3:]) == ['"p1"', '"p3"']
    assert pins(store) == ["p2"]
    assert store.client.hget(STATE, "combo:x") == "1"


# --- standings -----------------------------------------------------------------------------------------------------
def act(store: Frozen, version: int = 2, event: str = '{"type":"x"}', done: str = "d1") -> list[str]:
    named = {"done": keys.room(ROOM, "done", done), "user_id": "alice", "standing": '{"hidden":true}'}
    return list(store.run(ACT, done_s=30, version=version, event=event, acted='{"act":1}', **named))


def test_an_act_is_told_once(store: Frozen) -> None:
    """The standing, the events, the message to staff; not again, and nothing that is older."""
    assert act(store, event='{"type":"x"}\n{"type":"y"}') == ["ok", "9"]
    assert store.bodies() == ['{"type":"x"}', '{"type":"y"}']
    heard = told(store)
    assert (heard[0], heard[-1]) == ('0 person alice 2 {"hidden":true}', '0 staff {"act":1}')
    assert store.client.hget(PEOPLE, "alice") == '2 {"hidden":true}'
    assert 0 < store.client.ttl(keys.room(ROOM, "done", "d1")) <= 30
    assert act(store, 3) == ["known"]
    assert act(store, 2, done="d2") == ["known"]
    assert act(store, 0, done="d3") == ["ok", "10"]
    assert act(store, 0, "", done="d4") == ["ok", "10"]
    assert store.client.hget(PEOPLE, "alice") == '2 {"hidden":true}'
    store.client.delete(META)
    assert act(store, done="d5") == ["no_room"]


def test_the_pins_of_deleted_messages_go_in_the_same_step(store: Frozen) -> None:
    for id, user in (("p1", "alice"), ("p2", "carol"), ("p3", None)):
        pin(store, id, user=user)
    deleted = '{"type":"chat.deleted","id":"x","ids":["p1"],"user_ids":["carol","bob"]}'
    assert act(store, 0, deleted)[0] == "ok"
    off = [json.loads(body) for body in store.bodies()[4:]]
    assert sorted(each["pin"] for each in off) == ["p1", "p2"]
    assert sorted(each["id"] for each in off) == ["x-1", "x-2"]
    assert pins(store) == ["p3"]


def fill(store: Frozen, *each: tuple[str, int], epoch: str = "e1") -> str:
    rows = [{"user_id": user, "version": version, "standing": "{}"} for user, version in each]
    return str(store.run(FILL, epoch=epoch, each=rows)[0])


def test_people_are_filled_beside_what_is_newer(store: Frozen) -> None:
    """The last call marks them as whole, for this epoch."""
    store.client.hset(PEOPLE, mapping={"alice": '5 {"a":1}', "bob": '3 {"b":1}', "cem": '3 {"c":1}'})
    assert fill(store, ("alice", 4), ("bob", 3), ("cem", 4), ("dan", 1), epoch="e0") == "other_epoch"
    assert fill(store, ("alice", 4), ("bob", 3), ("cem", 4), ("dan", 1)) == "ok"
    assert store.client.hgetall(PEOPLE) == {"alice": '5 {"a":1}', "bob": '3 {"b":1}', "cem": "4 {}", "dan": "1 {}"}
    assert fill(store) == "ok"
    assert store.client.hget(PEOPLE, "") == "e1"
    store.client.delete(META)
    assert fill(store) == "no_room"
