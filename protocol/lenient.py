"""Reads what a newer server may say: a value that a list does not have yet is kept, and costs nobody the message."""

from collections.abc import Mapping
from enum import Enum
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct, UnsetType, structs

S = TypeVar("S", bound=Struct)


def convert(value: Any, kind: type[S]) -> S:
    """The struct of a decoded message. Raises msgspec.ValidationError if more is wrong than unknown values."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        made: S = _opened(value, kind)
        return made


def _opened(value: Any, kind: Any) -> Any:
    """`value` as this type, whose lists of values are open."""
    origin = get_origin(kind)
    if origin is Literal and type(value) is str:
        return value
    if origin in (Union, UnionType):
        return _one_of(value, get_args(kind))
    if origin is tuple and isinstance(value, list):
        return tuple(_opened(each, get_args(kind)[0]) for each in value)
    return _of_class(value, kind) if isinstance(kind, type) else msgspec.convert(value, kind)


def _of_class(value: Any, kind: type[Any]) -> Any:
    if issubclass(kind, Struct) and isinstance(value, Mapping):
        return _struct(value, kind)
    if issubclass(kind, Enum) and type(value) is str:
        return _member(value, kind)
    return msgspec.convert(value, kind)


def _struct(value: Mapping[str, Any], kind: type[Struct]) -> Struct:
    fields: dict[str, Any] = {}
    for field in structs.fields(kind):
        if field.encode_name in value:
            fields[field.name] = _opened(value[field.encode_name], field.type)
        elif field.required:
            raise msgspec.ValidationError(f"Object missing required field `{field.encode_name}`")
    return kind(**fields)


def _one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    """The first type of a union that fits."""
    if value is None and type(None) in kinds:
        return None
    wrong: msgspec.ValidationError | None = None
    for kind in kinds:
        if kind in (type(None), UnsetType):
            continue
        try:
            return _opened(value, kind)
        except msgspec.ValidationError as error:
            wrong = error
    raise wrong or msgspec.ValidationError("No type of the union fits")


def _member(value: str, kind: type[Enum]) -> Any:
    try:
        return kind(value)
    except ValueError:
        return value
