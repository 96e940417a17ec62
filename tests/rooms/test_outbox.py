"""The outbox: one frame for everybody, a ring to catch up from, and an end for those too far behind."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from protocol.closes import Close
from protocol.wire import Codec
from server import limits
from server.rooms.frames import BINARY, TEXT, Prepared
from server.rooms.history import Recorded
from server.rooms.outbox import Outbox
from server.rooms.pace import Latency, Pace


def event(seq: int, text: str = "hi", type_: str = "chat.sent") -> Recorded:
    """An event of the history: a chat message by default."""
    body = msgspec.json.encode({"type": type_, "id": f"e{seq}", "text": text})
    return Recorded(seq, b"%d" % (1_000 + seq), body)


class Socket:
    """A reader: what was written to it, and whether more can be."""

    def __init__(self, codec: Codec = "json", *, paused: bool = False) -> None:
        self.codec: Codec = codec
        self.paused = paused
        self.closing = False
        self.cursor = self.due_to = self.replay_to = 0
        self.missed: Sequence[Recorded] | None = None
        self.sink = self
        self.frames: list[Prepared] = []
        self.closed: Close | None = None
        self.pauses_at = 1 << 62  # after this many frames it is no longer writable

    def send(self, prepared: Prepared) -> None:
        assert not self.paused
        self.frames.append(prepared)
        self.paused = len(self.frames) >= self.pauses_at

    def close(self, code: Close) -> None:
        self.closing = True
        self.closed = code

    @property
    def messages(self) -> list[dict[str, Any]]:
        decode = msgspec.json.decode if self.codec == "json" else msgspec.msgpack.decode
        return [message for frame in self.frames for message in decode(frame.payload)]

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.messages if "seq" in message]

    @property
    def replayed(self) -> list[int]:
        return [message["seq"] for message in self.messages if message.get("replayed")]

    def assert_pieces(self) -> None:
        """No frame is larger than a piece plus its last event."""
        assert all(len(frame.payload) < 2 * limits.PIECE_BYTES for frame in self.frames)

    @property
    def hidden(self) -> list[int]:
        return [message["count"] for message in self.messages if message["type"] == "notice"]


def outbox(*readers: Socket, seq: int = 0, latency: Latency = "balanced") -> Outbox:
    made = Outbox(asyncio.get_running_loop(), lambda: readers, Pace(latency))
    made.begin(seq)
    return made


async def record(box: Outbox, *events: Recorded) -> None:
    """Record events and wait until they were written."""
    for each in events:
        box.record(each)
    async with asyncio.timeout(10):
        await box.wait_flushed(events[-1].seq)


# --- flushing ------------------------------------------------------------------------------------------------------
async def test_everybody_gets_the_same_bytes() -> None:
    """One frame is made per codec and given to every socket at the same place."""
    readers = [Socket(), Socket(), Socket("msgpack"), Socket("msgpack")]
    await record(outbox(*readers), event(1), event(2))
    assert [reader.seqs for reader in readers] == [[1, 2]] * 4
    assert [len(reader.frames) for reader in readers] == [1] * 4
    assert readers[0].frames[0] is readers[1].frames[0]
    assert readers[2].frames[0] is readers[3].frames[0]
    assert (readers[0].frames[0].opcode, readers[2].frames[0].opcode) == (TEXT, BINARY)


@pytest.mark.parametrize("at", [0, limits.FLUSH_CHUNK - 1, limits.FLUSH_CHUNK], ids=["first", "last", "next chunk"])
async def test_a_socket_that_cannot_be_written_to(at: int) -> None:
    """It is closed; the others get this flush and the next."""

    class Broken(Socket):
        def send(self, prepared: Prepared) -> None:
            raise RuntimeError("broken")

    readers = [Broken() if n == at else Socket() for n in range(limits.FLUSH_CHUNK + 2)]
    box = outbox(*readers)
    await record(box, event(1))
    await record(box, event(2))
    assert readers[at].closed is Close.INTERNAL
    assert {tuple(reader.seqs) for n, reader in enumerate(readers) if n != at} == {(1, 2)}


async def test_an_event_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can get it, so all rejoin for the room as it is, and the next flush goes on."""
    reader, late = Socket(), Socket()
    readers = [reader]
    box = outbox(*readers)
    with monkeypatch.context() as patch:
        patch.setattr(box, "_prepare", lambda *_: 1 / 0)
        await record(box, event(1))
    assert reader.closed is Close.INTERNAL
    readers.append(late)
    late.cursor = 1
    box._readers = lambda: readers
    await record(box, event(2))
    assert late.seqs == [2]


