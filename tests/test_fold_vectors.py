"""Events that a real server told, folded by both clients: each has the room that the server's snapshot has."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from msgspec import Struct, structs

import protocol
from protocol import lenient
from protocol.client import RoomClient
from protocol.folding import folded_types
from protocol.session import Welcome
from protocol.wire import Codec
from tests.fold_vectors import SCENES, TARGET, Stage, Vector, record
from tests.site import WAIT_S, Site

ROOT = Path(__file__).parents[1]
NEWER = "newer"
VECTORS: list[Vector] = json.loads(TARGET.read_text())


def known(room: dict[str, Any]) -> Any:
    """The fields of a room that are known here, with defaults for what is absent."""
    return msgspec.to_builtins(lenient.convert(room, protocol.SNAPSHOT))


def of_python(vector: Vector, codec: Codec) -> Any:
    """The room that the Python client has after the events, in frames of three."""
    client = RoomClient(lambda: 0, codec=codec)
    frames = [[vector["welcome"]], *(vector["events"][at : at + 3] for at in range(0, len(vector["events"]), 3))]
    for frame in frames:
        packed = msgspec.json.encode(frame).decode() if codec == "json" else msgspec.msgpack.encode(frame)
        client.receive(packed)
    return msgspec.to_builtins(client.room)


async def of_javascript(vectors: list[Vector], folder: Path) -> list[Any]:
    """The rooms that liveroom.js has after the events of each."""
    path = folder / "vectors.json"
    path.write_text(json.dumps(vectors))
    pipe = asyncio.subprocess.PIPE
    node = await asyncio.create_subprocess_exec("node", "tests/js/fold.mjs", path, cwd=ROOT, stdout=pipe, stderr=pipe)
    said, wrong = await asyncio.wait_for(node.communicate(), WAIT_S)
    assert node.returncode == 0, wrong.decode()
    return [known(room) for room in json.loads(said)]


def types(vector: Vector) -> set[str]:
    return {event["type"] for event in vector["events"]} & folded_types()


# --- as they were recorded -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_python_folds_what_was_recorded(vector: Vector, codec: Codec) -> None:
    """The file that every client is compared with."""
    assert of_python(vector, codec) == known(vector["room"])


async def test_javascript_folds_what_was_recorded(tmp_path: Path) -> None:
    assert await of_javascript(VECTORS, tmp_path) == [known(vector["room"]) for vector in VECTORS]


def test_every_fold_is_in_a_vector() -> None:
    """An event that changes a room and is in no vector would be compared with nothing."""
    told = {event["type"] for vector in VECTORS for event in vector["events"]}
    assert {scene.__name__ for scene in SCENES} == {vector["name"] for vector in VECTORS}
    assert folded_types() - told == {"room.suspended", "room.deleted"}  # as room.ended, in the same function


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_the_server_says_so_today(scene: Callable[[Stage], Awaitable[None]], site: Site, tmp_path: Path) -> None:
    """The scene is played again: snapshot, Python and JavaScript agree on what this server tells."""
    vector = await record(site, scene)
    assert of_python(vector, "json") == known(vector["room"])
    assert await of_javascript([vector], tmp_path) == [known(vector["room"])]
    (kept,) = (each for each in VECTORS if each["name"] == vector["name"])
    assert types(vector) == types(kept)


# --- a newer server --------------------------------------------------------------------------------------------------
def extended(value: Any, kind: Any) -> Any:
    """The value as a newer server may say it: every object has another field, every list of values a new value."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return extended(value, args[0])
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return NEWER
    if origin in (Union, UnionType):
        fits = [each for each in args if each not in (type(None), msgspec.UnsetType)]
        return value if value is None else extended(value, fits[0])
    if origin in (tuple, list) and isinstance(value, list):
        return [extended(each, args[0]) for each in value]
    if isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, dict):
        types = {field.encode_name: field.type for field in structs.fields(kind)}
        said = {name: extended(each, types[name]) if name in types else each for name, each in value.items()}
        return {**said, "x_newer": {"of": ["a", "newer", "server"], "type": NEWER}}
    return value


def from_a_newer_server(vector: Vector) -> Vector:
    """A vector with every struct and every enum extended, and with messages of types that nobody knows here."""
    room = extended(vector["room"], protocol.SNAPSHOT)
    welcome = extended(vector["welcome"], Welcome)
    welcome["room"] = extended(vector["welcome"]["room"], protocol.SNAPSHOT)
    events = []
    for event in vector["events"]:
        events += [{"type": "weather.told", "degrees": 21}, extended(event, protocol.EVENTS[event["type"]])]
    last = {"type": "polls.foretold", "seq": 1_000_000, "id": "p", "at_ms": 1, "poll": {"options": []}}
    return {**vector, "welcome": welcome, "events": [*events, last], "room": room}


def test_something_is_extended() -> None:
    """Roles, statuses, kinds of goals and animations are new, and so is a field of every struct."""
    text = json.dumps([from_a_newer_server(vector) for vector in VECTORS])
    for field in ("role", "status", "kind", "reason"):
        assert f'"{field}": "{NEWER}"' in text, field
    assert text.count("x_newer") > 200


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_python_keeps_what_a_newer_server_says(vector: Vector, codec: Codec) -> None:
    """All that is known is folded as before, and the unknown values are in the room."""
    newer = from_a_newer_server(vector)
    assert of_python(newer, codec) == known(newer["room"])


async def test_javascript_keeps_what_a_newer_server_says(tmp_path: Path) -> None:
    newer = [from_a_newer_server(vector) for vector in VECTORS]
    assert await of_javascript(newer, tmp_path) == [known(vector["room"]) for vector in newer]


@pytest.mark.parametrize("tag", protocol.EVENTS)
def test_every_event_of_a_newer_server_is_told(tag: str) -> None:
    """Each example of the documents, extended: it comes as its type, and its values as they are."""
    from tests.test_docs import of_wire  # noqa: PLC0415  # it reads every document

    client = RoomClient(lambda: 0)
    client.receive(json.dumps([VECTORS[0]["welcome"]]))
    (example, *_) = (each.value for each in of_wire("event") if each.value["type"] == tag)
    newer = extended({**example, "seq": 1_000}, protocol.EVENTS[tag])
    (told,) = client.receive(json.dumps([newer]))
    assert type(told) is protocol.EVENTS[tag]
    assert client.unknown == 0
