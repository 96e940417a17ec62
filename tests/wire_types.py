"""Writes the wire's TypeScript types from the structs of `protocol`: `python -m tests.wire_types`."""

import inspect as source
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import NODEFAULT, Struct, inspect

import protocol
from protocol.gifts import Gift
from protocol.pins import Pin
from protocol.session import Refuse, Welcome
from protocol.wire import Command, Event, Ok

TARGET = Path(protocol.__file__).parent / "web/wire.d.ts"
HEAD = """\
// Generated from the structs of the package `protocol` by `make types`. Do not edit.

/** A newer server may send a value that is not in the list: have an answer to it. */
export type Open<Known extends string> = Known | (string & {});

/** Events from seq to seq that are lost to this socket. */
export interface Gap {
  from: number;
  to: number;
}
"""
SIMPLE = {
    inspect.BoolType: "boolean",
    inspect.IntType: "number",
    inspect.FloatType: "number",
    inspect.NoneType: "null",
    inspect.StrType: "string",
    inspect.AnyType: "unknown",
}
# Fields whose type a struct leaves open, for speed or for a subclass to fill.
SPECIAL = {
    (Welcome, "gap"): "Gap | null",
    (Welcome, "room"): "Snapshot",
    (Refuse, "reason"): "Open<Refusal>",
    (Pin, "event"): "ChatSent | GiftSent",
}
GIVEN_BY_THE_STORE = ("seq", "at_ms")  # they have defaults, but every event sets them


class Writer:
    """The interfaces of some structs, and of the structs in their fields, each once."""

    def __init__(self) -> None:
        self.interfaces: dict[str, str] = {}

    def interface(self, cls: type[Struct]) -> str:
        """The name of a struct's interface."""
        name = cls.__name__
        if name not in self.interfaces:
            self.interfaces[name] = ""  # reserve its place before those of its fields
            self.interfaces[name] = self._written(cls)
        return name

    def _written(self, cls: type[Struct]) -> str:
        said = inspect.type_info(cls)
        assert isinstance(said, inspect.StructType)
        lines = [f'  {said.tag_field}: "{said.tag}";'] if said.tag else []
        lines += [self._field(cls, field) for field in said.fields]
        about = " ".join((cls.__doc__ or "").partition("\n\n")[0].split())
        return "\n".join([f"/** {about} */", f"export interface {cls.__name__} {{", *lines, "}"])

    def _field(self, cls: type[Struct], field: inspect.Field) -> str:
        config = cls.__struct_config__
        asked = issubclass(cls, Command)
        left_out = not field.required and (
            asked or config.omit_defaults or (field.default is NODEFAULT and field.default_factory is NODEFAULT)
        )
        if field.encode_name in GIVEN_BY_THE_STORE and issubclass(cls, Event):
            left_out = False
        if (cls, field.name) in SPECIAL:
            type_ = SPECIAL[cls, field.name]
            if cls is Welcome and field.name == "room":
                self.interface(protocol.SNAPSHOT)
        else:
            type_ = self._type(field.type, closed=asked)
        if left_out and not asked:
            type_ = type_.removesuffix(" | null")
        return f"  {field.encode_name}{'?' if left_out else ''}: {type_};"

    def _type(self, type_: Any, *, closed: bool) -> str:
        match type_:
            case inspect.Metadata():
                return self._type(type_.type, closed=closed)
            case inspect.LiteralType():
                values = " | ".join(f'"{value}"' for value in type_.values)
                return values if closed else f"Open<{values}>"
            case inspect.EnumType():
                values = " | ".join(sorted(f'"{each.value}"' for each in type_.cls))
                return values if closed else f"Open<{values}>"
            case inspect.UnionType():
                return " | ".join(self._type(each, closed=closed) for each in type_.types)
            case inspect.VarTupleType() | inspect.ListType():
                item = self._type(type_.item_type, closed=closed)
                return f"({item})[]" if " " in item and not item.startswith("Open<") else f"{item}[]"
            case inspect.StructType():
                return self.interface(type_.cls)
            case inspect.DictType():
                return f"Record<string, {self._type(type_.value_type, closed=closed)}>"
        return SIMPLE[type(type_)]


def union(name: str, about: str, members: Iterable[str]) -> str:
    return f"/** {about} */\nexport type {name} =" + "".join(f"\n  | {member}" for member in members) + ";"


def reply_to(command: type[Command]) -> type[Ok]:
    """The type of a command's `ok`: its module's `<Command>Ok`, or the plain one."""
    found: type[Ok] = getattr(source.getmodule(command), f"{command.__name__}Ok", Ok)
    return found


def written() -> str:
    """The whole file."""
    writer = Writer()
    commands = [writer.interface(cls) for cls in protocol.COMMANDS.values()]
    replies = [f'  "{tag}": {writer.interface(reply_to(cls))};' for tag, cls in protocol.COMMANDS.items()]
    events = [writer.interface(cls) for cls in protocol.EVENTS.values()]
    messages = [writer.interface(cls) for cls in (*protocol.MESSAGES.values(), Ok)]
    writer.interface(Gift)
    parts = [
        union("Refusal", "Why a command was refused.", (f'"{reason}"' for reason in protocol.REASONS)),
        *writer.interfaces.values(),
        union("RoomEvent", "What happened in the room. A newer server sends more types: pass them over.", events),
        union("Message", "What one socket alone is told. A newer server sends more types: pass them over.", messages),
        union("Command", "What a client may ask for.", commands),
        "/** The `ok` of each command. */\nexport interface Replies {\n" + "\n".join(replies) + "\n}",
    ]
    return HEAD + "\n" + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.write_text(written())
