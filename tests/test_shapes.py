"""The bounds in the types of commands and of bodies: each is driven over its edge, and nothing is without one."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

import protocol
import server.app
from protocol.rooms import Settings
from server.http.api import DESCRIBED
from server.rooms.admin import Host

assert server.app  # it describes every route
TYPES = {
    **protocol.COMMANDS,
    **{str(key): each.body for key, each in DESCRIBED.items() if each.body is not None},
    "Settings": Settings,
    "Host": Host,
    **{f"{key} query": each.query for key, each in DESCRIBED.items() if each.query is not None},
}
# Texts that a pattern bounds, or that are looked up and never kept.
BY_THEIR_PATTERN = ("{1,64}$", "{0,63}$", "{12}$", "{1,15}$")
# What nobody but the site itself understands: `__post_init__` bounds its bytes.
BY_THEIR_BYTES = (("CustomEvent", "data"),)


def kinds(kind: inspect.Type) -> Iterator[inspect.Type]:
    """A type and those in it."""
    yield kind
    if isinstance(kind, inspect.Metadata):
        yield from kinds(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from kinds(each)
    elif isinstance(kind, inspect.VarTupleType | inspect.ListType):
        yield from kinds(kind.item_type)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if (kind.cls.__name__, field.name) not in BY_THEIR_BYTES:
                yield from kinds(field.type)


def refused(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return True
    return False


@pytest.mark.parametrize("name", TYPES)
def test_nothing_is_without_a_bound(name: str) -> None:
    """Numbers have a least and a most, texts and lists a length. Structs take no field that they do not know."""
    for kind in kinds(inspect.type_info(TYPES[name])):
        match kind:
            case inspect.IntType():
                assert None not in (kind.ge, kind.le), name
            case inspect.StrType():
                assert kind.max_length is not None or any(end in (kind.pattern or "") for end in BY_THEIR_PATTERN), name
            case inspect.VarTupleType() | inspect.ListType():
                assert kind.max_length is not None, name
            case inspect.StructType():
                assert kind.forbid_unknown_fields, name
            case inspect.DictType() | inspect.AnyType() | inspect.RawType() | inspect.BytesType():
                raise AssertionError(f"{name} has a part without a shape")


def numbers_and_lengths() -> Iterator[tuple[str, Any, Any, Any]]:
    """Each field with a bound: its type, what just fits, and what is too little or too much."""
    for name, cls in TYPES.items():
        for field in msgspec.structs.fields(cls):
            for kind in kinds(inspect.type_info(field.type)):
                where = f"{name} {field.name}"
                if isinstance(kind, inspect.IntType):
                    assert kind.ge is not None
                    assert kind.le is not None
                    yield where, field.type, (kind.ge, kind.le), (kind.ge - 1, kind.le + 1)
                elif isinstance(kind, inspect.StrType) and kind.max_length is not None:
                    less = ("",) if kind.min_length else ()
                    yield where, field.type, ("x" * kind.max_length,), ("x" * (kind.max_length + 1), *less)
                elif isinstance(kind, inspect.VarTupleType | inspect.ListType | inspect.StructType):
                    break  # what is inside is driven by itself: TYPES


EDGES = list(numbers_and_lengths())


@pytest.mark.parametrize(("name", "kind", "fits", "too_much"), EDGES, ids=[edge[0] for edge in EDGES])
def test_over_the_edge(name: str, kind: Any, fits: Any, too_much: Any) -> None:
    """At the bound it is taken, beyond it refused."""
    for value in fits:
        assert not refused(value, kind), value
    for value in too_much:
        assert refused(value, kind), value
