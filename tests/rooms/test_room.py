"""A room on a node: a newcomer's snapshot is exactly as of its seq, and what follows comes after it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from protocol.rooms import Settings
from server import limits
from server.rooms.about import shown_settings
from tests.site import Site, Viewer

AnotherSite = Callable[[], Awaitable[Site]]


class Fold:
    """The room as somebody sees it who got every event: the state after each of them."""

    def __init__(self, viewer: Viewer) -> None:
        room = viewer.welcome["room"]
        assert (room["coins"], room["likes"], room["top"], room["open_combos"]) == (0, 0, [], [])
        self.likes = self.coins = 0
        self.viewers = dict(room["viewers"])
        self.given: dict[str, int] = {}
        self.combos: dict[tuple[str, str, str], tuple[int, int]] = {}
        self.after = {viewer.welcome["seq"]: self.state()}
        for event in viewer.events():
            getattr(self, event["type"].replace(".", "_"), lambda _: None)(event)
            self.after[event["seq"]] = self.state()

    def likes_counted(self, event: dict[str, Any]) -> None:
        self.likes += event["added"]

    def viewers_counted(self, event: dict[str, Any]) -> None:
        self.viewers = {name: event[name] for name in ("now", "peak", "unique")}

    def gifts_sent(self, event: dict[str, Any]) -> None:
        user = event["from"]["user_id"]
        self.coins += event["coins"]
        self.given[user] = self.given.get(user, 0) + event["coins"]
        if event["combo"]:
            key = (user, event["gift"]["id"], event["combo"]["id"])
            count, coins = self.combos.get(key, (0, 0))
            self.combos[key] = (max(count, event["combo"]["count"]), coins + event["coins"])

    def gifts_combo_ended(self, event: dict[str, Any]) -> None:
        ended = self.combos.pop((event["from"]["user_id"], event["gift"]["id"], event["combo"]["id"]))
        assert ended == (event["combo"]["count"], event["coins"])

    def state(self) -> dict[str, Any]:
        return {
            "likes": self.likes,
            "coins": self.coins,
            "viewers": self.viewers,
            "top": dict(self.given),
            "open_combos": dict(self.combos),
        }


def state_of(room: dict[str, Any]) -> dict[str, Any]:
    """The same state, of a snapshot."""
    coins = [row["coins"] for row in room["top"]]
    assert coins == sorted(coins, reverse=True)
    assert [row["rank"] for row in room["top"]] == list(range(1, len(coins) + 1))
    return {
        "likes": room["likes"],
        "coins": room["coins"],
        "viewers": room["viewers"],
        "top": {row["user"]["user_id"]: row["coins"] for row in room["top"]},
        "open_combos": {
            (combo["from"]["user_id"], combo["gift"]["id"], combo["id"]): (combo["count"], combo["coins"])
            for combo in room["open_combos"]
        },
    }


@pytest.mark.parametrize("shared_ms", [0.0, limits.SNAPSHOT_MS_MAX], ids=["of one's own", "shared"])
async def test_a_snapshot_is_exactly_as_of_its_seq(
    another_site: AnotherSite, monkeypatch: pytest.MonkeyPatch, shared_ms: float
) -> None:
    """A newcomer in the middle of everything gets the room as it was at `seq`, and then all that followed."""
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", shared_ms)
    monkeypatch.setattr(limits, "COMBO_GAP_MS", 300)
    monkeypatch.setattr(limits, "VIEWERS_EVERY_MS", 100)
    chance = random.Random(3)
    sites = [await another_site(), await another_site()]
    watcher = await sites[0].join("screen", "overlay")
    givers = [await sites[n % 2].join(user) for n, user in enumerate(("alice", "bob"))]
    comers: list[Viewer] = []

    async def give(giver: Viewer, n: int) -> None:
        combo = chance.choice([None, f"c{n // 5}"])
        await giver.gift(chance.choice(["rose", "heart"]), chance.randint(1, 3), combo=combo)
        await giver.ask("likes.send", count=chance.randint(1, 9))

    async def come(n: int) -> None:
        comers.append(await sites[n % 2].join(f"comer-{n}", codec=chance.choice(["json", "msgpack"])))

    for n in range(24):
        await asyncio.gather(come(n), *(give(giver, n) for giver in givers))
        if n == 12:
            await watcher.happened("likes.counted")
            await watcher.happened("gifts.combo_ended")
    last = (await givers[0].ask("chat.send", text="that is all"))["seq"]
    await watcher.happened("chat.sent", seq=last)
    fold = Fold(watcher)
    assert len({viewer.welcome["seq"] for viewer in comers}) > (5 if shared_ms == 0 else 0)
    for viewer in comers:
        await viewer.happened("chat.sent", seq=last)
        seq = viewer.welcome["seq"]
        assert state_of(viewer.welcome["room"]) == fold.after[seq], f"at {seq}"
        seqs = [event["seq"] for event in viewer.events() if event["seq"] <= last]
        assert seqs == list(range(seq + 1, last + 1))


async def test_the_welcome(site: Site) -> None:
    """The first message says who you are, where you are, and everything about the room."""
    alice = await site.join("alice")
    welcome = alice.welcome
    assert (welcome["type"], welcome["protocol"], welcome["resumed"], welcome["gap"]) == ("welcome", 1, False, None)
    you = {name: welcome["you"][name] for name in ("user_id", "name", "role", "coins", "muted_until_ms")}
    assert you == {"user_id": "alice", "name": "Alice", "role": "viewer", "coins": 10_000, "muted_until_ms": None}
    room = welcome["room"]
    assert (room["room_id"], room["title"], room["status"]) == ("demo", "Welcome to Liveroom", "live")
    assert room["host"] == {"user_id": "creator", "name": "Creator"}
    assert room["settings"] == msgspec.to_builtins(shown_settings(Settings()))
    assert (room["goals"], room["pins"], room["open_combos"]) == ([], [], [])
    assert welcome["heartbeat_s"] == limits.HEARTBEAT_S
    again = await site.join("alice")
    assert again.welcome["you"]["member_id"] != welcome["you"]["member_id"]
    overlay = await site.join("screen", "overlay")
    assert overlay.welcome["you"]["coins"] is None


async def test_msgpack_has_the_same_shape(site: Site) -> None:
    """Both codecs have one shape."""
    plain, packed = await site.join("alice"), await site.join("alice", codec="msgpack")
    assert plain.welcome.keys() == packed.welcome.keys()
    assert plain.welcome["room"].keys() == packed.welcome["room"].keys()
    await plain.gift("rose", 2, combo="c", message="✓")
    events = [await viewer.happened("gifts.sent") for viewer in (plain, packed)]
    assert events[0] == events[1]


async def test_a_balance_that_moves_during_the_welcome(site: Site) -> None:
    """No change is lost between the welcome's balance and the messages after it: the last one is right."""
    alice = await site.join("alice")
    for _ in range(10):
        gifts = [asyncio.create_task(alice.gift("rose", 1)) for _ in range(3)]
        late = await site.join("alice")
        coins = min([(await gift)["coins"] for gift in gifts])
        if late.welcome["you"]["coins"] != coins:
            await late.happened("wallet.changed", coins=coins)
        await late.leave()
