"""The wire language. This package imports all its modules, so a new command or event changes no other file."""

import importlib
import operator
import pkgutil
import sys
from typing import Any, Union, cast

import msgspec
from msgspec import Struct, structs

from protocol import careful, lenient
from protocol.refusals import Reason
from protocol.wire import Codec, Command, Event, Message, Ok, SnapshotPart

__version__ = "0.1.0"  # of the program and of both clients: it stands nowhere else

ON_WEBSOCKETS = ("aio", "sync")  # clients with a connection: who uses them imports them, and needs websockets

for _module in pkgutil.iter_modules(__path__):
    if _module.name not in ON_WEBSOCKETS:
        importlib.import_module(f"{__name__}.{_module.name}")

from protocol.rooms import Snapshot  # noqa: E402


def _tagged(base: type[Struct]) -> dict[str, type[Any]]:
    """Every subclass of `base` with its own tag, by tag. A tag used twice is a bug."""
    found: dict[str, type[Any]] = {}
    for cls in sorted(base.__subclasses__(), key=lambda each: each.__module__):  # independent of the order of imports
        tag = cls.__struct_config__.tag
        if isinstance(tag, str) and tag not in ("ok", cls.__name__):
            assert tag not in found, f"the tag {tag} is used by {found[tag]} and {cls}"
            found[tag] = cls
        found |= _tagged(cls)
    return found


COMMANDS: dict[str, type[Command]] = _tagged(Command)
EVENTS: dict[str, type[Event]] = _tagged(Event)
MESSAGES: dict[str, type[Message]] = _tagged(Message)


def _reasons() -> dict[str, Reason]:
    """Every reason by its name. A name used twice is a bug."""
    found: dict[str, Reason] = {}
    for kind in Reason.__subclasses__():
        for reason in kind:
            assert reason.value not in found, f"the reason {reason.value} is defined twice"
            found[reason.value] = reason
    return found


REASONS: dict[str, Reason] = _reasons()


def _whole_snapshot() -> type[Snapshot]:
    """The snapshot: its own fields, then the parts of every feature in the order of their modules."""
    parts = sorted(SnapshotPart.__subclasses__(), key=lambda part: part.__module__)
    fields: list[Any] = [
        (field.name, field.type, _default_of(part, field)) for part in parts for field in msgspec.structs.fields(part)
    ]
    names = [*Snapshot.__struct_fields__, *(field[0] for field in fields)]
    assert len(names) == len(set(names)), f"a field of the snapshot is defined twice: {names}"
    whole: Any = msgspec.defstruct("Snapshot", fields, bases=(Snapshot,), frozen=True, kw_only=True)
    whole.__doc__ = Snapshot.__doc__
    return cast(type[Snapshot], whole)


def _default_of(part: type[Struct], field: msgspec.structs.FieldInfo) -> Any:
    assert not field.required, f"{part.__name__}.{field.name} needs a default: an older server does not send it"
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory, name=field.encode_name)
    return msgspec.field(default=field.default, name=field.encode_name)


SNAPSHOT = _whole_snapshot()

_AnyCommand = Union[tuple(COMMANDS.values())]  # type: ignore[valid-type]  # noqa: UP007
_ONE_OR_MORE = Union[_AnyCommand, list[_AnyCommand]]  # type: ignore[valid-type]  # noqa: UP007
_DECODERS: dict[Codec, Any] = {
    "json": msgspec.json.Decoder(_ONE_OR_MORE),
    "msgpack": msgspec.msgpack.Decoder(_ONE_OR_MORE),
}
_LOOSE: dict[Codec, Any] = {"json": msgspec.json.Decoder(), "msgpack": msgspec.msgpack.Decoder()}
_DEFAULTS = {cls: tuple(field.default for field in structs.fields(cls)) for cls in COMMANDS.values()}
_FLAT = (str, int, bool, float)  # values without keys
_PACKED = msgspec.msgpack.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(Union[tuple(EVENTS.values())])  # noqa: UP007


class Malformed(Exception):
    """The frame cannot be decoded with its codec: the peer does not speak the protocol."""


class TooMany(Malformed):
    """A frame with more commands than are allowed."""


class BadCommand(Struct, frozen=True):
    """A well-formed value that is not a command. It is refused as `bad_command`."""

    ref: str | None
    message: str


TOO_DEEP = BadCommand(None, "It is nested too deep.")


