"""A room with people in it: everybody sees what one does, in every codec and on every page."""

from typing import Any

from tests.program import Program
from tests.site import Viewer


async def test_gift_is_paid_shown_and_journaled(program: Program) -> None:
    """A gift answers its sender, moves the balance on every socket, and reaches everybody with the same seq."""
    await program.put_room("gifts")
    alice, other = [await program.join("alice", codec=codec, room="gifts") for codec in ("json", "msgpack")]
    bob = await program.join("bob", codec="msgpack", room="gifts")
    overlay = await program.join("obs", "overlay", room="gifts")
    had = alice.welcome["you"]["coins"]

    reply = await alice.gift("balloon", 2, combo="streak-1", message="for you")
    assert (reply["type"], reply["duplicate"], reply["coins"]) == ("ok", False, had - 100)
    assert reply["combo"] == {"id": "streak-1", "count": 2}

    told = [await viewer.happened("gifts.sent", id=reply["id"]) for viewer in (alice, other, bob, overlay)]
    assert all(event == told[0] for event in told)
    await assert_balloons(program, told[0])
    for viewer in (alice, other):
        assert (await viewer.happened("wallet.changed", ref=reply["id"]))["coins"] == had - 100
    assert not [m for m in bob.told + overlay.told if m["type"] == "wallet.changed"]

    board = await overlay.happened("board.changed")
    assert board["top"][0] == {"rank": 1, "user": {"user_id": "alice", "name": "Alice"}, "coins": 100}
    ended = await bob.happened("gifts.combo_ended")
    assert (ended["combo"], ended["coins"]) == ({"id": "streak-1", "count": 2}, 100)
    assert (ended["from"]["user_id"], ended["to"]["user_id"]) == ("alice", "creator")
    assert ended["gift"]["id"] == "balloon"

    entries = await program.journaled("alice", {reply["id"]})
    entry = next(entry for entry in entries if entry["ref"] == reply["id"])
    assert (entry["kind"], entry["coins"], entry["balance"], entry["to"]) == ("gift", -100, had - 100, "creator")
    assert [entry["ref"] for entry in entries].count(reply["id"]) == 1
    assert sum(entry["coins"] for entry in entries) == had - 100


async def assert_balloons(program: Program, event: dict[str, Any]) -> None:
    """The event shows two balloons, with the catalogue's text."""
    balloon = next(gift for gift in await program.get("/v1/gifts") if gift["id"] == "balloon")
    shown = {key: balloon[key] for key in ("id", "name", "coins", "tier", "animation")}
    assert (event["from"]["user_id"], event["to"]["user_id"]) == ("alice", "creator")
    assert event["gift"] == shown
    assert (event["count"], event["coins"], event["diamonds"]) == (2, 2 * balloon["coins"], 2 * balloon["diamonds"])
    assert (event["combo"], event["message"], event["test"]) == ({"id": "streak-1", "count": 2}, "for you", False)
    assert event["at_ms"] > 1_700_000_000_000


async def test_same_gift_id_is_paid_once(program: Program) -> None:
    """The same id again is answered as a duplicate with the first balance, and nobody sees the gift twice."""
    alice, bob = await program.join("alice"), await program.join("bob")
    first = await alice.gift("heart")
    again = await alice.gift("heart", id=first["id"])
    assert (again["type"], again["duplicate"], again["coins"]) == ("ok", True, first["coins"])
    mark = await alice.ask("chat.send", text="after both")
    await bob.happened("chat.sent", id=mark["id"])
    gift = await bob.happened("gifts.sent", id=first["id"])
    assert [event["id"] for event in bob.events("gifts.sent")].count(gift["id"]) == 1
    assert await program.coins("alice") == first["coins"]


async def test_likes_are_counted_and_announced(program: Program) -> None:
    """Likes of several people become totals in which each is named; a newcomer gets them, too."""
    await program.put_room("likes")
    alice = await program.join("alice", room="likes")
    bob = await program.join("bob", codec="msgpack", room="likes")
    assert (await alice.ask("likes.send", count=30))["type"] == "ok"
    assert (await bob.ask("likes.send", count=12))["type"] == "ok"

    def all_counted(viewer: Viewer) -> Any:
        return lambda _: next((e for e in viewer.events("likes.counted") if e["total"] == 42), None)

    last = await alice.until(all_counted(alice))
    assert await bob.until(all_counted(bob)) == last
    assert {(row["user"]["user_id"], row["count"]) for row in last["top"]} == {("alice", 30), ("bob", 12)}
    assert sum(event["added"] for event in alice.events("likes.counted")) == 42
    carol = await program.join("carol", room="likes")
    if carol.welcome["room"]["likes"] != 42:  # a snapshot of the last second: events after its seq follow it
        assert (await carol.happened("likes.counted", total=42))["seq"] > carol.welcome["seq"]


async def test_viewers_are_people(program: Program) -> None:
    """Two sockets of a person count once; overlays, bots and moderators do not count; a leaver no longer counts."""
    await program.put_room("people")
    alice = await program.join("alice", room="people")
    for user, role in (("alice", "viewer"), ("mod", "moderator"), ("obs", "overlay"), ("bot", "bot")):
        await program.join(user, role, room="people")
    bob = await program.join("bob", room="people")
    counted = await alice.until(lambda _: next((e for e in alice.events("viewers.counted") if e["now"] == 2), None))
    assert (counted["peak"], counted["unique"]) == (2, 2)
    await bob.leave()
    left = await alice.until(
        lambda _: next((e for e in alice.events("viewers.counted") if e["seq"] > counted["seq"]), None)
    )
    assert (left["now"], left["peak"], left["unique"]) == (1, 2, 2)


async def test_commands_of_one_frame_are_all_answered(program: Program) -> None:
    """An array of commands is carried out, each with its reply; a bad one does not affect the others."""
    for codec in ("json", "msgpack"):
        alice = await program.join("alice", codec=codec)
        await alice.tell(
            [
                {"type": "ping", "ref": "a"},
                {"type": "no.such", "ref": "b"},
                {"type": "chat.send", "ref": "c", "text": "in an array"},
                {"type": "ping", "ref": "d"},
            ]
        )
        assert type((await alice.happened("ok", ref="a"))["server_time_ms"]) is int
        assert (await alice.happened("refused", ref="b"))["reason"] == "bad_command"
        said = await alice.happened("ok", ref="c")
        assert (await alice.happened("chat.sent", id=said["id"]))["seq"] == said["seq"]
        await alice.happened("ok", ref="d")


async def test_overlay_only_listens(program: Program) -> None:
    """An overlay's commands are refused, it gets no balance, and it gets every event."""
    overlay, alice = await program.join("obs", "overlay"), await program.join("alice")
    assert overlay.welcome["you"]["coins"] is None
    for command in ({"type": "chat.send", "text": "no"}, {"type": "likes.send", "count": 1}):
        reply = await overlay.ask(command.pop("type"), **command)
        assert (reply["type"], reply["reason"]) == ("refused", "not_allowed")
    assert (await overlay.gift("rose"))["reason"] == "not_allowed"
    said = await alice.ask("chat.send", text="for all")
    await overlay.happened("chat.sent", id=said["id"], text="for all")
