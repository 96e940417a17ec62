"""The AsyncAPI 3 document of the wire, made from the types of `protocol`: a feature's types appear by themselves."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import protocol
from protocol.closes import Close
from protocol.session import Refuse, Welcome
from protocol.wire import SUBPROTOCOLS, TOKEN_SUBPROTOCOL
from server import __version__, limits
from server.edge.refusing import CLOSES
from server.http import examples
from server.http.api import answer, route

CHANNEL = {"$ref": "#/channels/room"}
TYPES = {"json": "application/json", "msgpack": "application/msgpack"}
FRAMES = (
    "A frame to a client is an array of messages, in order. A frame to the server is one command, or an array of up to "
    f"{limits.COMMANDS_PER_FRAME_MAX}. The first message is `welcome`. Each command with a `ref` gets one reply. "
    "Clients ignore types and fields that they do not know, and keep values that are not listed."
)
QUERY = {
    "token": "the JWT; pages send it as a subprotocol",
    "since": "`<epoch>:<seq>` of the last event seen: what was missed follows the welcome, unless its `gap` has it",
    "chats": "how many of the newest chats a newcomer wants",
    "refusals": "`close`: a refused upgrade is a socket that is closed at once, so that a page sees why",
}
HEADERS = {
    "Authorization": "`Bearer <JWT>`, in place of `token`",
    "Sec-WebSocket-Protocol": f"one of {', '.join(SUBPROTOCOLS)}, and perhaps `{TOKEN_SUBPROTOCOL}<JWT>`",
}


class _Types:
    """Everything that can be on the wire, by the name of its message."""

    def __init__(self) -> None:
        self.commands: dict[str, type[Any]] = dict(protocol.COMMANDS)
        self.oks: dict[str, type[Any]] = {
            f"{tag}.ok": protocol.ok_of(command) for tag, command in protocol.COMMANDS.items()
        }
        self.events: dict[str, type[Any]] = dict(protocol.EVENTS)
        self.messages: dict[str, type[Any]] = dict(protocol.MESSAGES)
        self.all = {**self.commands, **self.oks, **self.events, **self.messages}
        counted = len(self.commands) + len(self.oks) + len(self.events) + len(self.messages)
        assert len(self.all) == counted, "two kinds of message have the same name"
        refs, self.schemas = msgspec.json.schema_components(
            [*self.all.values(), protocol.SNAPSHOT], ref_template="#/components/schemas/{name}"
        )
        self._refs = dict(zip(self.all, refs, strict=False))
        for schema in self.schemas.values():
            schema["description"] = inspect.cleandoc(schema.get("description", ""))
        for tag in self.events:  # the room store sets them
            self._schema(tag)["required"] += ["seq", "at_ms"]
        self._schema(str(Welcome.__struct_config__.tag))["properties"]["room"] = refs[-1]
        asked = set(self._reached(self._refs[tag] for tag in self.commands))
        for name in self.schemas.keys() - asked:
            _open(self.schemas[name])
        self._add_frames()

    def ref(self, name: str) -> dict[str, str]:
        """Where the schema of a message is."""
        found: dict[str, str] = self._refs[name]
        return found

    def _schema(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.schemas[_name(self.ref(name))]
        return found

    def _reached(self, found: Iterable[Any]) -> Iterator[str]:
        """The names of all schemas that these mention."""
        for each in found:
            if isinstance(each, dict):
                if "$ref" in each:
                    yield _name(each)
                    yield from self._reached([self.schemas[_name(each)]])
                yield from self._reached(each.values())
            elif isinstance(each, list):
                yield from self._reached(each)

    def _add_frames(self) -> None:
        told = [self._refs[name] for name in (*self.oks, *self.events, *self.messages)]
        command = {"anyOf": [self._refs[name] for name in self.commands]}
        many = {"type": "array", "items": command, "maxItems": limits.COMMANDS_PER_FRAME_MAX}
        self.schemas["ServerFrame"] = {"type": "array", "items": {"anyOf": _distinct(told)}}
        self.schemas["ClientFrame"] = {"anyOf": [command, many]}


def _name(ref: dict[str, str]) -> str:
    return ref["$ref"].rpartition("/")[2]


def _distinct(refs: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [{"$ref": ref} for ref in dict.fromkeys(each["$ref"] for each in refs)]


def _open(schema: Any) -> None:
    """A newer server may send other values than those listed. Only a message's type is what it is."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _open(value)
    if isinstance(schema, dict) and isinstance(schema.get("enum"), list) and len(schema["enum"]) > 1:
        schema["anyOf"] = [{"enum": schema.pop("enum")}, {"type": "string"}]


