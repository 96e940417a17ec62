"""The wire's TypeScript types match the structs, and have everything that the examples contain."""

import re

from tests.wire_types import TARGET, written


def test_the_types_are_up_to_date() -> None:
    """The file is what the generator writes now; otherwise run `make types`."""
    assert TARGET.read_text() == written()


def fields(interface: str) -> dict[str, str]:
    """The fields of an interface, with their types; an optional one ends in a question mark."""
    found = re.search(rf"^export interface {interface} {{\n(.*?)^}}", written(), re.MULTILINE | re.DOTALL)
    assert found, interface
    return dict(line.strip().removesuffix(";").split(": ", 1) for line in found.group(1).splitlines())


def test_what_may_be_absent_is_optional() -> None:
    """A field that may be left out is optional; one that is sent as null is not. Each kind of struct is tested."""
    assert fields("ChatSent") == {
        "type": '"chat.sent"',
        "user": "User",
        "text": "string",
        "hidden?": "boolean",
        "reply_to?": "ReplyTo",
        "fragments?": "Fragment[]",
        "id": "string",
        "seq": "number",
        "at_ms": "number",
        "replayed?": "boolean",
    }
    assert fields("Notice")["count?"] == "number"
    assert fields("SendChatOk")["hidden?"] == "boolean"
    assert fields("RoomUpdated")["title?"] == "string"
    assert fields("SendGift")["combo?"] == "string | null"
    assert fields("WalletChanged")["entry"] == "string | null"
    assert fields("Refuse")["retry_after_ms"] == "number | null"


def test_lists_of_values_are_open_where_the_server_speaks() -> None:
    """A newer server may send a new role or status; the names of types and commands are fixed."""
    assert fields("User")["role"].startswith("Open<")
    assert fields("Snapshot")["status"].startswith("Open<")
    assert fields("Refuse")["reason"] == "Open<Refusal>"
    assert fields("Welcome")["room"] == "Snapshot"
    assert fields("Welcome")["gap"] == "Gap | null"
    assert fields("GiftSent")["from"] == "User"
    assert fields("Replies")['"gifts.send"'] == "SendGiftOk"
    assert fields("Replies")['"likes.send"'] == "Ok"
