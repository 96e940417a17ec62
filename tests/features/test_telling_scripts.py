"""The scripts that tell a room something once: summaries, reminders, rules, thanks, overlays, at an exact moment."""

import json
from collections.abc import Iterator

import pytest

from server.features.alerts import ACK
from server.features.broadcasts import TELL as TELL_SUMMARY
from server.features.rooms import REMINDED
from server.features.rules import FIRE
from server.features.rules import TELL as TELL_RULES
from server.features.thanks import GIVE
from server.rooms.overlays import TELL as TELL_OVERLAYS
from server.store import keys
from tests.conftest import Stores
from tests.frozen import META, ROOM, Frozen


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        frozen.made(seq=7)
        yield frozen
        frozen.close()


def test_a_summary_is_told_once(store: Frozen) -> None:
    """Then nothing is left of what it was made of; the mark stays while another broadcast has none."""
    ended, audience = keys.room(ROOM, "ended"), keys.room(ROOM, "audience", "b1")
    store.made(unsummed=1)
    store.client.hset(ended, mapping={"b1": "{}", "b2": "{}"})
    store.client.sadd(audience, "alice")

    def tell(broadcast: str) -> list[str]:
        named = {"audience": keys.room(ROOM, "audience", broadcast), "event": f'"{broadcast}"'}
        return list(store.run(TELL_SUMMARY, broadcast=broadcast, **named))

    assert tell("b1") == ["ok", "8"]
    assert (store.client.exists(audience), store.meta("unsummed")) == (0, ["1"])
    assert tell("b1") == ["known"]
    assert tell("b2") == ["ok", "9"]
    assert (store.bodies(), store.meta("unsummed")) == (['"b1"', '"b2"'], [None])
    store.client.delete(META)
    assert tell("b2") == ["no_room"]


def remind(store: Frozen, starts_at_ms: int = 100, due_at_ms: int = 50) -> list[str]:
    return list(store.run(REMINDED, starts_at_ms=starts_at_ms, due_at_ms=due_at_ms, event=f'"{due_at_ms}"'))


def test_a_room_is_reminded_once_each_time(store: Frozen) -> None:
    """In order, of the time that holds now."""
    store.made(status="ended", details=json.dumps({"starts_at_ms": 100}))
    assert remind(store) == ["ok", "8"]
    assert remind(store) == ["known"]
    assert remind(store, due_at_ms=40) == ["known"]
    assert remind(store, due_at_ms=60) == ["ok", "9"]
    assert store.meta("reminded") == ["100 60"]
    store.made(details=json.dumps({"starts_at_ms": 200}))
    assert remind(store, 100, 70) == ["changed"]
    assert remind(store, 200, 40) == ["ok", "10"]
    assert store.bodies() == ['"50"', '"60"', '"40"']


@pytest.mark.parametrize("status", ["live", "paused"])
def test_a_broadcast_that_has_begun_needs_no_reminder(store: Frozen, status: str) -> None:
    store.made(status=status, details=json.dumps({"starts_at_ms": 100}))
    assert remind(store) == ["changed"]


@pytest.mark.parametrize("details", [None, "", "{}", '{"starts_at_ms":null}', '{"starts_at_ms":"100"}'])
def test_a_room_without_a_time(store: Frozen, details: str | None) -> None:
    store.made(status="offline", **({} if details is None else {"details": details}))
    assert remind(store) == ["changed"]
    store.client.delete(META)
    assert remind(store) == ["no_room"]


def test_a_gifts_rules_fire_once(store: Frozen) -> None:
    """All in one step; the mark is for its time."""
    ruled = keys.room(ROOM, "ruled", "g1")
    each = [{"body": '"a"'}, {"body": '"b"'}]
    assert store.run(FIRE, ruled=ruled, once_s=40, each=each) == ["ok"]
    assert store.run(FIRE, ruled=ruled, once_s=40, each=each) == ["known"]
    assert (store.bodies(), 0 < store.client.ttl(ruled) <= 40) == (['"a"', '"b"'], True)
    store.client.delete(META)
    assert store.run(FIRE, ruled=ruled, once_s=40, each=each) == ["no_room"]


def test_nodes_are_told_of_rules_and_overlays(store: Frozen) -> None:
    assert store.run(TELL_RULES, version=3, rules="[]") == ["ok"]
    assert store.told() == "e1 0 rules 3 []"
    assert store.run(TELL_OVERLAYS, kind="overlay", body="{}") == ["ok"]
    assert store.told() == "e1 0 overlay {}"
    assert store.history() == []
    store.client.delete(META)
    assert store.run(TELL_RULES, version=3, rules="[]") == ["no_room"]
    assert store.run(TELL_OVERLAYS, kind="overlay", body="{}") == ["no_room"]


def test_a_gift_is_thanked_for_once(store: Frozen) -> None:
    """If it is one of this broadcast's that was shown."""
    once = keys.room(ROOM, "once", "g1")

    def thank() -> str:
        return str(store.run(GIVE, once=once, gift_id="g1", event='"thanks"')[0])

    assert thank() == "unknown"
    for seq, outcome in (("-", "unknown"), ("0", "unknown"), ("5", "unknown"), ("6", "ok"), ("6", "known")):
        store.made(thanks_from=5)
        store.client.set(once, seq)
        assert thank() == outcome
    assert store.bodies() == ['"thanks"']
    store.client.delete(META)
    assert thank() == "no_room"


def test_proofs_of_play_are_kept_within_bounds(store: Frozen) -> None:
    acks = keys.room(ROOM, "acks")
    named = {"stage": "started", "overlay": "o1", "ids": "g1 g2", "keep": 10, "kept_s": 30}
    for _ in range(250):
        assert store.run(ACK, **named) == ["ok"]
    assert 10 <= store.client.xlen(acks) <= 110
    assert store.client.xrange(acks)[-1][1] == {"s": "started", "o": "o1", "i": "g1 g2"}
    assert 0 < store.client.ttl(acks) <= 30
    store.client.delete(META)
    assert store.run(ACK, **named) == ["no_room"]
