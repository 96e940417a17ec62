"""Processes killed while people chat and give: nothing that was answered is lost, nothing is done twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest
import websockets

from tests.journeys.givers import Giver, assert_shown_once, givers
from tests.program import CHILDREN, Program, eventually
from tests.site import new_gift_id


@pytest.fixture
async def no_restarts(program: Program) -> AsyncIterator[Callable[[], None]]:
    """Stop the supervisor's clock: what is killed stays down until the fixture's value is called, or the test ends."""

    def go_on() -> None:
        os.kill(program.pid, signal.SIGCONT)

    os.kill(program.pid, signal.SIGSTOP)
    yield go_on
    go_on()


async def test_node_is_killed(program: Program) -> None:
    """The node is started again, and its viewers resume with nothing missing."""
    await program.put_room("node")
    codecs = ("json", "msgpack")
    before = [await program.join("alice", codec=codec, room="node") for codec in codecs]
    said = [await before[0].ask("chat.send", text=f"before {n}") for n in range(20)]
    gift = await before[0].gift("heart")
    await before[1].happened("chat.sent", id=said[9]["id"])  # the other may have got less when it ends

    old = await program.kill_child("node")
    assert [await viewer.closed() for viewer in before] == [1006, 1006]
    await program.child_again("node", old)
    await program.until_ready()

    for viewer, codec in zip(before, codecs, strict=True):
        last = viewer.events()[-1]["seq"]
        back = await program.join("alice", codec=codec, room="node", since=f"{viewer.welcome['epoch']}:{last}")
        assert (back.welcome["resumed"], back.welcome["gap"]) == (True, None)
        after = await back.ask("chat.send", text=f"after {codec}")
        await back.until(lambda _, back=back, seq=after["seq"]: back.events() and back.events()[-1]["seq"] >= seq)
        seqs = [event["seq"] for event in viewer.events() + back.events()]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        chats = {event["id"] for event in viewer.events() + back.events() if event["type"] == "chat.sent"}
        assert {reply["id"] for reply in [*said, after]} <= chats
        assert back.welcome["you"]["coins"] == gift["coins"]
    await assert_shown_once(program, "node", [gift["id"]])


@pytest.mark.parametrize("child", CHILDREN)
async def test_child_is_killed_while_gifts_fly(program: Program, child: str) -> None:
    """A killed child is restarted.

    Meanwhile gifts are refused or answered; sent again with their ids, each is paid once.
    """
    room = f"killed-{child.replace(' ', '-')}"
    people = await givers(program, room, 3)
    giving = asyncio.gather(*(giver.give(160) for giver in people))
    await eventually(lambda: answered(people) > 20)
    old = await program.kill_child(child)
    await giving
    await program.child_again(child, old)
    await program.until_ready()
    for giver in people:
        await giver.give(20)
        await giver.give_again()
    await assert_all_once(program, room, people)
    restarts = [line for line in program.stderr().splitlines() if "room_restarts" in line and room in line]
    assert len(restarts) <= (child == "room store"), restarts  # once for the new epoch, though people come back at once


def answered(people: list[Giver]) -> int:
    """How many gifts were answered with ok so far."""
    return sum(len(giver.acked) for giver in people)


async def assert_all_once(program: Program, room: str, people: list[Giver]) -> None:
    """Each is paid once, journaled once and shown once."""
    for giver in people:
        await giver.assert_paid_once()
        await giver.assert_journaled_once()
    await assert_shown_once(program, room, [gift_id for giver in people for gift_id in giver.sent])


async def test_chat_goes_on_without_the_wallet_store(program: Program, no_restarts: Callable[[], None]) -> None:
    """While the wallet store is away gifts are refused, chat and joins go on; afterwards the same ids are paid once."""
    await program.put_room("broke")
    alice, bob = await program.join("alice", room="broke"), await program.join("bob", room="broke", codec="msgpack")
    first = await alice.gift("rose")
    await program.kill_child("wallet store")

    second = new_gift_id()
    refused = await alice.gift("rose", id=second)
    assert (refused["type"], refused["reason"]) == ("refused", "wallet_unavailable")
    assert refused["retry_after_ms"] > 0
    assert (await alice.gift("rose", id=first["id"]))["reason"] == "wallet_unavailable"
    said = await bob.ask("chat.send", text="anybody there?")
    await alice.happened("chat.sent", id=said["id"])
    assert (await program.get("/readyz"))["wallet_store"] is False
    assert (await program.join("carol", room="broke")).welcome["you"]["coins"] is None
    async with program.client() as client:
        response = await client.get("/v1/wallets/alice")
    assert (response.status_code, response.json()["error"]["reason"]) == (503, "wallet_unavailable")

    no_restarts()
    assert (await alice.insist("gifts.send", id=second, gift="rose", count=1))["coins"] == first["coins"] - 1
    assert (await alice.gift("rose", id=first["id"]))["duplicate"] is True
    assert await program.coins("alice") == first["coins"] - 1
    await assert_shown_once(program, "broke", [first["id"], second])


async def test_gifts_go_on_without_the_room_store(program: Program, no_restarts: Callable[[], None]) -> None:
    """While the room store is away chat is refused and gifts are paid; the room shows them when it is back."""
    await program.put_room("quiet")
    alice, bob = await program.join("alice", room="quiet"), await program.join("bob", room="quiet", codec="msgpack")
    await alice.ask("chat.send", text="the last word")
    await bob.happened("chat.sent", text="the last word")
    await program.kill_child("room store")

    said = await bob.ask("chat.send", text="anybody there?")
    assert (said["type"], said["reason"]) == ("refused", "unavailable")
    paid = await alice.gift("heart")
    assert paid["type"] == "ok", paid
    async with program.client() as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/v1/rooms/quiet")).status_code == 503
    with pytest.raises(websockets.InvalidStatus) as refused:
        await program.join("carol", room="another")
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["Retry-After"]) > 0

    no_restarts()
    await program.until_ready()
    for viewer in (alice, bob):
        assert await viewer.closed(20) == 4008
        last = viewer.events()[-1]["seq"]
        back = await program.join("carol", codec=viewer.codec, room="quiet", since=f"{viewer.welcome['epoch']}:{last}")
        assert back.welcome["resumed"] is False  # a store that was killed may have lost what this viewer saw
        assert back.welcome["gap"]["to"] == back.welcome["seq"]
        await back.insist("chat.send", text=f"back in {viewer.codec}")
        await back.happened("chat.sent", text=f"back in {viewer.codec}")
    await assert_shown_once(program, "quiet", [paid["id"]])


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_everything_ends_while_gifts_fly(new_program: Callable[..., Program], how: str) -> None:
    """After SIGKILL to all processes, or a stop, in the midst of gifts, each answered one stays and none is doubled."""
    program = new_program()
    await program.start()
    people = await givers(program, "demo", 4)
    for acked in (1, 130, 270):
        giving = asyncio.gather(*(giver.give(64) for giver in people))
        await eventually(lambda enough=acked: answered(people) >= enough)
        await (program.kill_tree() if how == "kill" else program.stop())
        await giving
        await program.start()
        for giver in people:
            await giver.join()
            await giver.give_again()
    await assert_all_once(program, "demo", people)


async def test_supervisor_is_killed(new_program: Callable[..., Program]) -> None:
    """SIGKILL of the supervisor alone leaves no process behind, and a start right after it works, with all the data."""
    program = new_program()
    await program.start()
    (giver,) = await givers(program, "demo", 1)
    await giver.give(32)
    await program.kill()
    await program.all_gone()
    await program.start()
    await assert_all_once(program, "demo", [giver])


async def test_start_beside_what_a_killed_supervisor_left(new_program: Callable[..., Program]) -> None:
    """A start that does not wait for the end of a killed supervisor's children loses no gift that they still answer."""
    program = new_program()
    await program.start()
    (giver,) = await givers(program, "demo", 1)
    giving = asyncio.create_task(giver.give(900))
    await eventually(lambda: len(giver.acked) > 50)
    await program.kill()
    await program.start()
    await giving
    await giver.give_again()
    await giver.assert_paid_once()


