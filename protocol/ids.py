"""Typed ids of the wire: their patterns, and UUIDv7 gift ids (RFC 9562, section 5.7), which contain their time."""

import secrets
from typing import Annotated

from msgspec import Meta

# In Python, `$` alone would accept a final newline. The look-ahead means the same in ECMAScript.
_NAME = r"^[A-Za-z0-9_.-]{1,64}$(?!\n)"
# An id that stands alone in addresses: browsers and HTTP clients take "." and ".." out of a path (RFC 3986, 5.2.4).
_PLACE = r"^(?!\.\.?$)[A-Za-z0-9_.-]{1,64}$(?!\n)"
_USER = r"^[A-Za-z0-9][A-Za-z0-9_.@|+-]{0,63}$(?!\n)"  # no colon, which separates the parts of keys
_PERSON = r"^(?!anonymous$)[A-Za-z0-9][A-Za-z0-9_.@|+-]{0,63}$(?!\n)"
_UUID7 = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$(?!\n)"

USER_WORDS = "1-64 of A-Za-z0-9_.@|+-, the first a letter or digit"
UserId = Annotated[str, Meta(pattern=_USER, description=USER_WORDS)]
PersonId = Annotated[str, Meta(pattern=_PERSON, description=f"{USER_WORDS}; not `anonymous`")]
PLACE_WORDS = "1-64 of A-Za-z0-9_.- (but not `.` or `..`)"
RoomId = Annotated[str, Meta(pattern=_PLACE, description=PLACE_WORDS)]
GiftId = Annotated[str, Meta(pattern=_UUID7, description="UUIDv7, lower case, made by the sender")]
ComboId = Annotated[str, Meta(pattern=_NAME, description="1-64 of A-Za-z0-9_.-")]
TopUpId = Annotated[str, Meta(pattern=_PLACE, description=PLACE_WORDS)]
GoalId = Annotated[str, Meta(pattern=_PLACE, description=PLACE_WORDS)]
CatalogueId = Annotated[str, Meta(pattern=_NAME, description="a gift's name in the catalogue")]
Ref = Annotated[str, Meta(min_length=1, max_length=64)]
NAME_CHARS_MAX = 40
Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]


def uuid7(now_ms: int) -> str:
    """A new UUIDv7 for `now_ms` (Unix milliseconds): 48 bits of time, 74 random bits."""
    chance = secrets.randbits(74)
    bits = (now_ms & (2**48 - 1)) << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (2**62 - 1)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def uuid7_ms(uuid: str) -> int:
    """The time in a UUIDv7, in Unix milliseconds."""
    return int(uuid[:8] + uuid[9:13], 16)
