"""Boards of the broadcast, the day, the week and all time: exact under refunds and losses, on every node."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from server import limits
from server.journal import given
from server.journal.drain import Drain
from server.rooms import tally
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.features.test_refunded import refund
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]
WINDOWS = ("broadcast", "day", "week", "all")


@pytest.fixture
async def journal_process(site: Site) -> AsyncIterator[Drain]:
    """A drain for which every entry is old enough to be shown."""
    async with site.draining(ahead_s=5) as drain:
        yield drain


async def board(viewer: Viewer, window: str, by: str = "sum", **more: Any) -> list[tuple[str, int]]:
    """The first places, which must be ranked."""
    reply = await viewer.ask("board.get", window=window, by=by, **more)
    assert reply["type"] == "ok", reply
    assert [row["rank"] for row in reply["top"]] == list(range(1, len(reply["top"]) + 1))
    return [(row["user"]["user_id"], row["coins"]) for row in reply["top"]]


async def boards(viewer: Viewer, by: str = "sum") -> list[list[tuple[str, int]]]:
    return [await board(viewer, window, by) for window in WINDOWS]


async def place(viewer: Viewer, **fields: Any) -> tuple[int | None, int, int | None]:
    you = (await viewer.ask("board.get", **fields))["you"]
    return you["rank"], you["coins"], you["behind"]


async def shown(viewer: Viewer, coins: int) -> None:
    await viewer.happened("gifts.sent", coins=coins)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_every_window_and_kind(site: Site, another_site: MakeSite, codec: str) -> None:
    """Sums and largest gifts, with one's own place; the next broadcast empties only its own."""
    there = await another_site()
    alice, bob, carol = await site.join("alice"), await there.join("bob", codec=codec), await there.join("carol")
    assert await boards(bob) == [[]] * 4
    assert await place(bob) == (None, 0, None)
    await alice.gift("rose", 30)
    await alice.gift("rose", 25)
    await bob.gift("rose", 40)
    for viewer in (alice, bob):
        await shown(viewer, 40)
        await shown(viewer, 25)
    assert await boards(bob) == [[("alice", 55), ("bob", 40)]] * 4
    assert await boards(bob, "single") == [[("bob", 40), ("alice", 30)]] * 4
    assert await board(alice, "day", limit=1) == [("alice", 55)]
    assert await place(alice, window="week") == (1, 55, None)
    assert await place(bob, window="week") == (2, 40, 15)
    assert await place(bob, window="all", limit=1) == (2, 40, 15)
    assert await place(alice, window="all", by="single") == (2, 30, 10)
    assert await place(carol, window="day") == (None, 0, 40)
    assert await place(carol, window="day", by="single") == (None, 0, 30)
    names = [row["user"]["name"] for row in (await bob.ask("board.get", window="all", by="single"))["top"]]
    assert names == ["Bob", "Alice"]
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    dave = await there.join("dave")
    assert await boards(dave) == [[], *[[("alice", 55), ("bob", 40)]] * 3]
    assert await boards(dave, "single") == [[], *[[("bob", 40), ("alice", 30)]] * 3]
    shown_over_http = (await there.http.get("/v1/rooms/demo/board", params={"window": "day", "limit": 1})).json()
    assert shown_over_http == {"top": [{"rank": 1, "user": {"user_id": "alice", "name": "Alice"}, "coins": 55}]}
    assert (await there.http.get("/v1/rooms/nowhere/board")).status_code == 404
    assert (await dave.ask("board.get", window="year"))["reason"] == "bad_command"
    assert (await dave.ask("board.get", limit=101))["reason"] == "bad_command"


async def test_refunds_lower_the_window_of_the_gift(site: Site, journal_process: Drain) -> None:
    """Also when the next broadcast has begun; the next largest gift is the largest again."""
    alice, bob = await site.join("alice"), await site.join("bob")
    first = await alice.gift("rose", 30)
    await alice.gift("rose", 20)
    await bob.gift("rose", 25)
    await shown(alice, 25)
    await shown(bob, 20)
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    await refund(site, journal_process, first["id"])
    carol = await site.join("carol")
    assert await boards(carol) == [[], *[[("bob", 25), ("alice", 20)]] * 3]
    assert await boards(carol, "single") == [[], *[[("bob", 25), ("alice", 20)]] * 3]


async def test_hidden_people_are_on_no_board_of_others(site: Site, another_site: MakeSite) -> None:
    """They see themselves, the others see the places without them."""
    host, alice, bob = await host_of(site), await site.join("alice"), await site.join("bob")
    await site.give_coins("carol", 10)
    await host.ask("members.hide", user_id="alice")
    await alice.gift("rose", 30)
    await bob.gift("rose", 20)
    await shown(alice, 20)
    carol = await site.join("carol")
    await carol.gift("rose", 10)
    await shown(alice, 10)
    for window in WINDOWS:
        for by in ("sum", "single"):
            assert await board(bob, window, by) == [("bob", 20), ("carol", 10)]
            assert await board(alice, window, by) == [("alice", 30), ("bob", 20), ("carol", 10)]
            assert await place(bob, window=window, by=by) == (1, 20, None)
            assert await place(carol, window=window, by=by, limit=1) == (2, 10, 10)
    await bob.happened("board.climbed", rank=1, user={"user_id": "bob", "name": "Bob"})
    assert {event["user"]["user_id"] for event in bob.events("board.climbed")} <= {"bob", "carol"}
    await bob.until(lambda _: _ids(bob.events("board.changed")[-1]["top"]) == ["bob", "carol"])
    assert _ids((await (await another_site()).join("dave")).welcome["room"]["top"]) == ["bob", "carol"]


def _ids(top: list[dict[str, Any]]) -> list[str]:
    return [row["user"]["user_id"] for row in top]


async def test_who_comes_among_the_first_three(site: Site, another_site: MakeSite, monkeypatch: Any) -> None:
    """It is one event for everybody; who only changes places among them is not new there."""
    monkeypatch.setattr(limits, "BOARD_EVERY_MS", 100)
    there = await another_site()
    watcher = await there.join("obs", "overlay", codec="msgpack")
    users = [await site.join(user) for user in ("alice", "bob")]
    for coins, viewer in enumerate(users, 1):
        await viewer.gift("rose", coins)
        user_id = viewer.welcome["you"]["user_id"]
        climbed = await watcher.happened("board.climbed", user={"user_id": user_id, "name": user_id.capitalize()})
        assert climbed["rank"] == 1
    await users[0].gift("rose", 9)
    await watcher.until(
        lambda _: [row["user"]["user_id"] for row in watcher.events("board.changed")[-1]["top"]] == ["alice", "bob"]
    )
    assert len(watcher.events("board.climbed")) == 2


async def test_boards_without_sql(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards that are whole are read without SQL; lost ones are refused until it is back."""
    alice = await site.join("alice")
    await alice.gift("rose", 3)
    await shown(alice, 3)
    assert await board(alice, "all") == [("alice", 3)]

    def away(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(given, "gifts", away)
        assert await board(alice, "all") == [("alice", 3)]
        with stores.room.client() as client:
            client.delete(keys.room("demo", tally.WHOLE))
        assert (await alice.ask("board.get", window="day"))["reason"] == "unavailable"
        assert await board(alice, "broadcast") == [("alice", 3)]
    assert await board(alice, "day") == [("alice", 3)]
