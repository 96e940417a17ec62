"""Chat that comes together: one call for many messages, and each with its own seq, reply and refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.features import chat
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.lossy import LossyWire
from tests.program import eventually
from tests.site import Site, Viewer


class Held:
    """Holds the first call up until `go`, and notes how many messages each call has."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.sizes: list[int] = []
        self._run = site.node.history.store.run
        monkeypatch.setattr(site.node.history.store, "run", self._held)

    async def _held(self, script: Any, names: list[str], args: list[Any]) -> Any:
        if script is chat.SEND:
            self.sizes.append((len(args) - len(script.args)) // len(script.each_args))
            self.asked.set()
            await self.go.wait()
        return await self._run(script, names, args)


async def waiting(site: Site, number: int, room: str = "demo") -> None:
    """Wait until so many messages wait for the call that is held up."""
    opened = site.node.rooms.opened(room)
    assert opened is not None
    together = chat._together(opened)
    await eventually(lambda: len(together.waiting) == number, what="messages that wait")


def replies(viewer: Viewer) -> dict[str, dict[str, Any]]:
    return {m["ref"]: m for m in viewer.told if m["type"] in ("ok", "refused")}


async def say(viewer: Viewer, *texts: str) -> None:
    """Send these without waiting; each has its text as its ref."""
    for text in texts:
        await viewer.tell({"type": "chat.send", "ref": text, "text": text})


async def answers(viewer: Viewer, *refs: str) -> list[dict[str, Any]]:
    """The replies to these, in their order."""
    found: dict[str, dict[str, Any]] = await viewer.until(lambda _: len(got := replies(viewer)) >= len(refs) and got)
    return [found[ref] for ref in refs]


async def test_what_comes_during_a_call_shares_the_next(
    site: Site, another_site: Callable[[], Awaitable[Site]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every node, in both codecs: one order, each person's own order, and the seq of each reply."""
    other = await another_site()
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    far = [await other.join("carol"), await other.join("dora", codec="msgpack")]
    held = Held(site, monkeypatch)
    await say(alice, "first")
    await held.asked.wait()
    mine, theirs = [f"alice {n}" for n in range(5)], [f"bob {n}" for n in range(5)]
    for one, another in zip(mine, theirs, strict=True):
        await say(alice, one)
        await say(bob, another)
    await waiting(site, 10)
    held.go.set()
    said = {"first": (await answers(alice, "first", *mine))[0]["seq"]}
    said |= {ref: reply["seq"] for each in (alice, bob) for ref, reply in replies(each).items()}
    assert held.sizes == [1, 10]
    for viewer in (alice, bob, *far):
        await viewer.until(lambda _, viewer=viewer: len(viewer.events("chat.sent")) == 11)
        heard = [event["text"] for event in viewer.events("chat.sent")]
        assert [text for text in heard if text in mine] == mine
        assert [text for text in heard if text in theirs] == theirs
        for event in viewer.events("chat.sent"):
            if event["text"] in said:
                assert event["seq"] == said[event["text"]]
        seqs = [event["seq"] for event in viewer.events()]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    late = await other.join("eve", since=f"{alice.welcome['epoch']}:{alice.welcome['seq']}")
    await late.until(lambda _: len(late.events("chat.sent")) == 11)


async def test_a_call_has_a_bound(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """More messages than fit into one call go in several."""
    monkeypatch.setattr(limits, "CHAT_BATCH_MAX", 3)
    alice = await site.join("alice")
    held = Held(site, monkeypatch)
    await say(alice, "first")
    await held.asked.wait()
    texts = [f"line {n}" for n in range(7)]
    await say(alice, *texts)
    await waiting(site, 7)
    held.go.set()
    seqs = [reply["seq"] for reply in await answers(alice, "first", *texts)]
    assert held.sizes == [1, 3, 3, 1]
    assert seqs == sorted(set(seqs))


async def test_more_than_may_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound a message is refused at once, and the others are sent."""
    monkeypatch.setattr(limits, "CHAT_QUEUE_MAX", 2)
    alice, bob = await site.join("alice"), await site.join("bob")
    held = Held(site, monkeypatch)
    await say(alice, "first")
    await held.asked.wait()
    await say(alice, "second", "third")
    await waiting(site, 2)
    assert (await bob.ask("chat.send", text="too much"))["reason"] == "unavailable"
    held.go.set()
    assert [reply["type"] for reply in await answers(alice, "first", "second", "third")] == ["ok"] * 3
    assert (await bob.ask("chat.send", text="again"))["type"] == "ok"


async def test_each_is_refused_for_its_own_reason(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one call: who is too fast, who repeats a message, who is over the room's budget, and who is none of that."""
    await site.put_room("strict", unique_chat_s=60, slow_mode_s=0, chat_per_s=2)
    alice, bob = await site.join("alice", room="strict"), await site.join("bob", room="strict")
    host = await site.join("creator", "host", room="strict")
    held = Held(site, monkeypatch)
    await say(host, "from the host")
    await held.asked.wait()
    turns = ((alice, "one"), (bob, "one"), (alice, "two"), (bob, "three"), (host, "one"), (host, "two"))
    for number, (viewer, text) in enumerate(turns, 1):
        await say(viewer, text)
        await waiting(site, number, "strict")
    await alice.tell({"type": "chat.send", "ref": "again", "text": "TWO"})
    await waiting(site, 7, "strict")
    held.go.set()
    one, two, again = await answers(alice, "one", "two", "again")
    others = [*await answers(bob, "one", "three"), *await answers(host, "from the host", "one", "two")]
    assert held.sizes == [1, 7]
    assert again["reason"] == "duplicate_text"
    assert 50_000 < again["retry_after_ms"] <= 60_000
    said = [one, two, *others]
    assert [reply.get("hidden", False) for reply in said] == [False, True, False, True, False, False, False]
    for viewer in (alice, bob, host):
        await viewer.happened("chat.sent", id=others[-1]["id"])
        await viewer.happened("notice", kind="hidden", count=2)
        heard = {event["id"]: event["seq"] for event in viewer.events("chat.sent")}
        assert heard == {reply["id"]: reply["seq"] for reply in said if "hidden" not in reply}


async def test_slow_mode_within_a_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second message of the same call is too fast; somebody else's is not."""
    await site.put_room("slow", slow_mode_s=60)
    alice, bob = await site.join("alice", room="slow"), await site.join("bob", room="slow")
    held = Held(site, monkeypatch)
    await say(await site.join("creator", "host", room="slow"), "from the host")
    await held.asked.wait()
    await say(alice, "one", "two")
    await say(bob, "three")
    await waiting(site, 3, "slow")
    held.go.set()
    one, two = await answers(alice, "one", "two")
    assert [one["type"], two["reason"], (await answers(bob, "three"))[0]["type"]] == ["ok", "slow_mode", "ok"]
    assert 50_000 < two["retry_after_ms"] <= 60_000


async def test_what_staff_decided_within_a_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A muted person is refused, a hidden one is shown to themselves and to staff, and the others to all."""
    host, alice, bob, carol = await host_of(site), *[await site.join(name) for name in ("alice", "bob", "carol")]
    assert (await host.ask("members.mute", user_id="alice", seconds=60))["type"] == "ok"
    assert (await host.ask("members.hide", user_id="bob"))["type"] == "ok"
    held = Held(site, monkeypatch)
    await say(host, "from the host")
    await held.asked.wait()
    for number, (viewer, text) in enumerate(((carol, "one"), (alice, "two"), (bob, "three"), (carol, "four")), 1):
        await say(viewer, text)
        await waiting(site, number)
    held.go.set()
    one, four = await answers(carol, "one", "four")
    assert four["seq"] == one["seq"] + 1
    assert (await answers(alice, "two"))[0]["reason"] == "muted"
    shadowed = (await answers(bob, "three"))[0]
    assert (shadowed["type"], shadowed["seq"]) == ("ok", one["seq"])
    assert held.sizes == [1, 4]
    await carol.happened("chat.sent", text="four")
    assert [event["text"] for event in carol.events("chat.sent")] == ["from the host", "one", "four"]
    await bob.happened("chat.sent", text="three")
    await host.happened("chat.sent", text="three", hidden=True)


async def test_one_broken_key_stops_nobody_else(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store keeps of one sender is broken: only that sender is refused."""
    await site.put_room("slow", slow_mode_s=60)
    alice, bob = await site.join("alice", room="slow"), await site.join("bob", room="slow")
    with stores.room.client() as store:
        store.set(keys.room("slow", "talk", "alice"), "not a hash")
    held = Held(site, monkeypatch)
    await say(await site.join("creator", "host", room="slow"), "from the host")
    await held.asked.wait()
    await say(alice, "one")
    await say(bob, "two")
    await waiting(site, 2, "slow")
    held.go.set()
    assert (await answers(alice, "one"))[0]["reason"] == "unavailable"
    assert (await answers(bob, "two"))[0]["type"] == "ok"


async def test_a_script_that_fails(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody of that call is refused; once the store is mended, chat goes on."""
    alice, bob = await site.join("alice"), await site.join("bob")
    held = Held(site, monkeypatch)
    with stores.room.client() as store:
        store.delete(keys.room("demo", keys.EVENTS))
        store.set(keys.room("demo", keys.EVENTS), "not a stream")
        await say(alice, "one", "two")
        await say(bob, "three")
        await held.asked.wait()
        held.go.set()
        failed = [*await answers(alice, "one", "two"), *await answers(bob, "three")]
        store.delete(keys.room("demo", keys.EVENTS))
    assert [reply["reason"] for reply in failed] == ["unavailable"] * 3
    assert (await alice.ask("chat.send", text="four"))["type"] == "ok"


async def test_a_reply_that_is_lost(
    another_site: Callable[..., Awaitable[Site]], stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The senders of that call hear that it is unavailable, as its outcome is unknown. What was said is heard."""
    wire = LossyWire(stores.room.socket.with_name("chat-wire.sock"), stores.room.socket)
    await wire.start()
    site = await another_site(LIVEROOM_ROOM_URL=f"unix://{wire.path}")
    alice, bob = await site.join("alice"), await site.join("bob")
    held = Held(site, monkeypatch)
    await say(alice, "first")
    await held.asked.wait()
    await say(alice, "second")
    await say(bob, "third")
    await waiting(site, 2)
    wire.lose_reply("second")
    held.go.set()
    assert (await answers(alice, "first", "second"))[1]["reason"] == "unavailable"
    assert (await answers(bob, "third"))[0]["reason"] == "unavailable"
    for viewer in (alice, bob):
        for text in ("first", "second", "third"):
            await viewer.happened("chat.sent", text=text)
    assert held.sizes == [1, 2]
    assert (await bob.insist("chat.send", text="fourth"))["type"] == "ok"
    await wire.stop()


async def test_a_sender_who_leaves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message is sent with those of the others."""
    alice, bob = await site.join("alice"), await site.join("bob")
    held = Held(site, monkeypatch)
    await say(bob, "first")
    await held.asked.wait()
    await say(alice, "my last words")
    await waiting(site, 1)
    await alice.leave()
    await say(bob, "second")
    await waiting(site, 2)
    held.go.set()
    assert [reply["type"] for reply in await answers(bob, "first", "second")] == ["ok"] * 2
    await bob.happened("chat.sent", text="my last words")


async def test_a_room_that_closes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits without end: what was not sent is refused, and never sent."""
    monkeypatch.setattr(limits, "CHAT_EVERY_S", 3_600.0)
    alice = await site.join("alice")
    held = Held(site, monkeypatch)
    await say(alice, "first")
    await held.asked.wait()
    await say(alice, "second")
    await waiting(site, 1)
    held.go.set()
    await alice.happened("ok", ref="first")
    room = site.node.rooms.opened("demo")
    assert room is not None
    await room.close()
    assert (await answers(alice, "first", "second"))[1]["reason"] == "unavailable"
    assert held.sizes == [1]
