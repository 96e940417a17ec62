"""Personal text in entries: the chained body holds only its digest, so that the text can be erased.

Of a gift it is a viewer's and a creator's name, a message, and the fingerprint, which covers the message; of an
operator's decision, who decided it and why. The entry ends with it. It begins with a random salt, so that nobody can
guess a name and compare digests (docs/decisions/0020-chain-version-2.md).
"""

from hashlib import sha256

import msgspec
from msgspec import Raw, Struct

from server.booked import DecidedEntry
from server.entries import GiftEntry

_FIRST = b',"salt":"'  # in a JSON string each quote has a backslash, so this stands only between two fields
_DIGEST = ',"digest":"'
_DIGEST_CHARS = len(_DIGEST) + 64 + len('"}')


class Text(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The personal text of a gift. No field that is booked can stand here."""

    salt: str
    fp: str
    viewer_name: str
    show: Raw


class Note(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Who decided something, and why. No field that is booked can stand here."""

    salt: str
    by: str
    reason: str


assert GiftEntry.__struct_fields__[-4:] == Text.__struct_fields__, "it is cut off at its first field"
assert DecidedEntry.__struct_fields__[-3:] == Note.__struct_fields__
_TEXT, _NOTE = msgspec.json.Decoder(Text), msgspec.json.Decoder(Note)


def split(entry: bytes) -> tuple[bytes, bytes | None]:
    """Split an entry of the log into the body that is chained, and the personal text, if it has one.

    Raises msgspec.DecodeError.
    """
    at = entry.find(_FIRST)
    if at < 0:
        return entry, None
    text = b"{" + entry[at + 1 :]
    try:
        _TEXT.decode(text)
    except msgspec.ValidationError:
        _NOTE.decode(text)
    return b'%b,"digest":"%b"}' % (entry[:at], sha256(text).hexdigest().encode()), text


def join(body: str, text: str | None) -> str:
    """Make the log's entry again. One whose text is erased keeps the digest."""
    return body if text is None else f"{body[:-_DIGEST_CHARS]},{text[1:]}"


def digest(text: bytes) -> str:
    """The digest of a text, which has its salt in it."""
    return sha256(text).hexdigest()
