"""Malformed commands and forbidden gifts: each is refused with its reason, and the socket stays."""

import uuid
from typing import Any, NamedTuple

import pytest

from tests.program import Program
from tests.site import new_gift_id

pytestmark = pytest.mark.usefixtures("unshaken")
HOUR_MS = 3_600_000
CODECS = ("json", "msgpack")


def nested(depth: int) -> Any:
    """A value nested this many lists deep."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


class Row(NamedTuple):
    """A command, and why it is refused."""

    name: str
    command: Any
    reason: str = "bad_command"


def chat(text: Any) -> dict[str, Any]:
    return {"type": "chat.send", "text": text}


def rose(**fields: Any) -> dict[str, Any]:
    """One rose, with these fields changed; a field of ... is omitted."""
    command = {"type": "gifts.send", "id": new_gift_id(), "gift": "rose", "count": 1, **fields}
    return {key: value for key, value in command.items() if value is not ...}


SHAPES = [
    Row("unknown type", {"type": "no.such"}),
    Row("an event's type", {"type": "gifts.sent"}),
    Row("no type", {}),
    Row("type of a number", {"type": 5}),
    Row("type of null", {"type": None}),
    Row("a string", "ping"),
    Row("a number", 5),
    Row("null", None),
    Row("an array in the array", [[{"type": "ping"}]]),
    Row("a string in the array", ["ping"]),
    Row("deep", {"type": "ping", "deep": nested(50)}),
    Row("unknown field", {"type": "ping", "also": 1}),
    Row("ref of nothing", {"type": "ping", "ref": ""}),
    Row("ref of 65", {"type": "ping", "ref": "r" * 65}),
    Row("ref of a number", {"type": "ping", "ref": 5}),
    Row("chat of 0", chat("")),
    Row("chat of 501", chat("x" * 501)),
    Row("chat of 501 in many bytes", chat("ä" * 501)),
    Row("chat of spaces", chat(" \t\n ")),
    Row("chat of a number", chat(5)),
    Row("chat of null", chat(None)),
    Row("chat without text", {"type": "chat.send"}),
    *(Row(f"likes of {count!r}", {"type": "likes.send", "count": count}) for count in (0, -1, 51, 1.5, "1", True)),
]

GIFTS = [
    *(
        Row(f"count {count!r}", rose(count=count))
        for count in (0, -1, 10_000, 10**9, 2**63, -(2**63), 1.5, "1", True, None, ..., [1], {"a": 1})
    ),
    *(
        Row(f"id {name}", rose(id=gift_id))
        for name, gift_id in (
            ("of version 4", str(uuid.uuid4())),
            ("of version 1", str(uuid.uuid1())),
            ("in upper case", new_gift_id().upper()),
            ("without dashes", new_gift_id().replace("-", "")),
            ("with a line's end", new_gift_id() + "\n"),
            ("empty", ""),
            ("of a number", 7),
            ("missing", ...),
            ("of another variant", new_gift_id()[:19] + "c" + new_gift_id()[20:]),
        )
    ),
    Row("id of an hour ahead", rose(id=new_gift_id(HOUR_MS)), "expired_id"),
    Row("id of three hours ago", rose(id=new_gift_id(-3 * HOUR_MS)), "expired_id"),
    Row("id of 1970", rose(id="00000000-0000-7000-8000-000000000000"), "expired_id"),
    Row("id of the end of time", rose(id="ffffffff-ffff-7fff-bfff-ffffffffffff"), "expired_id"),
    Row("unknown gift", rose(gift="no_such_gift"), "unknown_gift"),
    Row("gift of a name that is none", rose(gift="a rose")),
    Row("gift of nothing", rose(gift="")),
    Row("gift of a number", rose(gift=1)),
    Row("to oneself", rose(to="alice"), "self_gift"),
    Row("to somebody else", rose(to="bob"), "receiver_not_eligible"),
    Row("to nobody", rose(to="")),
    Row("combo of a space", rose(combo="a b")),
    Row("message of 0", rose(message="")),
    Row("message of 201", rose(message="m" * 201)),
    Row("more than one has", rose(gift="rocket", count=2), "insufficient_coins"),
    Row("more than anybody has", rose(gift="rocket", count=9_999), "insufficient_coins"),
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("row", SHAPES + GIFTS, ids=lambda row: row.name)
async def test_refused(program: Program, row: Row, codec: str) -> None:
    """The one reply is the refusal, with the command's ref and a message; the socket and the balance stay."""
    alice = await program.join("alice", codec=codec)
    command = row.command
    if isinstance(command, dict) and "ref" not in command:
        command = {**command, "ref": "this"}
    await alice.tell(command)
    reply = await alice.happened("refused")
    assert (reply["reason"], reply["ref"]) == (row.reason, "this" if command is not row.command else None)
    assert reply["message"]
    assert "retry_after_ms" in reply
    if row.reason == "insufficient_coins":
        assert (reply["need"], reply["have"]) == (10_000 * command["count"], alice.welcome["you"]["coins"])
    assert (await alice.ask("ping"))["type"] == "ok"
    assert [message["type"] for message in alice.told].count("refused") == 1
    assert not alice.events("gifts.sent")
    assert await program.coins("alice") == alice.welcome["you"]["coins"]


