"""Two nodes on the same stores are one room and one wallet."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.program import Program, Served
from tests.site import Viewer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other_node(running: Program) -> Served:
    """A second node beside the program's own."""
    return await running.second_node()


@pytest.fixture
async def pair(program: Program, other_node: Served) -> AsyncIterator[tuple[Program, Served]]:
    """The program, and the node beside it."""
    yield program, other_node
    await program.everybody_leaves()


async def test_one_order_on_both_nodes(pair: tuple[Program, Served]) -> None:
    """Everybody on either node gets the same events with the same seq in the same order, none missing."""
    program, node = pair
    here = [await program.join(user) for user in ("alice", "bob")]
    there = [await program.join("bob", codec="msgpack", node=node), await program.join("obs", "overlay", node=node)]
    start = max(viewer.welcome["seq"] for viewer in here + there)

    async def talk(viewer: Viewer, count: int) -> list[int]:
        replies = [await viewer.ask("chat.send", text=f"{viewer.codec} {n}") for n in range(count)]
        gifts = [await viewer.gift("rose") for _ in range(count)]
        assert all(reply["type"] == "ok" for reply in replies + gifts)
        return [reply["seq"] for reply in replies]

    seqs = await asyncio.gather(talk(here[0], 25), talk(there[0], 25))
    assert not set(seqs[0]) & set(seqs[1])
    told = [await all_told(viewer, start, gifts=50, chats=50) for viewer in here + there]
    shortest = min(len(events) for events in told)
    assert shortest >= 100
    for events in told:
        assert [event["seq"] for event in events] == list(range(start + 1, start + 1 + len(events)))
        assert events[:shortest] == told[0][:shortest]


async def all_told(viewer: Viewer, start: int, *, gifts: int, chats: int) -> list[dict]:
    """The viewer's events after `start`, once this many gifts and chats are among them."""

    def enough(_: object) -> list[dict] | None:
        events = [event for event in viewer.events() if event["seq"] > start]
        types = [event["type"] for event in events]
        done = types.count("gifts.sent") >= gifts and types.count("chat.sent") >= chats
        return events if done else None

    return list(await viewer.until(enough, 30))


async def test_balance_reaches_the_user_on_both_nodes(pair: tuple[Program, Served]) -> None:
    """A change by gift or top-up is sent to every socket of that user on any node, and to nobody else."""
    program, node = pair
    alice, there = await program.join("alice"), await program.join("alice", codec="msgpack", node=node)
    bob = await program.join("bob", node=node)
    for giver, hears in ((alice, there), (there, alice)):
        reply = await giver.gift("heart")
        changed = await hears.happened("wallet.changed", ref=reply["id"])
        assert (changed["coins"], changed["cause"]) == (reply["coins"], "gift")
    await program.post("/v1/wallets/alice/topups", {"id": "from-one-node", "coins": 70, "source": "test"})
    for viewer in (alice, there):
        changed = await viewer.happened("wallet.changed", ref="from-one-node")
        assert (changed["coins"], changed["cause"]) == (reply["coins"] + 70, "topup")
    assert [await at.coins("alice") for at in (program, node)] == [reply["coins"] + 70] * 2
    assert not [message for message in bob.told if message["type"] == "wallet.changed"]


async def test_viewers_are_people_over_both_nodes(pair: tuple[Program, Served]) -> None:
    """A person on two nodes counts once, until the last of the sockets is closed."""
    program, node = pair
    await program.put_room("both")
    alice = await program.join("alice", room="both")
    there = await program.join("alice", room="both", node=node)
    bob = await program.join("bob", room="both", node=node)

    def counts(viewer: Viewer, now: int, after: int = 0) -> object:
        return lambda _: next(
            (e for e in viewer.events("viewers.counted") if e["now"] == now and e["seq"] > after), None
        )

    two = await alice.until(counts(alice, 2))
    assert (two["peak"], two["unique"]) == (2, 2)
    assert await there.until(counts(there, 2)) == two
    await alice.leave()
    await bob.leave()
    one = await there.until(counts(there, 1, two["seq"]))
    assert (one["peak"], one["unique"]) == (2, 2)


async def test_room_settings_hold_on_both_nodes(pair: tuple[Program, Served]) -> None:
    """A setting changed through one node is announced and kept by the other; an end closes all with 4501."""
    program, node = pair
    await program.put_room("set")
    here, there = await program.join("alice", room="set"), await program.join("bob", room="set", node=node)
    host = {"user_id": "creator", "name": "Creator"}
    await node.post("/v1/rooms/set", {"host": host, "title": "set", "settings": {"chat": False}}, put=True)
    for viewer in (here, there):
        assert (await viewer.happened("room.updated"))["settings"]["chat"] is False

        async def refused(viewer: Viewer = viewer) -> str:
            return str((await viewer.ask("chat.send", text="hello?")).get("reason"))

        async with asyncio.timeout(10):
            while await refused() != "chat_off":  # the room reads its settings again, parallel to the event
                pass
    await program.post("/v1/rooms/set/end")
    for viewer in (here, there):
        assert await viewer.closed() == 4501
        await viewer.happened("room.ended")


async def test_killed_node_leaves_the_others(pair: tuple[Program, Served]) -> None:
    """When a node is killed, its viewers come back on another with nothing missing, and nobody is counted twice."""
    program, _ = pair
    await program.put_room("fall")
    doomed = await program.second_node()
    here, there = await program.join("alice", room="fall"), await program.join("bob", room="fall", node=doomed)
    await there.happened("viewers.counted", now=2)
    said = await there.ask("chat.send", text="still here")
    await there.happened("chat.sent", id=said["id"])
    await doomed.kill()
    assert await there.closed() == 1006
    missed = await here.ask("chat.send", text="while away")
    back = await program.join("bob", room="fall", since=f"{there.welcome['epoch']}:{there.events()[-1]['seq']}")
    assert back.welcome["resumed"] is True
    await back.happened("chat.sent", id=missed["id"])
    last = (await back.ask("chat.send", text="again"))["seq"]
    await back.until(lambda _: back.events() and back.events()[-1]["seq"] >= last)
    seqs = [event["seq"] for event in there.events() + back.events()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert max(event["now"] for event in here.events("viewers.counted")) == 2
