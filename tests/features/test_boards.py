"""The board of gifters: it follows the gifts, in order, and not too often."""

import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import background, limits
from server.features.boards import publish_board
from server.store.client import Store, StoreError
from tests.program import eventually
from tests.site import WAIT_S, Site, Viewer, new_gift_id

MakeSite = Callable[[], Awaitable[Site]]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards are sent soon after each other, for tests that are not about the pause."""
    monkeypatch.setattr(limits, "BOARD_EVERY_MS", 200)


def row(rank: int, user: str, coins: int) -> dict[str, Any]:
    """A row of the board as it is on the wire."""
    return {"rank": rank, "user": {"user_id": user, "name": user.capitalize()}, "coins": coins}


async def board(viewer: Viewer, *rows: dict[str, Any]) -> None:
    """Wait until the newest board that the viewer got is this one."""
    await viewer.until(lambda _: [event["top"] for event in viewer.events("board.changed")[-1:]] == [list(rows)])


@pytest.mark.usefixtures("hurried")
async def test_the_board_follows_the_gifts(site: Site, another_site: MakeSite) -> None:
    """Sums per person in falling order with ranks and names: on every node, and the same in a newcomer's snapshot."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    obs = await there.join("obs", "overlay")
    assert alice.welcome["room"]["top"] == []
    await alice.gift("heart", 2)
    await board(obs, row(1, "alice", 10))
    await bob.gift("crown")
    await bob.gift("rose")
    await alice.gift("rose", 2)
    rows = [row(1, "bob", 100), row(2, "alice", 12)]
    for viewer in (alice, bob, obs):
        await board(viewer, *rows)
    assert (await (await another_site()).join("carol")).welcome["room"]["top"] == rows
    await alice.gift("whale")
    await board(bob, row(1, "alice", 1_012), row(2, "bob", 100))


async def test_the_board_is_sent_at_most_once_a_second(site: Site, another_site: MakeSite) -> None:
    """Gifts on two nodes over some seconds make few boards, a second apart, and the last is right."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob")
    for count in range(1, 3):
        for _ in range(10):
            await alice.gift("rose", count)
            await bob.gift("heart", count)
        sums = sorted([("alice", 10), ("bob", 50)], key=lambda of: -of[1])
        total = sum(range(1, count + 1))
        await board(alice, *(row(rank, user, coins * total) for rank, (user, coins) in enumerate(sums, 1)))
    times = [event["at_ms"] for event in bob.events("board.changed")]
    assert len(times) >= 2
    assert all(later - earlier >= 1_000 for earlier, later in itertools.pairwise(times))


async def test_no_board_without_gifts(site: Site) -> None:
    """Chat, likes, refused and repeated gifts change no board."""
    alice, bob = await site.join("alice"), await site.join("bob")
    await alice.gift("no_such_gift")
    await alice.gift("rocket", 2)
    await alice.ask("chat.send", text="hello")
    await alice.ask("likes.send", count=50)
    await bob.happened("likes.counted")
    assert bob.events("board.changed") == []
    gift_id = new_gift_id()
    await alice.gift("rose", id=gift_id)
    await board(bob, row(1, "alice", 1))
    await alice.gift("rose", id=gift_id)
    await alice.ask("likes.send", count=1)
    await bob.happened("likes.counted", total=51)
    assert len(bob.events("board.changed")) == 1


@pytest.mark.usefixtures("hurried")
async def test_a_board_that_could_not_be_sent(site: Site) -> None:
    """It is sent when the store is back, though no further gift comes."""
    await background.end(site.node.rooms._task)  # here the test calls what is due itself
    alice = await site.join("alice")
    await alice.gift("heart", 2)
    await alice.happened("gifts.sent")
    [room] = site.node.rooms.here()
    store = site.node.room_store
    assert isinstance(store, Store)
    assert store.link is not None
    store.link.abort()
    with pytest.raises(StoreError):
        await publish_board(room)
    await eventually(lambda: not store.up, what="the loss")
    await store.wait_up(WAIT_S)
    await publish_board(room)
    await board(alice, row(1, "alice", 10))


@pytest.mark.usefixtures("hurried")
async def test_the_board_has_ten_rows(site: Site) -> None:
    """More gifters than rows: the greatest are on it."""
    givers = [f"u{number:02d}" for number in range(limits.BOARD_ROWS + 2)]
    watcher = await site.join("obs", "overlay")
    for number, user in enumerate(givers):
        await site.give_coins(user, 100)
        assert (await (await site.join(user)).gift("rose", 1 + number))["type"] == "ok"
    ranked = list(reversed(list(enumerate(givers, 1))))[: limits.BOARD_ROWS]
    await board(watcher, *(row(rank, user, coins) for rank, (coins, user) in enumerate(ranked, 1)))


@pytest.mark.usefixtures("hurried")
async def test_names_on_the_board(site: Site) -> None:
    """A display name comes out as others may see it, whatever it contains; it is the name at the last gift."""
    watcher = await site.join("obs", "overlay", codec="msgpack")
    for coins, name in enumerate(['Quo"te \\ back', "雪 ❄️", "</script>", "\x7f\u2028x"], 1):
        token = site.node.tokens.sign(sub="alice", name=name, role="viewer", exp_s=time.time() + 60)
        site.token = lambda *_args, of=token, **_more: of  # type: ignore[method-assign]
        await (await site.join("alice")).gift("rose")
        shown = {"user_id": "alice", "name": name.strip("\x7f\u2028")}
        await board(watcher, {"rank": 1, "user": shown, "coins": coins})
