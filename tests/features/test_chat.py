"""Chat: order, text, rules, limits and budgets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.store import keys
from tests.conftest import Stores
from tests.site import Site


async def test_everybody_gets_one_order(site: Site) -> None:
    """A message reaches the sender and the others with the seq of its reply, in json and msgpack alike."""
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    reply = await alice.ask("chat.send", text=" hello ")
    for viewer in (alice, bob):
        event = await viewer.happened("chat.sent", id=reply["id"])
        assert event["seq"] == reply["seq"]
        assert event["text"] == "hello"
        assert event["user"] == {"user_id": "alice", "name": "Alice", "role": "viewer", "badges": []}


async def test_many_at_once_keep_one_order(site: Site) -> None:
    """When two people talk at once, everybody gets one order, in which each person's own messages stay in order."""
    alice, bob = await site.join("alice"), await site.join("bob")
    for n in range(30):
        await alice.tell({"type": "chat.send", "text": f"alice {n}"})
        await bob.tell({"type": "chat.send", "text": f"bob {n}"})
    for viewer in (alice, bob):
        await viewer.until(lambda told: sum(m["type"] == "chat.sent" for m in told) == 60)
    heard = [event["text"] for event in alice.events("chat.sent")]
    assert heard == [event["text"] for event in bob.events("chat.sent")]
    for name in ("alice", "bob"):
        assert [text for text in heard if text.startswith(name)] == [f"{name} {n}" for n in range(30)]


async def test_text_is_only_text(site: Site) -> None:
    """Every text comes out as others see it; one without anything to see, or too long, is a bad command."""
    alice = await site.join("alice", codec="msgpack")
    for text in ("x" * 500, "ä" * 500, '"}]\\', "</script><b>", "👩‍👩‍👧", "a\u202eb\nc\u0007"):
        reply = await alice.ask("chat.send", text=text)
        seen = (await alice.happened("chat.sent", id=reply["id"]))["text"]
        assert seen == (text if "\u202e" not in text else "ab c")
    for text in ("", "x" * 501, "  \n ", "\u200b\u2800", "a\u0000"):
        assert (await alice.ask("chat.send", text=text))["reason"] == "bad_command"


@pytest.mark.parametrize("turn", ["offline", "end", "suspend"])
async def test_only_in_a_live_room(site: Site, turn: str) -> None:
    """Nobody chats before a broadcast or after it; a paused broadcast allows it."""
    await site.put_room("other", live=turn != "offline")
    overlay_like = await site.join("alice", room="other")
    if turn != "offline":
        assert (await overlay_like.ask("chat.send", text="now"))["type"] == "ok"
        await site.http.post("/v1/rooms/other/pause")
        await overlay_like.happened("room.paused")
        assert (await overlay_like.ask("chat.send", text="in the break"))["type"] == "ok"
        await site.http.post(f"/v1/rooms/other/{turn}")
        await overlay_like.closed()
    alice = await site.join("alice", room="other")
    assert (await alice.ask("chat.send", text="late"))["reason"] == "room_not_live"


async def test_chat_can_be_off(site: Site) -> None:
    """With chat off viewers are refused; host and moderators may chat, and gifts go on."""
    await site.put_room("quiet", chat=False)
    alice = await site.join("alice", room="quiet")
    assert (await alice.ask("chat.send", text="hello"))["reason"] == "chat_off"
    assert (await alice.gift())["type"] == "ok"
    for user, role in (("creator", "host"), ("mia", "moderator")):
        staff = await site.join(user, role, room="quiet")
        assert (await staff.ask("chat.send", text=f"from {role}"))["type"] == "ok"
        await alice.happened("chat.sent", text=f"from {role}")


@pytest.mark.parametrize(
    ("user", "role", "claim", "is_"),
    [
        ("mallory", "host", None, "viewer"),
        ("mallory", "host", "strict", "host"),
        ("mallory", "viewer", "strict", "viewer"),
        ("mia", "moderator", None, "moderator"),
        ("creator", "host", None, "host"),
        ("creator", "viewer", None, "host"),
    ],
)
async def test_who_is_staff(site: Site, user: str, role: str, claim: str | None, is_: str) -> None:
    """The host is the person whom the room names, or who has a host's token for it; rules apply to everybody else."""
    await site.put_room("strict", slow_mode_s=60, blocked_words=["darn"])
    person = await site.join(room="strict", token=site.token(user, role, room=claim))
    assert person.welcome["you"]["role"] == is_
    replies = [await person.ask("chat.send", text=text) for text in ("darn", "one", "two")]
    await site.put_room("strict", live=False, chat=False)
    await person.happened("room.updated")
    replies.append(await person.ask("chat.send", text="three"))
    said = [reply.get("reason", "ok") for reply in replies]
    assert said == (["blocked_words", "ok", "slow_mode", "chat_off"] if is_ == "viewer" else ["ok"] * 4)


