"""The wire's language: what is a command, what is refused with its ref, and what is not the protocol at all."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import protocol
from protocol import (
    TOO_DEEP,
    BadCommand,
    Malformed,
    TooMany,
    careful,
    convert_event,
    decode_commands,
    decode_event,
    to_msgpack,
)
from protocol.chat import ChatSent, SendChat
from protocol.gifts import SendGift
from protocol.ids import CatalogueId, ComboId, GiftId, PersonId, RoomId, TopUpId, UserId, uuid7, uuid7_ms
from protocol.likes import SendLikes
from protocol.ping import Ping
from protocol.wire import Codec, Delivery, User, encode

GIFT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
CODECS: tuple[Codec, ...] = ("json", "msgpack")
both = pytest.mark.parametrize("codec", CODECS)


def packed(codec: Codec, value: Any) -> bytes:
    """A frame in this codec."""
    return json.dumps(value).encode() if codec == "json" else msgspec.msgpack.encode(value)


def gift(**fields: Any) -> dict[str, Any]:
    return {"type": "gifts.send", "id": GIFT_ID, "gift": "rose", "count": 1, "ref": "r", **fields}


# --- what is a command ---------------------------------------------------------------------------------------------
@both
def test_one_command_or_an_array_of_them(codec: Codec) -> None:
    """A frame is one command or an array, whose order stays."""
    ping, chat = {"type": "ping", "ref": "a"}, {"type": "chat.send", "text": "hello"}
    assert decode_commands(codec, packed(codec, ping)) == [Ping(ref="a")]
    assert decode_commands(codec, packed(codec, [ping, chat, ping])) == [
        Ping(ref="a"),
        SendChat("hello"),
        Ping(ref="a"),
    ]
    assert decode_commands(codec, packed(codec, [])) == []


@both
def test_optional_fields_may_be_absent_or_null(codec: Codec) -> None:
    """Absent and null are the same for `to`, `combo` and `message`."""
    bare = SendGift(id=GIFT_ID, gift="rose", count=1, ref="r")
    assert decode_commands(codec, packed(codec, gift())) == [bare]
    assert decode_commands(codec, packed(codec, gift(to=None, combo=None, message=None))) == [bare]


@both
def test_good_and_bad_in_one_array(codec: Codec) -> None:
    """Each item that is not a command is refused with its ref; the others are carried out in order."""
    frame = [{"type": "ping"}, {"type": "chat.shout", "ref": "x"}, 7, None, [], {"type": "likes.send", "count": 50}]
    decoded = decode_commands(codec, packed(codec, frame))
    assert decoded[0] == Ping()
    assert [type(each) for each in decoded] == [Ping, BadCommand, BadCommand, BadCommand, BadCommand, SendLikes]
    assert [each.ref for each in decoded] == [None, "x", None, None, None, None]


BAD: list[Any] = [
    pytest.param({"ref": "r"}, id="no type"),
    pytest.param({"type": "gift.send", "ref": "r"}, id="unknown type"),
    pytest.param({"type": "chat.sent", "ref": "r", "id": "x", "text": "x"}, id="an event's type"),
    pytest.param({"type": "ok", "ref": "r"}, id="a reply's type"),
    pytest.param({"type": 1, "ref": "r"}, id="type is a number"),
    pytest.param({"type": None, "ref": "r"}, id="type is null"),
    pytest.param({"type": "ping", "ref": "r", "Type": "ping"}, id="unknown field"),
    pytest.param({"type": "ping", "ref": "r", "": 1}, id="field without a name"),
    pytest.param({"type": "chat.send", "ref": "r"}, id="field missing"),
    pytest.param({"type": "chat.send", "ref": "r", "text": ""}, id="text empty"),
    pytest.param({"type": "chat.send", "ref": "r", "text": "x" * 501}, id="text too long"),
    pytest.param({"type": "chat.send", "ref": "r", "text": 5}, id="text is a number"),
    pytest.param({"type": "likes.send", "ref": "r", "count": 0}, id="no likes"),
    pytest.param({"type": "likes.send", "ref": "r", "count": 51}, id="too many likes"),
    pytest.param({"type": "likes.send", "ref": "r", "count": True}, id="count is true"),
    pytest.param({"type": "likes.send", "ref": "r", "count": "5"}, id="count is text"),
    pytest.param(gift(count=0), id="no gifts"),
    pytest.param(gift(count=-1), id="gifts back"),
    pytest.param(gift(count=10_000), id="too many gifts"),
    pytest.param(gift(count=2**63), id="count beyond 63 bits"),
    pytest.param(gift(count=2**64 - 1), id="count of 64 bits"),
    pytest.param(gift(count=1.0), id="count is a float"),
    pytest.param(gift(count=None), id="count is null"),
    pytest.param(gift(id=GIFT_ID.upper()), id="id in capitals"),
    pytest.param(gift(id=GIFT_ID.replace("-7", "-4")), id="id is a UUIDv4"),
    pytest.param(gift(id=GIFT_ID.replace("-", "")), id="id without hyphens"),
    pytest.param(gift(id=GIFT_ID + "\n"), id="id and a newline"),
    pytest.param(gift(id=" " + GIFT_ID), id="space and id"),
    pytest.param(gift(to="bob\n"), id="user and a newline"),
    pytest.param(gift(to=""), id="user empty"),
    pytest.param(gift(to="b" * 65), id="user too long"),
    pytest.param(gift(to="böb"), id="user with an umlaut"),
    pytest.param(gift(combo="a:b"), id="combo with a colon"),
    pytest.param(gift(combo="a}b"), id="combo with a brace"),
    pytest.param(gift(gift="rose "), id="gift and a space"),
    pytest.param(gift(message=""), id="message empty"),
    pytest.param(gift(message="x" * 201), id="message too long"),
]


@both
@pytest.mark.parametrize("value", BAD)
def test_a_value_that_is_no_command(codec: Codec, value: dict[str, Any]) -> None:
    """It is refused with its ref and a sentence; the frame is not malformed."""
    (bad,) = decode_commands(codec, packed(codec, value))
    assert isinstance(bad, BadCommand)
    assert bad.ref == "r"
    assert 0 < len(bad.message) <= 200


@both
@pytest.mark.parametrize("ref", ["", "x" * 65, 5, ["r"], {"r": 1}, True])
def test_an_invalid_ref(codec: Codec, ref: Any) -> None:
    """A ref of a wrong shape makes the command bad, and is not echoed."""
    assert [type(b) for b in decode_commands(codec, packed(codec, {"type": "ping", "ref": ref}))] == [BadCommand]
    assert decode_commands(codec, packed(codec, {"type": "ping", "ref": ref}))[0].ref is None


@both
@pytest.mark.parametrize("ref", ["x", "x" * 64, "é ✓", "\x01", '"}'])
def test_a_ref_is_any_short_text(codec: Codec, ref: str) -> None:
    """It has 1 to 64 characters of any kind, in good commands and bad ones."""
    assert decode_commands(codec, packed(codec, {"type": "ping", "ref": ref})) == [Ping(ref=ref)]
    assert decode_commands(codec, packed(codec, {"type": "nope", "ref": ref}))[0].ref == ref


# --- what is not the protocol --------------------------------------------------------------------------------------
NOT_JSON = {
    "empty": b"",
    "cut off": b'{"type":"ping"',
    "two values": b'{"type":"ping"}{"type":"ping"}',
    "trailing word": b'[{"type":"ping"}] x',
    "NaN": b'{"type":"likes.send","count":NaN}',
    "Infinity": b'{"type":"likes.send","count":-Infinity}',
    "byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
    "not UTF-8": b'{"type":"chat.send","text":"\xff\xfe"}',
    "bare control character": b'{"type":"chat.send","text":"\n"}',
    "single quotes": b"{'type':'ping'}",
    "msgpack": b"\x81\xa4type\xa4ping",
}
NOT_MSGPACK = {
    "empty": b"",
    "never used": b"\xc1",
    "cut off": b"\x81\xa4type\xa4pin",
    "trailing byte": b"\x81\xa4type\xa4ping\x00",
    "promises four thousand million": b"\xdd\xff\xff\xff\xff",
    "promises a large map": b"\xdf\xff\xff\xff\xff",
    "map as a key": b"\x81\x80\x01",
    "an impossible time": b"\x91\xd7\xff" + b"\xff" * 8,
    "json": b'{"type":"ping"}',
}


@pytest.mark.parametrize(
    ("codec", "frame"),
    [pytest.param("json", frame, id=f"json {name}") for name, frame in NOT_JSON.items()]
    + [pytest.param("msgpack", frame, id=f"msgpack {name}") for name, frame in NOT_MSGPACK.items()],
)
def test_a_frame_that_is_not_of_the_codec(codec: Codec, frame: bytes) -> None:
    """The peer does not speak the protocol: Malformed, and no other exception."""
    with pytest.raises(Malformed):
        decode_commands(codec, frame)


LIKES = b'{"type":"likes.send","ref":"r","count":%b}'
CHAT = b'{"type":"chat.send","ref":"r","text":"%b"}'
WHOLE = {
    "beyond a double": LIKES % b"1e999",
    "below a double": LIKES % b"-1e999",
    "400 digits": LIKES % (b"9" * 400),
    "5,000 digits": LIKES % (b"9" * 5_000),
    "a high surrogate": CHAT % rb"hi \ud83d",
    "a low surrogate": CHAT % rb"\ude00",
    "a pair the wrong way": CHAT % rb"\ude00\ud83d",
    "half a pair, then more": CHAT % rb"\ud83d hello",
    "half a pair in a key": b'{"type":"ping","ref":"r","\\ud800":1}',
    "NUL": CHAT % rb"a\u0000b",
    "NUL in a list": b'{"type":"ping","ref":"r","x":["\\u0000"]}',
    "a key twice": b'{"type":"chat.send","ref":"r","text":"a","text":"b"}',
    "a key twice with blanks": b'{"type":"chat.send","ref":"r","text" :"a","text":"b"}',
    "a key twice, once escaped": b'{"type":"chat.send","ref":"r","text":"a","\\u0074ext":"b"}',
    "the type twice": b'{"type":"ping","type":"chat.send","ref":"r","text":"b"}',
    "a key twice in a value": b'{"type":"ping","ref":"r","x":{"a":1,"a":2}}',
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_frame_with_a_bad_value(name: str) -> None:
    """That command is refused with its ref; the others of the frame are carried out."""
    frame = b'[{"type":"ping"},%b,{"type":"chat.send","text":"a: \xf0\x9f\x98\x80 \\ud83d\\ude00"}]' % WHOLE[name]
    first, bad, last = decode_commands("json", frame)
    assert (first, last) == (Ping(), SendChat("a: 😀 😀"))
    assert isinstance(bad, BadCommand)
    assert bad.ref == "r"
    (alone,) = decode_commands("json", WHOLE[name])
    assert alone == bad


@both
@pytest.mark.parametrize("item", [{"type": "ping"}, {"a": 1}, 7])
def test_too_many_commands(codec: Codec, item: Any) -> None:
    """Good ones or bad ones, they are counted before they cost anything."""
    assert len(decode_commands(codec, packed(codec, [item] * 5), most=5)) == 5
    with pytest.raises(TooMany):
        decode_commands(codec, packed(codec, [item] * 6), most=5)


def test_a_bad_key_without_bytes() -> None:
    """The sentence that names it can be sent."""
    (bad,) = decode_commands("json", rb'{"type":"ping","\ud800":1}')
    assert isinstance(bad, BadCommand)
    assert bad.message.encode()


def test_a_ref_that_cannot_be_repeated() -> None:
    """Half of a surrogate pair has no UTF-8."""
    (bad,) = decode_commands("json", rb'{"type":"ping","ref":"\ud800"}')
    assert isinstance(bad, BadCommand)
    assert bad.ref is None


@pytest.mark.parametrize(
    ("codec", "frame"),
    [
        ("json", b"[" * 16_000),
        ("json", b"[" * 8_000 + b"]" * 8_000),
        ("json", b'{"type":' * 2_000),
        ("json", b'{"type":"ping","a":' + b"[" * 7_000 + b"]" * 7_000 + b"}"),
        ("msgpack", b"\x91" * 16_000 + b"\xc0"),
        ("msgpack", b"\x81\xa1a" * 5_000 + b"\xc0"),
        ("msgpack", b"\x82\xa4type\xa9chat.send\xa4text\xa1\xff"),
        ("msgpack", b"\x82\xa4type\xa9chat.send\xa4text\xa3\xed\xa0\x80"),
        ("msgpack", b"\x82\xa4type\xa9chat.send\xa4text\xa3a\0b"),
    ],
)
def test_a_frame_that_is_one_bad_command(codec: Codec, frame: bytes) -> None:
    """What is nested too deep is refused; so is a text of msgpack without UTF-8. Nothing says whose ref it was."""
    (bad,) = decode_commands(codec, frame)
    assert bad in (BadCommand(None, careful.NOT_A_TEXT), TOO_DEEP)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**64 - 1, -(2**63), msgspec.msgpack.Ext(1, b"x"), b"bytes", {1: 2}, 1.5],
    ids=["nan", "inf", "unsigned", "negative", "extension", "bytes", "map", "float"],
)
def test_values_that_only_msgpack_has(value: Any) -> None:
    """NaN, bytes, extensions and maps with number keys do not fit any field: refused, not malformed."""
    frame = msgspec.msgpack.encode([{"type": "likes.send", "count": value, "ref": "r"}, value, {"type": "ping"}])
    first, second, third = decode_commands("msgpack", frame)
    assert isinstance(first, BadCommand)
    assert first.ref == "r"
    assert isinstance(second, BadCommand)
    assert third == Ping()


@both
@given(frame=st.binary(max_size=200))
def test_any_bytes(codec: Codec, frame: bytes) -> None:
    """Any bytes give commands, bad commands or Malformed."""
    try:
        decoded = decode_commands(codec, frame)
    except Malformed:
        return
    assert all(isinstance(each, (BadCommand, *protocol.COMMANDS.values())) for each in decoded)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
LIKE_COMMANDS = st.fixed_dictionaries(
    {"type": st.sampled_from([*protocol.COMMANDS, "nope"])},
    optional={"ref": PLAIN, "text": PLAIN, "count": PLAIN, "id": PLAIN | st.just(GIFT_ID), "gift": PLAIN, "to": PLAIN},
)


@both
@given(values=st.lists(LIKE_COMMANDS | PLAIN, max_size=5))
def test_an_array_gives_one_answer_for_each_item(codec: Codec, values: list[Any]) -> None:
    """Each item of a well-formed array is a command or a bad command, with its own ref or none."""
    if codec == "json" and not _is_json(values):
        return
    decoded = decode_commands(codec, packed(codec, values))
    assert len(decoded) == len(values)
    for value, each in zip(values, decoded, strict=True):
        ref = value.get("ref") if isinstance(value, dict) else None
        assert each.ref == (ref if isinstance(ref, str) and 0 < len(ref) <= 64 else None)


def _is_json(value: Any) -> bool:
    """JSON has no NaN and no Infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(_is_json, inner))


