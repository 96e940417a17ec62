"""What the fast decoder takes silently: keys that stand twice in msgpack, and NUL in any text."""

import random
from typing import Any

import msgspec
import pytest

from protocol import BadCommand, careful, decode_commands
from protocol.likes import SendLikes
from protocol.ping import Ping
from tests.test_protocol import GIFT_ID

LAST = msgspec.msgpack.encode({"type": "likes.send", "count": 5})
GIFT = {"id": GIFT_ID, "gift": "rose", "count": 1, "ref": "r", "type": "gifts.send"}


def doubled(key: str, first: Any, last: Any, **more: Any) -> bytes:
    """A map of msgpack in which a key stands twice."""
    parts = [msgspec.msgpack.encode(part) for name, value in more.items() for part in (name, value)]
    parts += [msgspec.msgpack.encode(part) for value in (first, last) for part in (key, value)]
    return bytes((0x80 | len(parts) // 2,)) + b"".join(parts)


TWICE = {
    "text": doubled("text", "a", "b", type="chat.send", ref="r"),
    "type": doubled("type", "ping", "chat.send", text="b", ref="r"),
    "type again": doubled("type", "ping", "ping", ref="r"),
    "a null": doubled("combo", None, "c", **GIFT),
    "count": doubled("count", 1, 999, **{name: value for name, value in GIFT.items() if name != "count"}),
    "beside a default": doubled("user_id", "a", "b", type="members.kick", ref="r"),
    "beside false": doubled("gift", "a", "b", type="gifts.send", id=GIFT_ID, count=1, ref="r"),
    "in a value": b"\x83\xa4type\xa4ping\xa3ref\xa1r\xa1x\x82\xa1a\x01\xa1a\x02",
    "a long map": b"\xde\x00\x03\xa3ref\xa1r\xa4type\xa4ping\xa4type\xa4ping",
    "in two forms": b"\x83\xa3ref\xa1r\xa4type\xa4ping\xd9\x04type\xa4ping",
}


@pytest.mark.parametrize("name", TWICE)
def test_a_key_twice_in_msgpack(name: str) -> None:
    """As in JSON, nobody knows which one was meant: that command is refused, the others are carried out."""
    (alone,) = decode_commands("msgpack", TWICE[name])
    assert isinstance(alone, BadCommand)
    assert alone.ref == "r"
    first, bad, last = decode_commands(
        "msgpack", b"\x93" + msgspec.msgpack.encode({"type": "ping"}) + TWICE[name] + LAST
    )
    assert (first, last) == (Ping(), SendLikes(count=5))
    assert bad == alone


def test_a_ref_with_nul() -> None:
    """It is a text like any other, in both codecs; the refusal repeats it."""
    expected = [BadCommand("a\0b", careful.NOT_A_TEXT)]
    assert decode_commands("json", rb'{"type":"ping","ref":"a\u0000b"}') == expected
    assert decode_commands("msgpack", msgspec.msgpack.encode({"type": "ping", "ref": "a\0b"})) == expected


def test_values_of_every_form_are_walked_over() -> None:
    """A map with values of all kinds and lengths has no key twice, and the one behind it is found."""
    chance = random.Random(1)
    kinds: list[Any] = [None, True, 0, -1, 200, -100, 40_000, -40_000, 2**31, -(2**31), 2**63, -(2**63), 1.5]
    kinds += ["x" * size for size in (0, 31, 32, 255, 256, 70_000)] + [b"x" * size for size in (0, 255, 256, 70_000)]
    kinds += [msgspec.msgpack.Ext(1, b"x" * size) for size in (1, 2, 3, 4, 8, 16, 300, 70_000)]
    kinds += [[1] * 15, [1] * 16, ["x"] * 70_000, {str(n): n for n in range(20)}, {n: [] for n in range(70_000)}]
    for _ in range(5):
        chance.shuffle(kinds)
        whole = {str(n): value for n, value in enumerate(kinds)}
        assert not careful.is_doubled(msgspec.msgpack.encode(whole))
        assert not careful.is_doubled(msgspec.msgpack.encode([whole, {"a": 1}]))
        assert careful.is_doubled(b"\x92" + msgspec.msgpack.encode(whole) + b"\x82\xa1a\x01\xa1a\x02")
        assert careful.keys_of_map(msgspec.msgpack.encode(whole)) == len(kinds)