def decode_commands(codec: Codec, frame: bytes, most: int = 1_000) -> list[Command | BadCommand]:
    """Decode the commands of one client frame, in order. Raises Malformed, or TooMany for more than `most`."""
    try:
        decoded = _DECODERS[codec].decode(frame)
    except RecursionError:
        return [TOO_DEEP]
    except UnicodeDecodeError:  # a text of msgpack: the frame is whole, and nobody can say which command it was
        return _decode_one_by_one(codec, frame, most) if codec == "json" else [BadCommand(None, careful.NOT_A_TEXT)]
    except msgspec.DecodeError:
        return _decode_one_by_one(codec, frame, most)
    commands = decoded if type(decoded) is list else [decoded]
    if len(commands) > most:
        raise TooMany
    return commands if _is_plain(codec, frame, commands) else _decode_one_by_one(codec, frame, most)


def _is_plain(codec: Codec, frame: bytes, commands: list[Any]) -> bool:
    """Whether the frame surely has no NUL and no key twice: as many colons as fields, each behind a key's quote.

    In msgpack a map says how many keys it has. What has other maps in it needs the second look.
    """
    if codec == "msgpack":
        if b"\0" in frame:
            return False
        each = zip(_items_packed(frame), commands, strict=True)
        return all(careful.keys_of_map(packed) == _given_if_flat(command) for packed, command in each)
    colons = frame.count(b":")
    if b"\\u" in frame or colons != frame.count(b'":'):
        return False
    return colons == sum(map(_given, commands))


def _given(command: Any) -> int:
    """How many of a command's fields have been given, if none has its default; one more for its type.

    It is never too many, which would hide a key that stands twice.
    """
    return 1 + sum(map(operator.is_not, structs.astuple(command), _DEFAULTS[type(command)]))


def _given_if_flat(command: Any) -> int:
    """The same, or 0 if a value may have keys, too."""
    given = 1
    for value, default in zip(structs.astuple(command), _DEFAULTS[type(command)], strict=True):
        if value is default:
            continue
        if type(value) not in _FLAT:
            return 0
        given += 1
    return given


def _items_packed(frame: bytes) -> list[bytes]:
    """The bytes of each value of a frame of msgpack."""
    return (
        [bytes(each) for each in _PACKED.decode(frame)]
        if frame[0] & 0xF0 == 0x90 or frame[0] in (0xDC, 0xDD)
        else [frame]
    )


def _decode_one_by_one(codec: Codec, frame: bytes, most: int) -> list[Command | BadCommand]:
    """Find the values that are not commands, so that the others can be carried out."""
    try:
        loose = careful.decode_json(frame) if codec == "json" else _LOOSE[codec].decode(frame)
        items = loose if type(loose) is list else [loose]
        if len(items) > most:  # before any of them costs something
            raise TooMany
        found = [_convert(item) for item in items]
        return found if codec == "json" else _without_doubled(frame, items, found)
    except RecursionError:
        return [TOO_DEEP]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise Malformed(str(error)) from None


def _without_doubled(frame: bytes, items: list[Any], found: list[Command | BadCommand]) -> list[Command | BadCommand]:
    """What was found, but commands of msgpack in which a key stands twice are bad."""
    packed = _items_packed(frame)
    return [
        _bad(items[n], careful.DOUBLED) if not isinstance(each, BadCommand) and careful.is_doubled(packed[n]) else each
        for n, each in enumerate(found)
    ]


def _convert(item: Any) -> Command | BadCommand:
    try:
        command: Command = msgspec.convert(item, _AnyCommand)  # first: it stops at the first of a thousand bad keys
        fault = careful.fault_of(item)
        if fault is None:
            return command
    except UnicodeEncodeError:  # in a key
        fault = careful.NOT_A_TEXT
    except (msgspec.ValidationError, RecursionError) as error:
        fault = str(error)[:200]
    return _bad(item, fault)


def _bad(item: Any, fault: str) -> BadCommand:
    ref = item.get("ref") if isinstance(item, dict) else None
    return BadCommand(ref if type(ref) is str and 0 < len(ref) <= 64 and not careful.is_broken(ref) else None, fault)


def decode_event(data: bytes) -> Event:
    """Decode an event from JSON. Raises msgspec.ValidationError for a type from a newer server."""
    event: Event = _EVENT.decode(data)
    return event


def convert_event(message: dict[str, Any]) -> Event | None:
    """Make an event from a decoded message of either codec. Return None if its type is unknown.

    Lists of values are open: an unknown one of a newer server is kept as it is.
    """
    cls = EVENTS.get(message.get("type", ""))
    return None if cls is None else lenient.convert(message, cls)


def ok_of(command: type[Command]) -> type[Ok]:
    """The type of a command's ok: of its name with `Ok`, beside it."""
    ok: type[Ok] = getattr(sys.modules[command.__module__], f"{command.__name__}Ok", Ok)
    return ok


def to_msgpack(json: bytes) -> bytes:
    """Convert one JSON message to msgpack. Histories hold JSON; binary sockets get msgpack."""
    return msgspec.msgpack.encode(_LOOSE["json"].decode(json))
