"""Anonymous gifts: nothing that anybody else gets says who gave them, and the journal knows it all the same."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.features import gifts
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.journal.ledger import drained
from tests.program import eventually
from tests.site import Site, Viewer, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]
SHOWN = {"user_id": "anonymous", "name": "", "role": None, "badges": ["anonymous"]}
SECRETS = ("zelda", "Zelda", "fan-since-2019")  # the id, the name and the streak's id


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards and counts come soon after each other."""
    monkeypatch.setattr(limits, "BOARD_EVERY_MS", 200)


async def rich(site: Site, *, coins: int = 10_000, **fields: Any) -> Viewer:
    """Somebody with coins, whom nobody is to know."""
    await site.give_coins("zelda", coins)
    return await site.join("zelda", **fields)


UNDER_THEIR_NAME = {("viewers.counted", "joined"), ("likes.counted", "top")}  # what they do beside giving


def assert_nothing_said(viewer: Viewer) -> None:
    """Nothing that they were told names the giver, but where somebody of this name came or liked."""
    for message in viewer.told:
        told = {name: value for name, value in message.items() if (message["type"], name) not in UNDER_THEIR_NAME}
        said = json.dumps(told, ensure_ascii=False)
        assert [secret for secret in SECRETS if secret in said] == [], said


async def end(viewers: list[Viewer], by: Viewer) -> None:
    """Wait until everything that happened so far has come to all of them."""
    said = await by.ask("chat.send", text="that is all")
    for viewer in viewers:
        await viewer.happened("chat.sent", id=said["id"])


