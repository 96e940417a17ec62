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