async def test_a_quiet_room_sends_at_once_and_a_busy_one_by_ticks() -> None:
    """The first event leaves with the next turn of the loop; those right after it go together a tick later."""
    reader = Socket()
    box = outbox(reader, latency="cheap")
    box.record(event(1))
    await asyncio.sleep(0)
    assert reader.seqs == [1]
    for seq in range(2, 52):
        box.record(event(seq))
        await asyncio.sleep(0)
    assert reader.seqs == [1]
    began = box.flushed_at
    await box.wait_flushed(51)
    assert [len(msgspec.json.decode(frame.payload)) for frame in reader.frames] == [1, 50]
    assert box.flushed_at - began >= limits.TICK_MS_MIN["cheap"] / 1000


async def test_a_storm_does_not_wait_for_its_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """More events in a tick than the ring holds: readers get all of them, and nobody counts as slow."""
    monkeypatch.setitem(limits.TICK_MS_MIN, "cheap", limits.TICK_MS_MAX)
    reader = Socket()
    box = outbox(reader, latency="cheap")
    last = 2 * limits.RING_EVENTS_MAX
    for seq in range(1, last + 1):
        box.record(event(seq))
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await box.wait_flushed(last)
    assert reader.closed is None
    assert reader.seqs == list(range(1, last + 1))
    assert len(reader.frames) <= last / limits.FLUSH_EVENTS_MAX + 2


async def test_a_crowd_is_served_in_chunks() -> None:
    """More sockets than one turn of the loop serves: all get each event once and in order."""
    readers = [Socket() for _ in range(2 * limits.FLUSH_CHUNK + 1)]
    box = outbox(*readers)
    box.record(event(1))
    await asyncio.sleep(0)
    told = [reader for reader in readers if reader.frames]
    assert len(told) == limits.FLUSH_CHUNK
    box.record(event(2))  # comes between two chunks
    async with asyncio.timeout(10):
        while any(reader.cursor < 2 for reader in readers):
            await asyncio.sleep(0)
    assert all(reader.seqs == [1, 2] for reader in readers)


async def test_what_comes_during_a_flush_reaches_the_rest_of_the_room_with_it() -> None:
    """Who comes last in a large room does not wait for the next flush, and gets both events in one frame."""
    readers = [Socket("msgpack" if n % 2 else "json") for n in range(2 * limits.FLUSH_CHUNK)]
    box = outbox(*readers)
    box.record(event(1))
    await asyncio.sleep(0)
    box.record(event(2))
    await asyncio.sleep(0)
    first, rest = readers[: limits.FLUSH_CHUNK], readers[limits.FLUSH_CHUNK :]
    assert [[message["seq"] for message in reader.messages] for reader in rest] == [[1, 2]] * len(rest)
    assert {len(reader.frames) for reader in rest} == {1}
    assert box.flushed == 1
    assert {tuple(reader.seqs) for reader in first} == {(1,)}
    await box.wait_flushed(2)
    assert {tuple(reader.seqs) for reader in readers} == {(1, 2)}
    assert {len(reader.frames) for reader in rest} == {1}


async def test_a_flush_stays_a_piece_when_much_comes_meanwhile() -> None:
    """What is more than a piece waits for the next flush, and nobody gets anything twice."""
    readers = [Socket() for _ in range(2 * limits.FLUSH_CHUNK)]
    box = outbox(*readers)
    box.record(event(1))
    await asyncio.sleep(0)
    for seq in range(2, 101):
        box.record(event(seq, "x" * 2_000))
    await asyncio.sleep(0)
    readers[-1].assert_pieces()
    assert 1 < readers[-1].cursor < 100
    async with asyncio.timeout(10):
        while any(reader.cursor < 100 for reader in readers):
            await asyncio.sleep(0)
    assert {tuple(reader.seqs) for reader in readers} == {tuple(range(1, 101))}
    for reader in readers:
        reader.assert_pieces()


