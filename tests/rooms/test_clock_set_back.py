"""The room store's clock is set back: what was written in its future has expired, and nothing waits for it."""

from collections.abc import Iterator

import pytest
import redis

from server import limits
from server.features.chat import TALK
from server.features.viewers import NODE
from server.store import keys
from tests.conftest import Stores
from tests.program import eventually
from tests.site import WAIT_S, Site

META = keys.room("demo", keys.META)
HOUR_MS = 3_600_000


@pytest.fixture
def store(stores: Stores) -> Iterator[redis.Redis]:
    with stores.room.client() as client:
        yield client


def future_ms(store: redis.Redis) -> int:
    """An hour from now on the store's clock: the present of before it was set back."""
    return int(store.time()[0]) * 1000 + HOUR_MS


async def test_chat(site: Site, store: redis.Redis) -> None:
    """Slow mode and the rule against repetition are over, and the room's budget is full."""
    await site.put_room("slow", slow_mode_s=60, unique_chat_s=60, chat_per_s=1)
    alice = await site.join("alice", room="slow")
    assert (await alice.ask("chat.send", text="one"))["type"] == "ok"
    store.hset(keys.room("slow", TALK, "alice"), "at", future_ms(store))
    store.hset(keys.room("slow", keys.META), mapping={"chat_left": "0.000", "chat_at": future_ms(store)})
    again = await alice.ask("chat.send", text="one")
    assert (again["type"], again.get("hidden", False)) == ("ok", False)
    assert (await alice.ask("chat.send", text="two"))["reason"] == "slow_mode"


async def test_counts_and_boards(site: Site, store: redis.Redis) -> None:
    """The next count and the next board come at once, although the last ones were in the future."""
    screen = await site.join("screen", "overlay")
    store.hset(META, mapping={"viewers_at": future_ms(store), "board_at": future_ms(store)})
    alice = await site.join("alice")
    await screen.happened("viewers.counted", now=1)
    await alice.gift("rose")
    await screen.happened("board.changed")
    assert int(store.hget(META, "board_at") or 0) < future_ms(store) - HOUR_MS // 2


async def test_a_dead_node(site: Site, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its viewers stop counting after the usual time."""
    monkeypatch.setattr(limits, "PRESENCE_BEAT_S", 0.2)
    monkeypatch.setattr(limits, "PRESENCE_GONE_S", 1.0)
    store.sadd(keys.room("demo", NODE, "dead"), "ghost")
    store.hset(keys.room("demo", "present"), "ghost", 1)
    store.zadd(keys.room("demo", "nodes"), {"dead": future_ms(store)})
    alice = await site.join("alice")
    await alice.happened("viewers.counted", now=2)
    await alice.happened("viewers.counted", now=1)
    assert not store.exists(keys.room("demo", NODE, "dead"))


async def test_a_streak(site: Site, store: redis.Redis) -> None:
    """It ends, as if its time were over."""
    alice = await site.join("alice")
    await alice.gift("rose", combo="c")
    state = keys.room("demo", "state")
    await eventually(lambda: store.hlen(state), WAIT_S, "the streak")
    [(field, value)] = store.hgetall(state).items()
    store.hset(state, field, f"{future_ms(store)} {value.partition(' ')[2]}")
    await alice.happened("gifts.combo_ended", wait_s=limits.COMBO_GAP_MS / 1000)
