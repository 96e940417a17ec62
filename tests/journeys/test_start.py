"""Starting: what a newcomer finds, and what is still there after a stop and a second start."""

import os
from collections.abc import Callable
from typing import Any

import pytest

import protocol
from tests.program import Program, eventually

SNAPSHOT_FIELDS = {
    "room_id",
    "broadcast_id",
    "title",
    "status",
    "host",
    "started_at_ms",
    "settings",
    "viewers",
    "likes",
    "coins",
    "top",
    "goals",
    "pins",
    "open_combos",
}


async def test_demo_room_is_live(program: Program) -> None:
    """The first start has a live room `demo` with host `creator`, and alice and bob with 10,000 coins each."""
    room = await program.get("/v1/rooms/demo")
    assert (room["status"], room["host"]) == ("live", {"user_id": "creator", "name": "Creator"})
    assert [await program.coins(user) for user in ("alice", "bob", "carol")] == [10_000, 10_000, 0]


async def test_pages_and_catalogue_answer(program: Program) -> None:
    """The pages, their client and the catalogue are open to everybody."""
    async with program.client() as client:
        del client.headers["Authorization"]
        for path, kind in (
            ("/watch/demo", "text/html"),
            ("/overlay/demo", "text/html"),
            ("/web/liveroom.js", "text/javascript"),
            ("/v1/openapi.json", "application/json"),
            ("/healthz", "application/json"),
            ("/metrics", "text/plain"),
        ):
            response = await client.get(path)
            assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, kind), path
        gifts = (await client.get("/v1/gifts")).json()
        for gift in gifts:
            assert set(gift) >= {"id", "name", "coins", "diamonds", "tier", "streakable", "animation"}
            assert (await client.get(gift["animation"]["url"])).status_code == 200
        assert (await client.get("/v1/wallets/alice")).status_code == 401


async def test_welcome_has_the_fields_of_the_protocol(program: Program) -> None:
    """The first message is the welcome, field for field, the same in both codecs."""
    for codec in ("json", "msgpack"):
        viewer = await program.join("alice", codec=codec)
        welcome = viewer.welcome
        assert set(welcome) == {
            "type",
            "protocol",
            "epoch",
            "seq",
            "resumed",
            "gap",
            "replays",
            "you",
            "room",
            "heartbeat_s",
            "server_time_ms",
        }
        assert (welcome["type"], welcome["protocol"], welcome["resumed"], welcome["gap"]) == ("welcome", 1, False, None)
        assert welcome["heartbeat_s"] == 25
        you = welcome["you"]
        assert set(you) == {"user_id", "name", "role", "coins", "muted_until_ms", "member_id", "muted"}
        assert (you["user_id"], you["name"], you["role"], you["muted_until_ms"]) == ("alice", "Alice", "viewer", None)
        assert (you["coins"], type(you["member_id"])) == (10_000, str)
        room = welcome["room"]
        assert set(room) == SNAPSHOT_FIELDS | set(protocol.SNAPSHOT.__struct_fields__)
        assert set(room["viewers"]) == {"now", "peak", "unique"}
        assert room["host"] == {"user_id": "creator", "name": "Creator"}
        assert type(welcome["seq"]) is int
        assert ":" not in welcome["epoch"]


async def test_second_start_has_everything(new_program: Callable[..., Program]) -> None:
    """After a stop and a start on the same folder balances, history, likes and board are as they were."""
    program = new_program()
    await program.start()
    before = await before_the_stop(program)
    assert (await program.stop()).code == 0

    assert await program.start() < 8
    assert [await program.coins(user) for user in ("alice", "bob")] == [9_950, 9_995]
    again = await program.join("alice", since=before["since"])
    welcome = again.welcome
    assert (welcome["resumed"], welcome["gap"]) == (True, None)
    top = [(row["rank"], row["user"]["user_id"], row["coins"]) for row in welcome["room"]["top"]]
    assert (top, welcome["room"]["coins"]) == ([(1, "alice", 50), (2, "bob", 5)], 55)
    assert welcome["room"]["broadcast_id"] == before["broadcast_id"]
    await again.happened("chat.sent", text="before the stop", replayed=True)
    await again.happened("gifts.sent", id=before["gift_id"], replayed=True)
    reply = await again.ask("chat.send", text="after the start")
    assert reply["seq"] > welcome["seq"] >= before["seq"]
    assert (await again.gift("balloon", id=before["gift_id"]))["duplicate"] is True
    assert await program.coins("alice") == 9_950


async def before_the_stop(program: Program) -> dict[str, Any]:
    """A chat and two gifts; returns where a viewer who then left would resume."""
    alice, bob = await program.join("alice"), await program.join("bob")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    await alice.ask("chat.send", text="before the stop")
    gifts = [await alice.gift("balloon"), await bob.gift("heart")]
    seqs = [(await alice.happened("gifts.sent", id=gift["id"]))["seq"] for gift in gifts]
    broadcast_id = alice.welcome["room"]["broadcast_id"]
    return {"since": since, "gift_id": gifts[0]["id"], "seq": max(seqs), "broadcast_id": broadcast_id}


@pytest.mark.parametrize(
    "name", ["we ird?%41#\"'é [b]", "new\nline", b"no\xfftext", "--save", "d" * 200], ids=lambda name: repr(name)[:20]
)
async def test_a_data_folder_of_any_name(new_program: Callable[..., Program], name: str | bytes) -> None:
    """The data folder may have any name that a file system allows. Its files are private, whatever the umask."""
    program = new_program()
    program.environ["XDG_RUNTIME_DIR"] = str(program.folder)  # for sockets, if the folder's own path is too long
    program.data = program.folder / os.fsdecode(name)
    program.environ["LIVEROOM_DATA"] = str(program.data)
    program.prefix = ("sh", "-c", 'umask 000 && exec "$0" "$@"')
    await program.start()
    viewer = await program.join("alice")
    gift = await viewer.gift("rose")
    assert gift["type"] == "ok"
    if b"\n" not in os.fsencode(name) and not isinstance(name, bytes):
        await eventually(lambda: program.data.name in program.stdout(), what=f"its name; {program.output()}")
    await program.stop()
    await program.start()
    assert await program.coins("alice") == gift["coins"]
    await program.stop()
    for path in [program.data, *program.data.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
