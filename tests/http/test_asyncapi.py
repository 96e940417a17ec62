"""The AsyncAPI document is true: it has every type, each with examples that fit its schema, and no loose end."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest

import protocol
from protocol.closes import Close
from server.http.asyncapi import document
from tests.site import Site

FOUND: Any = msgspec.json.decode(msgspec.json.encode(document()))  # as it is served
MESSAGES = FOUND["components"]["messages"]
# What AsyncAPI 3.0.0 allows in these objects, of what we use; `x-` comes beside it. Its own JSON Schema is too large to
# keep here: the document was valid by that of the npm package @asyncapi/specs 6.11.1 on 2026-11-27.
ALLOWED = {
    "document": {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"},
    "channel": {"address", "title", "description", "parameters", "bindings", "messages"},
    "operation": {"action", "channel", "summary", "messages", "reply"},
    "reply": {"channel", "messages"},
    "message": {"name", "title", "summary", "payload", "examples"},
}


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from refs(each)
    elif isinstance(value, list):
        for each in value:
            yield from refs(each)


def at(ref: str) -> Any:
    """What a reference leads to."""
    found: Any = FOUND
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return found


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for({**schema, "components": FOUND["components"]})


def keys_of(kind: str, value: dict[str, Any]) -> bool:
    return {key for key in value if not key.startswith("x-")} <= ALLOWED[kind]


async def test_it_is_served(site: Site) -> None:
    """Anybody may read it, also a page of another origin."""
    answer = await site.http.get("/v1/asyncapi.json", headers={"Authorization": ""})
    assert (answer.status_code, answer.json()) == (200, FOUND)


def test_its_shape() -> None:
    """Each object has only what the specification allows, and messages are reached through their channel."""
    assert FOUND["asyncapi"] == "3.0.0"
    assert keys_of("document", FOUND)
    (channel,) = FOUND["channels"].values()
    assert keys_of("channel", channel)
    assert {ref.rpartition("/")[2] for ref in refs(channel["messages"])} == set(MESSAGES)
    for operation in FOUND["operations"].values():
        assert operation["action"] in ("receive", "send")
        for kind, each in (("operation", operation), ("reply", operation.get("reply", {}))):
            assert keys_of(kind, each)
            assert all(ref.startswith("#/channels/room/messages/") for ref in refs(each.get("messages", [])))
    assert all(keys_of("message", message) and message["summary"] for message in MESSAGES.values())
    for ref in refs(FOUND):
        assert at(ref) is not None


def test_every_type_is_there() -> None:
    """Commands are received and answered by their own ok; events and messages are sent."""
    receives = {name: each for name, each in FOUND["operations"].items() if each["action"] == "receive"}
    assert set(receives) == set(protocol.COMMANDS)
    for tag, operation in receives.items():
        replies = [ref.rpartition("/")[2] for ref in refs(operation["reply"]["messages"])]
        assert replies == [f"{tag}.ok", "refused"]
        (payload,) = refs(MESSAGES[f"{tag}.ok"]["payload"])
        assert payload.rpartition("/")[2] == protocol.ok_of(protocol.COMMANDS[tag]).__name__
    for name, types in (("events", protocol.EVENTS), ("messages", protocol.MESSAGES)):
        assert {ref.rpartition("/")[2] for ref in refs(FOUND["operations"][name]["messages"])} == set(types)
    assert MESSAGES["refused"]["x-reasons"].keys() == protocol.REASONS.keys()
    assert [each["code"] for each in FOUND["channels"]["room"]["x-close-codes"]] == [int(code) for code in Close]


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_fit(name: str) -> None:
    """There is one at least; each fits its schema in both codecs; what it does not say, the schema notices."""
    fits = validator(MESSAGES[name]["payload"])
    assert MESSAGES[name]["examples"]
    for example in MESSAGES[name]["examples"]:
        value = example["payload"]
        assert [error.message for error in fits.iter_errors(value)] == []
        packed = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
        assert fits.is_valid(packed)
        assert not fits.is_valid({**value, "type": "another"})
        assert not fits.is_valid({key: each for key, each in value.items() if key != "type"})


def test_frames_fit() -> None:
    """A frame to a client is an array of anything that is sent; one to the server is a command, or up to 32."""
    schemas = FOUND["components"]["schemas"]
    told, asked = validator(schemas["ServerFrame"]), validator(schemas["ClientFrame"])
    sent = [MESSAGES[name]["examples"][0]["payload"] for name in MESSAGES if name not in protocol.COMMANDS]
    commands = [MESSAGES[name]["examples"][0]["payload"] for name in protocol.COMMANDS]
    assert told.is_valid(sent)
    assert not told.is_valid(sent[0])
    for command in commands:
        assert asked.is_valid(command)
    assert asked.is_valid(commands[:32])
    assert not asked.is_valid([commands[0]] * 33)
    assert not asked.is_valid({**commands[0], "of_no_meaning": 1})


def test_lists_of_values_are_open() -> None:
    """What comes from the server may have values and fields of a newer one; what comes to it may not."""
    chat = MESSAGES["chat.sent"]["examples"][0]["payload"]
    newer = {**chat, "user": {**chat["user"], "role": "producer"}, "mood": "good"}
    assert validator(MESSAGES["chat.sent"]["payload"]).is_valid(newer)
    status = {**MESSAGES["room.paused"]["examples"][0]["payload"], "status": "resting"}
    assert validator(MESSAGES["room.paused"]["payload"]).is_valid(status)
    assert not validator(MESSAGES["chat.send"]["payload"]).is_valid({"type": "chat.send", "text": ""})
