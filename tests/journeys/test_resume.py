"""Coming back with `since`: a viewer gets what was missed, or learns that it cannot."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
import redis
import websockets

from server import limits
from tests.journeys.talk import chat
from tests.program import Program
from tests.site import Viewer


def position(viewer: Viewer) -> str:
    """Where this viewer would resume."""
    events = viewer.events()
    return f"{viewer.welcome['epoch']}:{events[-1]['seq'] if events else viewer.welcome['seq']}"


async def snapshot_of(program: Program, room: str, seq: int) -> None:
    """Wait until newcomers get a snapshot that is not older than `seq`; snapshots are shared for a second."""
    async with asyncio.timeout(20):
        while (newcomer := await program.join("new", "overlay", room=room)).welcome["seq"] < seq:
            await newcomer.leave()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_missed_events_are_replayed_in_order(program: Program, codec: str) -> None:
    """`since` gives `resumed`, the missed events marked and in order, then the live ones: no gap and no repeat."""
    away, bob = await program.join("alice", codec=codec), await program.join("bob", "bot")
    await bob.ask("chat.send", text="seen by all")
    await away.happened("chat.sent", text="seen by all")
    since = position(away)
    await away.leave()

    gift = await (await program.join("bob")).gift("rose")
    last = await chat(bob, 40)
    await bob.happened("gifts.sent", id=gift["id"])

    back = await program.join("alice", codec=codec, since=since)
    assert (back.welcome["resumed"], back.welcome["gap"], back.welcome["seq"] >= last) == (True, None, True)
    live = await bob.ask("chat.send", text="live again")
    await back.happened("chat.sent", id=live["id"])
    events = back.events()
    first = int(since.rpartition(":")[2]) + 1
    assert [event["seq"] for event in events] == list(range(first, first + len(events)))
    replayed = [event for event in events if event["seq"] <= back.welcome["seq"]]
    assert len(replayed) >= 41
    assert all(event.get("replayed") is True for event in replayed)
    assert not any(event.get("replayed") for event in events if event["seq"] > back.welcome["seq"])
    await bob.until(lambda _: bob.events()[-1]["seq"] >= events[-1]["seq"])
    told = {event["seq"]: event for event in bob.events()}
    for event in events:
        assert {key: value for key, value in event.items() if key != "replayed"} == told[event["seq"]]


async def test_nothing_missed(program: Program) -> None:
    """A return at the newest seq is a resume with nothing to replay."""
    await program.put_room("still")
    alice = await program.join("alice", "overlay", room="still")
    back = await program.join("alice", "overlay", room="still", since=position(alice))
    assert (back.welcome["resumed"], back.welcome["gap"]) == (True, None)
    await program.put_room("still", live=False, slow_mode_s=1)
    await back.happened("room.updated")
    assert [event["seq"] for event in back.events()] == [alice.welcome["seq"] + 1]


@pytest.mark.parametrize(("epoch", "ahead"), [("another-epoch", 0), ("another-epoch", -1), ("", 1_000), ("", 1)])
async def test_an_unknown_since_is_a_gap(program: Program, epoch: str, ahead: int) -> None:
    """Another epoch or a seq from the future is a gap up to the snapshot's seq, and the events after it are live."""
    room = f"gap{ahead}"
    await program.put_room(room)  # no viewers and no gifts: nothing but chat gets a seq in this room
    bob = await program.join("bob", "bot", room=room)
    last = (await bob.ask("chat.send", text="something to know"))["seq"]
    since = f"{epoch or bob.welcome['epoch']}:{last + ahead}"
    back = await program.join("alice", "overlay", room=room, since=since)
    welcome = back.welcome
    assert (welcome["resumed"], welcome["gap"]) == (False, {"from": 1, "to": welcome["seq"]})
    assert welcome["room"]["room_id"] == room
    live = await bob.ask("chat.send", text="after the gap")
    await back.happened("chat.sent", id=live["id"])
    seqs = [event["seq"] for event in back.events()]
    assert seqs == list(range(welcome["seq"] + 1, welcome["seq"] + 1 + len(seqs)))
    assert not any(event.get("replayed") for event in back.events())


async def test_too_long_away_is_a_gap(program: Program) -> None:
    """A viewer who missed more than is replayed gets a gap and the room as it is; up to the bound all is replayed."""
    await program.put_room("long")  # no viewers and no gifts: nothing but chat gets a seq in this room
    away, bot = await program.join("alice", "overlay", room="long"), await program.join("bot", "bot", room="long")
    start = away.welcome["seq"]
    await away.leave()
    seq = await chat(bot, limits.REPLAY_EVENTS_MAX + 1)
    assert seq == start + limits.REPLAY_EVENTS_MAX + 1
    await snapshot_of(program, "long", seq)
    epoch = away.welcome["epoch"]
    lost = await program.join("alice", "overlay", room="long", since=f"{epoch}:{start}")
    assert (lost.welcome["resumed"], lost.welcome["gap"]) == (False, {"from": start + 1, "to": seq})
    assert lost.welcome["seq"] == seq
    assert not lost.events()
    back = await program.join("alice", "overlay", room="long", since=f"{epoch}:{start + 1}")
    assert (back.welcome["resumed"], back.welcome["gap"]) == (True, None)
    await back.happened("chat.sent", seq=seq)
    assert [event["seq"] for event in back.events()] == list(range(start + 2, seq + 1))


@pytest.mark.parametrize(
    "since", ["7", ":7", "epoch:", "epoch:-1", "epoch:x", "epoch:1.5", "epoch:9999999999999999", "e" * 65 + ":1"]
)
async def test_malformed_since_is_refused(program: Program, since: str) -> None:
    """A malformed `since` is HTTP 400 before the upgrade, with a reason."""
    path = program.path(await program.token("alice"), since=str(httpx.QueryParams({"s": since}))[2:])
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://127.0.0.1:{program.port}{path}", proxy=None)
    assert refused.value.response.status_code == 400
    assert b'"reason":"bad_since"' in (refused.value.response.body or b"")


STORM = 150


async def test_a_storm_reads_the_history_once(new_program: Callable[..., Program]) -> None:
    """Everybody comes back at once, from different positions, and one read of the history serves all of them."""
    program = new_program()
    await program.start()
    await program.put_room("storm")
    bot = await program.join("bot", "bot", room="storm")
    epoch, start = bot.welcome["epoch"], bot.welcome["seq"]
    last = await chat(bot, 300)
    node = program.children()["node"]
    await program.kill_child("node")
    with redis.Redis(unix_socket_path=str(program.data / "room.sock"), decode_responses=True) as store:
        store.config_resetstat()
        await program.child_again("node", node)
        await program.until_ready()
        since = [f"{epoch}:{start + n * (last - start) // STORM}" for n in range(STORM)]
        back = await asyncio.gather(*(program.join(f"v{n}", room="storm", since=at) for n, at in enumerate(since)))
        reads = store.info("commandstats")["cmdstat_xrange"]["calls"]
    assert reads == 1
    for viewer, at in zip(back, since, strict=True):
        first = int(at.rpartition(":")[2]) + 1
        assert viewer.welcome["resumed"] is True
        await viewer.until(lambda _, viewer=viewer: viewer.events("chat.sent")[-1:] or viewer.welcome["seq"] == last)
        seqs = [event["seq"] for event in viewer.events()]
        assert seqs[: last + 1 - first] == list(range(first, last + 1))
    await program.everybody_leaves()