async def test_blocked_words(site: Site) -> None:
    """A blocked word is found in any disguise, and within other words if it says so.

    Nobody else sees the message, and staff may say it.
    """
    await site.put_room("clean", blocked_words=["darn", "STRASSE", "*fool*"])
    alice, host = await site.join("alice", room="clean"), await site.join("creator", "host", room="clean")
    for text in (
        "darn",
        "DARN it",
        "afoolx",
        "oh Straße!",
        "d\u00ada\u200brn",
        "ｄáｒｎ",
        "da\u0301rn",
        "d4rn",
        "d a r n",
    ):
        refused = await alice.ask("chat.send", text=text)
        assert refused["reason"] == "blocked_words"
        assert "darn" not in refused["message"].lower()
    assert (await alice.ask("chat.send", text="clean"))["type"] == "ok"
    assert (await alice.ask("chat.send", text="darnel"))["type"] == "ok"
    await alice.happened("chat.sent", text="clean")
    assert len(alice.events("chat.sent")) <= 2
    assert (await host.ask("chat.send", text="darn"))["type"] == "ok"


async def test_blocked_words_stay_secret(site: Site) -> None:
    """Neither the welcome nor an update nor the open API shows the list."""
    await site.put_room("clean", blocked_words=["darn"])
    alice = await site.join("alice", room="clean")
    await site.put_room("clean", live=False, blocked_words=["darn", "heck"])
    told = await alice.happened("room.updated")
    shown = (await site.http.get("/v1/rooms/clean", headers={"Authorization": ""})).text
    for said in (str(alice.welcome), str(told), shown):
        assert "darn" not in said
        assert "blocked" not in said
    assert "heck" not in str(told)


async def test_slow_mode(site: Site, another_site: Callable[[], Awaitable[Site]]) -> None:
    """A viewer must wait between messages, on any node, and learns how long; staff need not."""
    await site.put_room("slow", slow_mode_s=60)
    alice = await site.join("alice", room="slow")
    assert (await alice.ask("chat.send", text="one"))["type"] == "ok"
    other = await another_site()
    for viewer in (alice, await site.join("alice", room="slow"), await other.join("alice", room="slow")):
        refused = await viewer.ask("chat.send", text="two")
        assert refused["reason"] == "slow_mode"
        assert 50_000 < refused["retry_after_ms"] <= 60_000
    assert (await (await site.join("bob", room="slow")).ask("chat.send", text="one"))["type"] == "ok"
    host = await site.join("creator", "host", room="slow")
    for text in ("one", "two"):
        assert (await host.ask("chat.send", text=text))["type"] == "ok"


async def test_slow_mode_ends(site: Site, stores: Stores) -> None:
    """After the reported wait the next message is accepted, and the waiting begins again."""
    await site.put_room("slow", slow_mode_s=60)
    alice = await site.join("alice", room="slow")
    await alice.ask("chat.send", text="one")
    with stores.room.client() as store:
        store.hincrby(keys.room("slow", "talk", "alice"), "at", -59_000)  # as if 59 s had gone by
        refused = await alice.ask("chat.send", text="two")
        assert 0 < refused["retry_after_ms"] <= 1_000
        store.hincrby(keys.room("slow", "talk", "alice"), "at", -1_000)
        assert (await alice.ask("chat.send", text="two"))["type"] == "ok"
        assert (await alice.ask("chat.send", text="three"))["reason"] == "slow_mode"
        assert 50_000 < store.pttl(keys.room("slow", "talk", "alice")) <= 60_000