# --- ids -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [RoomId, ComboId, TopUpId, CatalogueId], ids=["room", "combo", "topup", "gift"])
def test_names(kind: Any) -> None:
    """1 to 64 characters of A-Za-z0-9_.- and nothing else."""
    for good in ("a", "A-z_0.9", "x" * 64, "-", "..."):
        assert msgspec.convert(good, kind) == good
    for bad in ("", "x" * 65, "a b", "a\n", "\na", "a/b", "a:b", "{a}", "é", "a\x00", "１"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, kind)


@pytest.mark.parametrize("kind", [UserId, PersonId], ids=["user", "person"])
def test_user_ids(kind: Any) -> None:
    """1 to 64 characters, also of e-mail addresses and of identity providers; the first is a letter or a digit."""
    for good in ("a", "A-z_0.9", "9", "x" * 64, "google-oauth2|117", "auth0|5f7c", "ann+live@example.com", "Anonymous"):
        assert msgspec.convert(good, kind) == good
    for bad in ("", "x" * 65, "a b", "a\n", "\na", "a/b", "a:b", "{a}", "é", "a\x00", "１", "-a", "_", ".a", "@a", "+"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, kind)


def test_nobody_is_anonymous() -> None:
    """Events may call a giver so; no person has this id."""
    assert msgspec.convert("anonymous", UserId) == "anonymous"
    assert msgspec.convert("anonymous-1", PersonId) == "anonymous-1"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("anonymous", PersonId)


