"""Frames: every length form, arrays of messages, the mark of a replay, and one deflating for everybody."""

import msgspec
import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from protocol.wire import Codec
from server.rooms.frames import BINARY, TEXT, Prepared, encoded, encoded_replayed, frame_bytes, inflate, join_messages
from tests.rooms.test_outbox import event


# --- frames --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_frames_of_every_length_form(opcode: int, size: int) -> None:
    """A frame reads back in websockets' own parser as one final, unmasked frame of its payload."""
    payload = bytes(n % 251 for n in range(size))
    frame = frame_bytes(opcode, payload)
    reader = StreamReader()
    reader.feed_data(frame)
    parser = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parser)
    assert parsed.value.value == Frame(Opcode(opcode), payload, fin=True)
    assert frame == Frame(Opcode(opcode), payload).serialize(mask=False)  # the same bytes: the shortest form
    assert len(frame) == size + (2 if size < 126 else 4 if size < 65_536 else 10)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 255, 256, 65_535, 65_536])
def test_an_array_of_messages(count: int) -> None:
    """Messages that were encoded before become one array, in both codecs, however many they are."""
    messages = [{"n": n} for n in range(count)]
    assert msgspec.json.decode(join_messages("json", [msgspec.json.encode(m) for m in messages])) == messages
    assert msgspec.msgpack.decode(join_messages("msgpack", [msgspec.msgpack.encode(m) for m in messages])) == messages


def test_replayed_events_say_so() -> None:
    """What a resume repeats is the same except for its mark, in both codecs."""
    events = [event(1), event(2)]
    plain = [msgspec.json.decode(each) for each in encoded("json", events)]
    assert plain[0] == {"type": "chat.sent", "seq": 1, "at_ms": 1_001, "id": "e1", "text": "hi"}
    assert [msgspec.msgpack.decode(each) for each in encoded("msgpack", events)] == plain
    marked = [each | {"replayed": True} for each in plain]
    assert [msgspec.json.decode(each) for each in encoded_replayed("json", events)] == marked
    assert [msgspec.msgpack.decode(each) for each in encoded_replayed("msgpack", events)] == marked


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_tick_of_chat_is_compressed(codec: Codec) -> None:
    """Twenty lines of chat take at most 40 % of the bytes, once for everybody, and come out as they went in."""
    chats = [
        event(seq, f"line {seq * 7919 % 1000}: what a show, {'wow' * (seq % 3)} greetings") for seq in range(1, 21)
    ]
    shared = Prepared(codec, join_messages(codec, encoded(codec, chats)), shared=True)
    assert len(shared.deflated) <= 0.4 * len(shared.frame)
    assert shared.deflated is shared.deflated
    assert shared.deflated[0] == 0xC0 | shared.opcode
    assert shared.deflated[1] == 126
    assert inflate(shared.deflated[4:], len(shared.payload)) == shared.payload


def test_what_does_not_pay_is_not_deflated() -> None:
    """A short frame, or one to a single socket, is the plain one for everybody."""
    for prepared in (Prepared("json", b"[]", shared=True), Prepared("json", b"[" + b" " * 5_000 + b"]")):
        assert prepared.deflated is prepared.frame