def document() -> dict[str, Any]:
    """The document. It reads the wire's documents for their examples."""
    types = _Types()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Liveroom", "version": __version__, "description": FRAMES},
        "defaultContentType": TYPES["json"],
        "servers": {
            "node": {"host": "{host}", "protocol": "wss", "variables": {"host": {"default": "127.0.0.1:8000"}}}
        },
        "channels": {"room": _channel(types)},
        "operations": _operations(types),
        "components": {
            "messages": {name: _message(name, cls, types) for name, cls in types.all.items()},
            "schemas": types.schemas,
        },
    }


def _channel(types: _Types) -> dict[str, Any]:
    binding = {"method": "GET", "query": _texts(QUERY), "headers": _texts(HEADERS), "bindingVersion": "0.1.0"}
    return {
        "address": "/v1/rooms/{room}/ws",
        "title": "A room",
        "description": FRAMES,
        "parameters": {"room": {"description": "the room's id"}},
        "bindings": {"ws": binding},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in types.all},
        "x-subprotocols": {
            name: {"contentType": TYPES[codec], "frames": "text" if codec == "json" else "binary"}
            for name, codec in SUBPROTOCOLS.items()
        },
        "x-close-codes": [{"code": int(code), "reason": code.reason, "come-back": code.comes_back} for code in Close],
        "x-refused-upgrades": {reason: int(code) for reason, code in CLOSES.items()},
    }


def _texts(fields: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in fields.items()},
    }


def _operations(types: _Types) -> dict[str, Any]:
    refused = str(Refuse.__struct_config__.tag)
    found: dict[str, Any] = {
        tag: {
            "action": "receive",
            "channel": CHANNEL,
            "summary": _about(command),
            "messages": _in_channel([tag]),
            "reply": {"channel": CHANNEL, "messages": _in_channel([f"{tag}.ok", refused])},
        }
        for tag, command in types.commands.items()
    }
    for name, told in (("events", types.events), ("messages", types.messages)):
        found[name] = {"action": "send", "channel": CHANNEL, "messages": _in_channel(told)}
    return found


def _in_channel(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/room/messages/{name}"} for name in names]


def _message(name: str, cls: type[Any], types: _Types) -> dict[str, Any]:
    found = {
        "name": str(cls.__struct_config__.tag),
        "title": name,
        "summary": _about(cls),
        "payload": types.ref(name),
        "examples": [{"payload": value} for value in examples.of_wire().get(name, [])],
    }
    if name in types.events:
        found["x-delivery"] = cls.delivery.value
    if cls is Refuse:
        found["x-reasons"] = {reason: each.sentence for reason, each in protocol.REASONS.items()}
    return found


def _about(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def routes() -> list[Route]:
    made: list[bytes] = []  # once, when it is first asked for

    async def asyncapi(_request: Request) -> Response:
        if not made:
            made.append(msgspec.json.encode(document()))
        return answer(msgspec.Raw(made[0]))

    about = "The messages of the sockets (AsyncAPI 3, with JSON Schema)"
    return [route("/v1/asyncapi.json", asyncapi, summary=about, gives=dict[str, Any], open=True)]
