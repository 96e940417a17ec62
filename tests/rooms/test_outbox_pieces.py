"""The outbox when there is much to send: flushes and replays go in pieces, and all that is due arrives."""

import asyncio

import msgspec
import pytest

from protocol.wire import Codec
from tests.rooms.test_outbox import Socket, event, outbox, record


async def test_a_large_flush_goes_in_pieces() -> None:
    """Every writable socket gets all of it at once, in shared frames; one that pauses after a piece continues alone."""
    quick, other, slow, slower = Socket(), Socket(), Socket(), Socket()
    slow.pauses_at = slower.pauses_at = 1
    box = outbox(quick, other, slow, slower)
    events = [event(seq, "x" * 2_000) for seq in range(1, 501)]
    before = len(asyncio.all_tasks())
    await record(box, *events)
    assert quick.seqs == other.seqs == list(range(1, 501))
    assert [id(frame) for frame in quick.frames] == [id(frame) for frame in other.frames]
    quick.assert_pieces()
    for piece in range(2, 17):
        for each in (slow, slower):
            each.paused, each.pauses_at = False, piece
            box.catch_up(each)
    assert slow.seqs == slower.seqs == list(range(1, 501))
    assert slow.hidden == []
    assert [id(frame) for frame in slow.frames] == [id(frame) for frame in slower.frames]
    slow.assert_pieces()
    assert len(asyncio.all_tasks()) == before


async def test_events_after_a_large_flush_are_thinned_again() -> None:
    """A socket that was with the others when it began gets all of that flush; what came since is thinned as usual."""
    slow, late = Socket(), Socket(paused=True)
    slow.pauses_at = 1
    box = outbox(slow, late)
    await record(box, *(event(seq, "x" * 2_000) for seq in range(1, 101)))
    await record(box, *(event(seq, "x" * 2_000) for seq in range(101, 201)))
    for each in (slow, late):
        each.paused, each.pauses_at = False, 99
        box.catch_up(each)
    assert (slow.seqs, slow.hidden) == (list(range(1, 101)), [100])
    assert (late.seqs, late.hidden) == ([], [200])


# --- newcomers -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("held", [False, True], ids=["in the ring", "of the history"])
async def test_a_replay_goes_in_pieces(codec: Codec, held: bool) -> None:
    """The welcome comes first; what was missed is whole and marked, what came since is whole; what follows is live."""
    events = [event(seq, "x" * 2_000) for seq in range(1, 301)]
    box = outbox()
    if held:
        box.begin(200)
    else:
        await record(box, *events[:200])
    await record(box, *events[200:])
    reader = Socket(codec)
    reader.pauses_at = 1
    hello = b'{"type":"welcome"}' if codec == "json" else msgspec.msgpack.encode({"type": "welcome"})
    box.greet(reader, hello, 200, events[:200])
    assert (reader.missed is not None) is held
    box._readers = lambda: [reader]
    await record(box, event(301))
    for piece in range(2, 30):
        assert reader.messages[0] == {"type": "welcome"}
        assert reader.seqs == list(range(1, reader.cursor + 1))
        reader.paused, reader.pauses_at = False, piece
        box.catch_up(reader)
    assert reader.seqs == list(range(1, 302))
    assert (reader.replayed, reader.hidden, reader.missed) == (list(range(1, 201)), [], None)
    reader.assert_pieces()
    reader.paused, reader.pauses_at = False, 99
    await record(box, event(302))
    assert reader.seqs[-1] == 302


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_replay_with_holes(codec: Codec) -> None:
    """Only some of what was missed is sent again, in pieces; what came since the snapshot follows whole and live."""
    events = [event(seq, "x" * 2_000) for seq in range(1, 301)]
    box = outbox()
    await record(box, *events)
    reader = Socket(codec)
    reader.pauses_at = 1
    box.greet(
        reader, b'{"type":"welcome"}' if codec == "json" else msgspec.msgpack.encode({"type": "w"}), 200, events[:180:2]
    )
    box._readers = lambda: [reader]
    for piece in range(2, 30):
        reader.paused, reader.pauses_at = False, piece
        box.catch_up(reader)
    assert reader.seqs == [*range(1, 180, 2), *range(201, 301)]
    assert (reader.replayed, reader.hidden, reader.missed) == (list(range(1, 180, 2)), [], None)
    reader.assert_pieces()


async def test_a_snapshot_that_is_newer_than_the_room() -> None:
    """A newcomer whose snapshot is ahead of the others gets the rest as it can read it, and nothing twice."""
    events = [event(seq, "x" * 2_000) for seq in range(1, 101)]
    box = outbox()
    await record(box, *events[:50])
    reader = Socket()
    reader.pauses_at = 1
    box.greet(reader, b'{"type":"welcome"}', 100, events[20:])
    reader.paused, reader.pauses_at = False, 99
    box.catch_up(reader)
    box._readers = lambda: [reader]
    await record(box, *events[50:], event(101))
    assert reader.seqs == list(range(21, 102))
    assert reader.replayed == list(range(21, 101))