async def test_room_store_lost_its_tail(new_program: Callable[..., Program]) -> None:
    """When a crash loses the room's last second, everybody who saw it comes back to a gap, never to a silent hole."""
    program = new_program()
    await program.start()
    await program.put_room("tail")
    alice = await program.join("alice", "bot", room="tail")
    for n in range(20):
        await alice.ask("chat.send", text=f"line {n}")
    last = (await alice.happened("chat.sent", text="line 19"))["seq"]
    await program.kill_tree()
    cut_tail(program, b"line 10")

    await program.start()
    bob = await program.join("bob", "bot", room="tail")
    for n in range(20):
        await bob.ask("chat.send", text=f"new line {n}")
    back = await program.join("alice", "bot", room="tail", since=f"{alice.welcome['epoch']}:{last}")
    await bob.ask("chat.send", text="the end")
    await back.happened("chat.sent", text="the end")
    told = [event["text"] for event in alice.events("chat.sent") + back.events("chat.sent")]
    hole = [f"new line {n}" for n in range(20) if f"new line {n}" not in told]
    assert back.welcome["gap"] is not None or not hole, hole


def cut_tail(program: Program, before: bytes) -> None:
    """What a power cut may lose: the end of the room store's file, from the transaction that contains these words."""
    (file,) = (program.data / "room" / "appendonlydir").glob("*.incr.aof")
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b"*1\r\n$5\r\nMULTI", 0, whole.index(before))])