@pytest.mark.timeout(10)
async def test_waiting_for_an_event_that_came_between_two_chunks() -> None:
    """Waiting for such an event gives way to the loop, and ends when everybody has it."""
    readers = [Socket() for _ in range(limits.FLUSH_CHUNK + 1)]
    box = outbox(*readers)
    box.record(event(1))
    await asyncio.sleep(0)  # the first chunk
    box.record(event(2))
    await asyncio.sleep(0)  # the last chunk: the flush of event 1 is done, event 2 waits for its tick
    await box.wait_flushed(2)
    assert all(reader.seqs == [1, 2] for reader in readers)


async def test_closing_and_ahead_sockets_get_nothing() -> None:
    """Nothing is written to a socket that closes; one that is ahead gets nothing twice."""
    closing, ahead, reader = Socket(), Socket(), Socket()
    closing.closing = True
    ahead.cursor = 1
    await record(outbox(closing, ahead, reader), event(1), event(2))
    assert (closing.seqs, ahead.seqs, reader.seqs) == ([], [2], [1, 2])


# --- slow readers --------------------------------------------------------------------------------------------------
async def test_a_paused_socket_is_caught_up() -> None:
    """A socket that is not writable gets nothing; when it is writable again it gets all that it missed."""
    slow, quick = Socket(paused=True), Socket("msgpack")
    box = outbox(slow, quick)
    await record(box, event(1))
    await record(box, event(2), event(3))
    assert (slow.seqs, quick.seqs) == ([], [1, 2, 3])
    slow.paused = False
    box.catch_up(slow)
    assert slow.seqs == [1, 2, 3]
    await record(box, event(4))
    assert slow.seqs == quick.seqs == [1, 2, 3, 4]


