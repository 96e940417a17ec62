"""A second look at frames: it finds what a fast decoder takes silently, or gives up at though the frame is whole.

Doubled keys, halves of surrogate pairs, NUL, and numbers that no field could hold make one command bad, not the frame.
"""

import json
from typing import Any

import msgspec

DIGITS_MAX = 20  # of an integer; a longer one fits no field, and is not worth the arithmetic
NOT_A_TEXT = "A text has NUL, or half of a surrogate pair."
DOUBLED = "A key stands twice."


class _Doubled(dict[str, Any]):
    """An object in which a key stands twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Doubled(made)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)


def decode_json(frame: bytes) -> Any:
    """The value of a JSON frame. Raises ValueError or RecursionError."""
    return _DECODER.decode(frame.decode())


_MSGPACK = msgspec.msgpack.Decoder()
_MSGPACK_ITEMS = msgspec.msgpack.Decoder(list[msgspec.Raw])


def decode_msgpack(frame: bytes) -> Any:
    """The value of a msgpack frame. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError.

    It notices keys that stand twice in a command, not those in a command's values: no field is a map.
    """
    value = _MSGPACK.decode(frame)
    if type(value) is not list:
        return _marked(value, frame)
    return [_marked(item, raw) for item, raw in zip(value, items_of(frame), strict=True)]


def items_of(frame: bytes) -> list[msgspec.Raw]:
    """The parts of an array of msgpack that was decoded before."""
    return _MSGPACK_ITEMS.decode(frame)


def is_short_map(raw: Any, pairs: int) -> bool:
    """Whether it is a map of msgpack that announces so many pairs, up to 15."""
    return memoryview(raw)[0] == 0x80 | pairs


def _marked(value: Any, raw: Any) -> Any:
    return value if type(value) is not dict or len(value) == _pairs(bytes(raw)) else _Doubled(value)


def _pairs(raw: bytes) -> int:
    """How many pairs a map of msgpack announces: in its first byte, or in the 2 or 4 behind it."""
    first = raw[0]
    return first & 0x0F if first <= 0x8F else int.from_bytes(raw[1:3] if first == 0xDE else raw[1:5])


def fault_of(value: Any) -> str | None:
    """What is wrong with a decoded command, or None. Raises RecursionError."""
    if type(value) is str:
        return NOT_A_TEXT if "\0" in value or is_broken(value) else None
    if type(value) is list:
        return next((fault for each in value if (fault := fault_of(each))), None)
    if isinstance(value, dict):
        if type(value) is _Doubled:
            return DOUBLED
        items = [item for key, each in value.items() if key != "ref" for item in (key, each)]
        return fault_of(items) or (NOT_A_TEXT if is_broken(value.get("ref")) else None)
    return None


def is_broken(text: Any) -> bool:
    """Whether it has half of a surrogate pair: it has no UTF-8, so no reply could repeat it."""
    if type(text) is not str or text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
