"""A second look at frames: it finds what a fast decoder takes silently, or gives up at though the frame is whole.

Doubled keys, halves of surrogate pairs, NUL, and numbers that no field could hold make one command bad, not the frame.
"""

import json
from typing import Any

DIGITS_MAX = 20  # of an integer; a longer one fits no field, and is not worth the arithmetic
EXACT = 2**53  # below it a double is the number that was written
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


def _number(digits: str) -> int | float:
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < EXACT else value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
_BODIES = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant, parse_float=_number)


def decode_json(frame: bytes) -> Any:
    """The value of a JSON frame. Raises ValueError or RecursionError."""
    return _DECODER.decode(frame.decode())


def decode_body(body: bytes) -> Any:
    """The value of a JSON body, in which 5.0 is an integer (JSON Schema, section 6.1.1). Raises as `decode_json`."""
    return _BODIES.decode(body.decode())


def fault_of(value: Any) -> str | None:
    """What is wrong with a decoded command, or None. Raises RecursionError."""
    if type(value) is str:
        return NOT_A_TEXT if "\0" in value or is_broken(value) else None
    if type(value) is list:
        return next((fault for each in value if (fault := fault_of(each))), None)
    if isinstance(value, dict):
        if type(value) is _Doubled:
            return DOUBLED
        return fault_of([item for pair in value.items() for item in pair])
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


# --- msgpack -------------------------------------------------------------------------------------------------------
_FIXED = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_FIXED |= {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}  # bytes, with the first one
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # bytes of the length, and of an extension's type
_ARRAYS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}  # bytes of the number of items


class _Twice(Exception):
    """A key stands twice."""


def keys_of_map(packed: bytes) -> int:
    """How many keys this map of msgpack says that it has."""
    first = packed[0]
    return first & 0x0F if first & 0xF0 == 0x80 else int.from_bytes(packed[1 : 1 + _MAPS[first]])


def is_doubled(packed: bytes) -> bool:
    """Whether a map in this value of msgpack has a key twice. The value is whole: msgspec has decoded it."""
    try:
        _end_of(packed, 0)
    except _Twice:
        return True
    return False


def _end_of(packed: bytes, at: int) -> int:
    """Where the value that begins at `at` ends (the specification of msgpack, "Formats"). Raises _Twice."""
    first = packed[at]
    if first in _FIXED:
        return at + _FIXED[first]
    if first in _SIZED:
        size, more = _SIZED[first]
        return at + 1 + size + more + int.from_bytes(packed[at + 1 : at + 1 + size])
    if first & 0xE0 == 0xA0:
        return at + 1 + (first & 0x1F)
    if first & 0xF0 == 0x80 or first in _MAPS:
        return _end_of_map(packed, at + 1 + _MAPS.get(first, 0), keys_of_map(packed[at : at + 5]))
    if first & 0xF0 == 0x90 or first in _ARRAYS:
        size = _ARRAYS.get(first, 0)
        items, at = int.from_bytes(packed[at + 1 : at + 1 + size]) if size else first & 0x0F, at + 1 + size
        for _ in range(items):
            at = _end_of(packed, at)
        return at
    return at + 1  # a small integer


def _end_of_map(packed: bytes, at: int, items: int) -> int:
    keys = set()
    for _ in range(items):
        end = _end_of(packed, at)
        first = packed[at]
        text = 0 if first & 0xE0 == 0xA0 else _SIZED[first][0] if 0xD9 <= first <= 0xDB else -1
        key = packed[at + 1 + text : end]  # a text may have its length in several forms
        if key in keys:
            raise _Twice
        keys.add(key)
        at = _end_of(packed, end)
    return at