async def test_repeating_oneself(site: Site) -> None:
    """The same text again is refused for a while, in any case; another text is not, nor the same from somebody else."""
    await site.put_room("fresh", unique_chat_s=60)
    alice, bob = await site.join("alice", room="fresh"), await site.join("bob", room="fresh")
    assert (await alice.ask("chat.send", text="Hello"))["type"] == "ok"
    refused = await alice.ask("chat.send", text="hELLO ")
    assert refused["reason"] == "duplicate_text"
    assert 50_000 < refused["retry_after_ms"] <= 60_000
    assert (await bob.ask("chat.send", text="Hello"))["type"] == "ok"
    assert (await alice.ask("chat.send", text="goodbye"))["type"] == "ok"


async def test_settings_change_while_people_watch(site: Site) -> None:
    """A change is announced to the room and applies from then on."""
    await site.put_room("other")
    alice = await site.join("alice", room="other")
    assert (await alice.ask("chat.send", text="one"))["type"] == "ok"
    await site.put_room("other", live=False, chat=False)
    told = await alice.happened("room.updated")
    assert told["settings"]["chat"] is False
    reply: dict[str, Any] = {"type": "ok"}
    while reply["type"] == "ok":
        reply = await alice.ask("chat.send", text="two")
    assert reply["reason"] == "chat_off"


async def test_an_overlay_may_not_chat(site: Site) -> None:
    """An overlay may not chat."""
    overlay = await site.join("screen", "overlay")
    assert (await overlay.ask("chat.send", text="hello"))["reason"] == "not_allowed"


async def test_a_room_over_its_budget(site: Site, another_site: Callable[[], Awaitable[Site]]) -> None:
    """Nobody sees what is over the budget, everybody learns how much it was, and gifts and staff still come through."""
    await site.put_room("busy", chat_per_s=5)
    other = await another_site()
    alice, bob = await site.join("alice", room="busy"), await other.join("bob", room="busy", codec="msgpack")
    replies = await asyncio.gather(*(alice.ask("chat.send", text=f"line {n}") for n in range(40)))
    assert {reply["type"] for reply in replies} == {"ok"}
    hidden = {reply["id"] for reply in replies if reply.get("hidden")}
    assert 20 < len(hidden) < 40
    gift = await alice.gift("rose")
    host = await site.join("creator", "host", room="busy")
    said = [await host.ask("chat.send", text=f"staff {n}") for n in range(10)]
    assert not any(reply.get("hidden") for reply in said)
    for viewer in (alice, bob):
        await viewer.happened("chat.sent", id=said[-1]["id"])
        await viewer.happened("gifts.sent", id=gift["id"])
        await viewer.until(lambda told: sum(m.get("count", 0) for m in told if m["type"] == "notice") == len(hidden))
        assert {event["id"] for event in viewer.events("chat.sent")} & hidden == set()
        assert len(viewer.events("chat.sent")) == 40 - len(hidden) + 10
    seqs = [event["seq"] for event in bob.events()]
    assert seqs == sorted(set(seqs))


async def test_a_budget_fills_again(site: Site, stores: Stores) -> None:
    """After a moment there is room for more messages, but never for more than one second's worth."""
    await site.put_room("busy", chat_per_s=2)
    alice = await site.join("alice", room="busy")
    with stores.room.client() as store:
        while not (await alice.ask("chat.send", text="fill")).get("hidden"):
            pass
        store.hincrby(keys.room("busy", keys.META), "chat_at", -60_000)  # as if a minute had gone by
        shown = [not (await alice.ask("chat.send", text=f"again {n}")).get("hidden") for n in range(4)]
    assert shown[:2] == [True, True]
    assert not all(shown)


async def test_the_time_of_an_event_is_the_stores(site: Site, stores: Stores) -> None:
    """To the millisecond: counts, streaks and slow mode are measured with it."""
    alice = await site.join("alice")
    with stores.room.client() as store:
        for number in range(5):
            before = store.time()
            reply = await alice.ask("chat.send", text=f"now {number}")
            after = store.time()
            event = await alice.happened("chat.sent", id=reply["id"])
            assert _ms(before) <= event["at_ms"] <= _ms(after)


def _ms(time: tuple[int, int]) -> int:
    return time[0] * 1000 + time[1] // 1000


async def test_none_after_the_end_that_a_node_has_not_heard_of(site: Site, stores: Stores) -> None:
    """The store knows that the broadcast is over before the nodes do: nothing is said after its last event."""
    alice = await site.join("alice")
    with stores.room.client() as store:
        store.hset(keys.room("demo", keys.META), "status", "ended")
    assert (await alice.ask("chat.send", text="late"))["reason"] == "room_not_live"