async def test_catching_up_goes_in_bounded_pieces() -> None:
    """Catching up after long is not one large write, and stops where the socket pauses again."""
    slow = Socket(paused=True)
    box = outbox(slow)
    large = "x" * (limits.PIECE_BYTES // 3)
    await record(box, *(event(seq, large, "gifts.sent") for seq in range(1, 8)))
    slow.paused, slow.pauses_at = False, 2
    box.catch_up(slow)
    assert slow.paused
    assert slow.seqs == [1, 2, 3, 4, 5, 6]
    assert all(len(frame.payload) < 2 * limits.PIECE_BYTES for frame in slow.frames)
    slow.paused, slow.pauses_at = False, 99
    box.catch_up(slow)
    assert slow.seqs == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_long_backlog_is_thinned(codec: Codec) -> None:
    """Events that must be kept, the newest count, and how many chats there were: more would be old news."""
    slow = Socket(codec, paused=True)
    box = outbox(slow)
    kinds = ("chat.sent", "gifts.sent", "viewers.counted", "chat.sent")
    await record(box, *(event(seq, "x" * 2_000, kinds[seq % 4]) for seq in range(1, 101)))
    slow.paused = False
    box.catch_up(slow)
    assert slow.cursor == 100
    assert slow.seqs == [*range(1, 98, 4), 98]
    assert slow.hidden == [50]
    await record(box, event(101))
    assert slow.seqs[-1] == 101


# --- what is omitted -----------------------------------------------------------------------------------------------
async def test_overtaken_counts_are_omitted() -> None:
    """When load must be shed, only a tick's newest count is sent; nothing else is omitted, and the order stays."""
    kinds = ("viewers.counted", "gifts.sent", "likes.counted", "viewers.counted", "chat.sent", "board.changed")
    for late, told in ((False, [1, 2, 3, 4, 5, 6, 7]), (True, [1, 3, 4, 5, 6, 7])):
        reader, pace = Socket(), Pace()
        for _ in range(100 if late else 0):
            pace.late(1.0)
        box = Outbox(asyncio.get_running_loop(), lambda reader=reader: [reader], pace)
        box.begin(0)
        await record(box, event(1))
        await record(box, *(event(seq, type_=type_) for seq, type_ in enumerate(kinds, 2)))
        assert reader.seqs == told


async def test_hidden_chats_are_counted() -> None:
    """Everybody learns how many were hidden, even those for whom there is nothing else."""
    reader, other = Socket(), Socket("msgpack")
    box = outbox(reader, other)
    await record(box, event(1))
    box.hide(2)
    box.hide(3)
    await record(box, event(2))
    assert (reader.seqs, reader.hidden) == (other.seqs, other.hidden) == ([1, 2], [5])
    box.hide(1)
    async with asyncio.timeout(10):
        while len(reader.hidden) < 2:
            await asyncio.sleep(0)
    assert (reader.seqs, reader.hidden, other.hidden) == ([1, 2], [5, 1], [5, 1])


async def test_a_count_between_two_chunks() -> None:
    """What is hidden while a flush is under way follows it, for everybody."""

    class Hides(Socket):
        def send(self, prepared: Prepared) -> None:
            super().send(prepared)
            if not self.hidden:
                box.hide(3)

    readers = [Hides(), *(Socket() for _ in range(limits.FLUSH_CHUNK))]
    box = outbox(*readers)
    await record(box, event(1))
    async with asyncio.timeout(10):
        while not readers[-1].hidden:
            await asyncio.sleep(0)
    assert {(*reader.seqs, *reader.hidden) for reader in readers} == {(1, 3)}


# --- the end of the ring -------------------------------------------------------------------------------------------
async def test_a_socket_behind_the_ring_hears_how_much_is_hidden() -> None:
    """Chat that the ring no longer holds is counted; gifts are never left out, and nobody must come back."""
    slow, quick, last = Socket(paused=True), Socket(), 2 * limits.RING_EVENTS_MAX
    box = outbox(slow, quick)
    gifts = {7, 500, last - 3}
    for seq in range(1, last + 1):
        box.record(event(seq, type_="gifts.sent" if seq in gifts else "chat.sent"))
    await box.wait_flushed(last)
    slow.paused = False
    box.catch_up(slow)
    for reader in (slow, quick):  # so many events within one tick: the quick one is behind, too
        assert (reader.closed, reader.cursor) == (None, last)
        assert gifts <= set(reader.seqs)
        assert reader.seqs == sorted(set(reader.seqs))
        assert len(reader.seqs) + sum(reader.hidden) == last
        assert 0 < sum(reader.hidden) < last
    await record(box, event(last + 1))
    assert slow.seqs[-1] == quick.seqs[-1] == last + 1


async def test_a_socket_behind_too_many_gifts_must_come_back() -> None:
    """Where something that may never be dropped is no longer held, the socket is closed with the code that says so."""
    slow = Socket(paused=True)
    box = outbox(slow)
    for seq in range(1, 3 * limits.RING_EVENTS_MAX):
        box.record(event(seq, type_="gifts.sent"))
    await box.wait_flushed(box.head)
    slow.paused = False
    box.catch_up(slow)
    assert slow.closed is Close.SLOW_READER
    assert slow.frames == []


async def test_many_gifts_that_the_ring_has_left_go_in_pieces() -> None:
    """What may never be dropped is sent a piece at a time, and stops where the socket pauses again."""
    slow = Socket(paused=True)
    box = outbox(slow)
    last = limits.RING_EVENTS_MAX + 600
    for seq in range(1, last + 1):
        box.record(event(seq, "x" * 300, "gifts.sent" if seq % 2 else "chat.sent"))
    await box.wait_flushed(last)
    slow.paused, slow.pauses_at = False, 1
    box.catch_up(slow)
    assert len(slow.frames) == 1
    slow.paused, slow.pauses_at = False, 999
    box.catch_up(slow)
    slow.assert_pieces()
    assert {seq for seq in range(1, last + 1) if seq % 2} <= set(slow.seqs)
    assert len(slow.seqs) + sum(slow.hidden) == last


async def test_nothing_to_catch_up() -> None:
    """A socket that has everything gets no empty frame."""
    reader = Socket()
    box = outbox(reader)
    await record(box, event(1))
    box.catch_up(reader)
    assert len(reader.frames) == 1


async def test_an_event_out_of_turn_is_our_bug() -> None:
    """The fan-out records every seq once and in order; anything else raises at once."""
    box = outbox()
    box.record(event(1))
    for seq in (1, 3):
        with pytest.raises(AssertionError):
            box.record(event(seq))
    box.stop()