async def test_nobody_learns_who_gave(
    site: Site, another_site: MakeSite, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not live, by streaks, boards, pins, likes or a refund, and not who comes later or comes back."""
    monkeypatch.setattr(limits, "COMBO_GAP_MS", 600)
    there = await another_site()
    alice, bob, host = await site.join("alice"), await there.join("bob", codec="msgpack"), await host_of(site)
    zelda = await rich(site)
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    assert (await host.ask("goals.set", id="g", kind="coins", title="Stage lights", target=1_000))["type"] == "ok"
    first = await zelda.gift("whale", anonymous=True, message="for you")
    replies = [await zelda.gift("rose", 2, anonymous=True, combo="fan-since-2019") for _ in range(2)]
    assert [reply["combo"] for reply in replies] == [{"id": "fan-since-2019", "count": n} for n in (2, 4)]
    assert await site.coins("zelda") == 10_000 - 1_004
    for viewer in (alice, bob, host):
        event = await viewer.happened("gifts.sent", id=first["id"])
        assert (event["from"], event["message"], event["coins"]) == (SHOWN, "for you", 1_000)
        assert (await viewer.happened("chat.pinned"))["pin"]["event"]["from"] == SHOWN
    assert (await host.ask("gifts.thank", gift_id=first["id"]))["type"] == "ok"
    assert (await bob.happened("gifts.thanked"))["user"] == SHOWN
    assert (await bob.happened("goals.reached"))["contributors"] == []
    for window in ("broadcast", "day", "week", "all"):
        for by in ("sum", "single"):
            assert (await bob.ask("board.get", window=window, by=by))["top"] == []
    late = await there.join("late")
    await zelda.ask("likes.send", count=3)
    ended = await bob.happened("gifts.combo_ended")
    assert (ended["from"], ended["combo"]["count"], ended["coins"]) == (SHOWN, 4, 4)
    back = await there.join("alice", since=since)
    await back.happened("gifts.sent", id=first["id"], replayed=True)
    await site.settled()
    async with site.draining(ahead_s=5) as drain:
        (await site.http.post(f"/v1/gifts/{first['id']}/refund", json={})).raise_for_status()
        await drained(drain)
        await drain.retell_once()
    await bob.happened("gifts.refunded", gift_id=first["id"])
    newest = await there.join("newest")
    await bob.gift("heart")
    await bob.happened("board.changed", top=[{"rank": 1, "user": {"user_id": "bob", "name": "Bob"}, "coins": 5}])
    everybody = [alice, bob, host, late, back, newest]
    await end(everybody, bob)
    for viewer in everybody:
        assert_nothing_said(viewer)
    with stores.room.client() as look:
        assert look.hget(keys.room("demo", keys.META), "coins") == str(4 + 5)
    kinds = [entry["kind"] for entry in (await site.http.get("/v1/wallets/zelda/entries")).json()["entries"]]
    assert kinds == ["refund", "gift", "gift", "gift", "topup"]


async def test_a_streak_beside_one_with_a_name(site: Site) -> None:
    """It counts for itself: neither its id nor its count says whose other streak goes on."""
    alice, zelda = await site.join("alice"), await rich(site)
    await zelda.gift("rose", 5, combo="c")
    reply = await zelda.gift("rose", 1, combo="c", anonymous=True)
    assert reply["combo"] == {"id": "c", "count": 1}
    event = await alice.happened("gifts.sent", id=reply["id"])
    assert (event["combo"]["count"], event["combo"]["id"] != "c") == (1, True)
    other = await alice.gift("rose", 1, combo="c", anonymous=True)
    theirs = await alice.happened("gifts.sent", id=other["id"])
    assert theirs["combo"]["id"] not in ("c", event["combo"]["id"])
    late = await site.join("late", "overlay")
    await eventually(lambda: _open_combos(site, 3), what="three streaks in a snapshot")
    await late.leave()


async def _open_combos(site: Site, count: int) -> bool:
    late = await site.join("late", "overlay")
    await late.leave()
    return len(late.welcome["room"]["open_combos"]) == count


async def test_the_same_gift_again(site: Site, another_site: MakeSite) -> None:
    """A repeat is one gift on every node; with the name it is another, and nobody sees it."""
    alice, zelda, there = await site.join("alice"), await rich(site), await another_site()
    again, id = await there.join("zelda"), new_gift_id()
    first = await zelda.gift("coffee", id=id, anonymous=True)
    reply = await again.gift("coffee", id=id, anonymous=True)
    assert (reply["duplicate"], reply["coins"]) == (True, first["coins"])
    for anonymous in ({}, {"anonymous": False}):
        assert (await again.gift("coffee", id=id, **anonymous))["reason"] == "conflict"
    named = new_gift_id()
    await zelda.gift("coffee", id=named)
    assert (await zelda.gift("coffee", id=named, anonymous=False))["duplicate"] is True
    await alice.happened("gifts.sent", id=named)
    assert [event["from"]["user_id"] for event in alice.events("gifts.sent")] == ["anonymous", "zelda"]


async def test_the_journal_shows_it(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gift whose node died is shown from the ledger, without its name and with no row on the board."""
    alice, zelda = await site.join("alice"), await rich(site)
    monkeypatch.setattr(gifts, "_show_soon", lambda _room, _gift: None)
    reply = await zelda.gift("rose", 3, anonymous=True, combo="fan-since-2019")
    async with site.draining(ahead_s=5) as drain:
        await drained(drain)
        await drain.retell_once()
    event = await alice.happened("gifts.sent", id=reply["id"])
    assert (event["from"], event["combo"]["count"]) == (SHOWN, 3)
    await end([alice], alice)
    assert_nothing_said(alice)
    with stores.room.client() as look:
        assert look.hget(keys.room("demo", keys.META), "coins") == "3"
        assert (look.zcard(keys.room("demo", "board")), look.hlen(keys.room("demo", "names"))) == (0, 0)


async def test_a_refund_leaves_what_was_given_with_the_name(site: Site, stores: Stores) -> None:
    """The board has only gifts with a name, so a refund of another one takes nothing from it."""
    alice, zelda = await site.join("alice"), await rich(site)
    await zelda.gift("rose", 7)
    reply = await zelda.gift("rose", 5, anonymous=True)
    async with site.draining(ahead_s=5) as drain:
        await drained(drain)
        (await site.http.post(f"/v1/gifts/{reply['id']}/refund", json={})).raise_for_status()
        await drained(drain)
        await drain.retell_once()
    event = await alice.happened("gifts.refunded", gift_id=reply["id"])
    assert event["coins"] == 5
    with stores.room.client() as look:
        assert look.zscore(keys.room("demo", "board"), "zelda") == 7
        assert look.hget(keys.room("demo", keys.META), "coins") == "7"