@pytest.mark.parametrize("codec", CODECS)
async def test_reused_id_with_another_payload(program: Program, codec: str) -> None:
    """The same id for another gift, count, combo or message is a conflict and moves nothing; the first gift stays."""
    await program.give_coins("carol", 100)
    carol = await program.join("carol", codec=codec)
    first = await carol.gift("rose", 2, message="hello")
    for change in (
        {"gift": "heart"},
        {"count": 3},
        {"combo": "streak"},
        {"message": "good-bye"},
        {"message": None},
        {"gift": "rocket", "count": 9_999},
    ):
        again = await carol.ask(
            "gifts.send", **{"id": first["id"], "gift": "rose", "count": 2, "message": "hello", **change}
        )
        assert (again["type"], again.get("reason")) == ("refused", "conflict"), change
    same = await carol.gift("rose", 2, message="hello", id=first["id"])
    assert (same["duplicate"], same["coins"]) == (True, first["coins"])
    assert await program.coins("carol") == first["coins"]


async def test_same_id_of_two_people(program: Program) -> None:
    """An id belongs to its sender: somebody else's use of it is a gift of their own."""
    for user in ("dora", "emil"):
        await program.give_coins(user, 10)
    dora, emil = await program.join("dora"), await program.join("emil")
    gift_id = new_gift_id()
    replies = [await viewer.gift("heart", id=gift_id) for viewer in (dora, emil)]
    assert [(reply["type"], reply["duplicate"], reply["coins"]) for reply in replies] == [("ok", False, 5)] * 2


async def test_host_gives_to_themselves(program: Program) -> None:
    """The default receiver is the host, so the host's own gift is refused."""
    host = await program.join("creator", "host")
    assert (await host.gift("rose"))["reason"] == "self_gift"


async def test_bounds_are_allowed(program: Program) -> None:
    """The longest chat, the largest count and the oldest and newest ids that the protocol allows are accepted."""
    await program.give_coins("rich", 20_000)
    rich = await program.join("rich", codec="msgpack")
    for text in ("x" * 500, "\N{ROSE}" * 500, "\x1b[31m\u202ered"):
        said = await rich.ask("chat.send", text=text)
        assert said["type"] == "ok", said
        assert (await rich.happened("chat.sent", id=said["id"]))["text"] == text.replace("\x1b", "").replace(
            "\u202e", ""
        )
    assert (await rich.gift("rose", 9_999, message="m" * 200, combo="c" * 64))["coins"] == 10_001
    for shift_ms in (-HOUR_MS, 5 * 60_000):
        assert (await rich.gift("rose", id=new_gift_id(shift_ms)))["type"] == "ok"
    assert (await rich.ask("ping", ref="r" * 64))["type"] == "ok"


async def test_more_gifts_than_coins_at_once(program: Program) -> None:
    """When gifts together cost more than the sender has, the affordable ones are paid; no balance falls below 0."""
    await program.give_coins("thrift", 10)
    sockets = [await program.join("thrift", "bot", codec=codec) for codec in CODECS]
    for viewer in sockets:
        await viewer.tell([{**rose(gift="heart"), "ref": f"g{n}"} for n in range(10)])
    replies = [
        await viewer.until(lambda told, n=n: next((m for m in told if m.get("ref") == f"g{n}"), None))
        for viewer in sockets
        for n in range(10)
    ]
    assert sorted(reply["coins"] for reply in replies if reply["type"] == "ok") == [0, 5]
    assert {reply["reason"] for reply in replies if reply["type"] == "refused"} == {"insufficient_coins"}
    assert await program.coins("thrift") == 0