@given(now_ms=st.integers(0, 2**48 - 1))
def test_a_uuid7_contains_its_time(now_ms: int) -> None:
    """What `uuid7` makes is a gift id, and its time can be read back."""
    made = uuid7(now_ms)
    assert msgspec.convert(made, GiftId) == made
    assert uuid7_ms(made) == now_ms
    assert uuid7(now_ms) != made


def test_uuid7_sorts_by_time() -> None:
    """Later ids sort after earlier ones as text."""
    made = [uuid7(1_700_000_000_000 + n) for n in range(100)]
    assert made == sorted(made)


def test_the_time_of_an_id_of_another_maker() -> None:
    """The example of RFC 9562, appendix A.6, has the time that the RFC says."""
    assert uuid7_ms("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") == 1_645_557_742_000


# --- events and names ----------------------------------------------------------------------------------------------
def test_events_read_back() -> None:
    """An event is the same from JSON, from msgpack of that JSON, and from the decoded message."""
    event = ChatSent(id="x", seq=7, at_ms=5, user=User(user_id="alice", name="Älice", role="viewer"), text="hi ✓")
    json_form = encode(event)
    assert decode_event(json_form) == event
    assert msgspec.msgpack.decode(to_msgpack(json_form)) == msgspec.json.decode(json_form)
    assert convert_event(msgspec.json.decode(json_form)) == event
    assert convert_event({"type": "cats.counted", "id": "x", "seq": 8}) is None
    assert convert_event({}) is None


def test_a_newer_servers_fields_are_ignored() -> None:
    """A client can read events with more fields than it knows."""
    event = decode_event(
        b'{"type":"chat.sent","id":"x","seq":1,"at_ms":2,"mood":"good","user":{"user_id":"a","name":"A","rank":9},"text":"t"}'
    )
    assert isinstance(event, ChatSent)
    assert event.text == "t"


def test_what_must_never_be_dropped() -> None:
    """Gifts and room state are kept, chat may be dropped, and only the newest counts matter."""
    kept = {tag for tag, event in protocol.EVENTS.items() if event.delivery is Delivery.KEPT}
    assert {"gifts.sent", "gifts.combo_ended", "room.updated", "room.ended", "room.suspended"} <= kept
    assert {tag for tag, event in protocol.EVENTS.items() if event.delivery is Delivery.DROPPABLE} == {"chat.sent"}
    assert {"viewers.counted", "likes.counted", "board.changed"}.isdisjoint(kept)


def test_refusals_are_unique_and_say_a_sentence() -> None:
    """Each reason is a snake_case name with a sentence for people."""
    assert len(protocol.REASONS) > 20
    for reason in protocol.REASONS.values():
        assert reason.value.replace("_", "").islower()
        assert reason.sentence.endswith(".")
