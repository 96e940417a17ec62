"""The ring of a room's recent events: bounded, whole where it answers, and gifts outlive chat."""

from server import limits
from server.rooms.history import Recorded
from server.rooms.ring import Ring
from tests.rooms.test_outbox import event


def seqs(events: list[Recorded] | None) -> list[int] | None:
    return None if events is None else [each.seq for each in events]


def test_the_ring_gives_what_is_after() -> None:
    """Every span within the ring is returned whole; otherwise the answer is None, never a part."""
    ring = Ring()
    ring.begin(10, [event(8), event(9), event(10)])
    ring.append(event(11))
    assert seqs(ring.after(7, 11)) == [8, 9, 10, 11]
    assert seqs(ring.after(9, 10)) == [10]
    assert ring.after(11, 11) == ring.after(12, 11) == []
    assert ring.after(6, 11) is None
    assert ring.after(7, 12) is None


def test_an_empty_ring() -> None:
    """A room that began without a past has nothing to return, and knows it."""
    ring = Ring()
    ring.begin(10, [])
    assert ring.after(10, 10) == []
    assert ring.after(9, 10) is None
    assert ring.left_behind(9) is None


def test_the_ring_is_bounded_by_events() -> None:
    """Old events leave, the newest stay, and the ring never holds more than its bound."""
    ring, last = Ring(), limits.RING_EVENTS_MAX * 2 - 1
    ring.begin(0, [])
    for seq in range(1, last + 1):
        ring.append(event(seq))
        assert len(ring._events) <= limits.RING_EVENTS_MAX
    assert len(ring.after(last - limits.REPLAY_EVENTS_MAX, last) or ()) == limits.REPLAY_EVENTS_MAX
    assert ring.after(0, last) is None


def test_the_ring_is_bounded_by_bytes() -> None:
    """A few huge events push old ones out too, and the ring's counts of bytes stay right."""
    ring = Ring()
    ring.begin(0, [])
    for seq in range(1, 60):
        ring.append(event(seq, "x" * 200_000, "gifts.sent"))
        assert sum(len(each.json) for each in ring._events) == ring._bytes <= limits.RING_BYTES_MAX
        assert sum(len(each.json) for each in ring._kept) == ring._kept_bytes <= limits.RING_BYTES_MAX
    assert ring.after(58, 59) is not None


def test_gifts_outlive_chat() -> None:
    """Of what has left the ring, gifts can still be had, and it knows from where on it has all of them."""
    ring, last = Ring(), limits.RING_EVENTS_MAX * 2
    ring.begin(0, [])
    for seq in range(1, last + 1):
        ring.append(event(seq, type_="gifts.sent" if seq % 10 == 0 else "chat.sent"))
    first = ring._events[0].seq
    assert ring.left_behind(0) == ([each for each in ring._kept], first - 1)
    assert seqs(ring.left_behind(25)[0]) == list(range(30, first, 10))  # type: ignore[index]
    for seq in range(last + 1, 3 * last):
        ring.append(event(seq, type_="gifts.sent"))
    assert ring.left_behind(0) is None
    assert ring.left_behind(ring._kept_after - 1) is None
    assert seqs(ring.left_behind(ring._kept_after)[0]) == [each.seq for each in ring._kept]  # type: ignore[index]


def test_a_ring_that_begins_with_a_past() -> None:
    """What was before its first event it never had."""
    ring = Ring()
    ring.begin(10, [event(8), event(9), event(10)])
    assert ring.left_behind(6) is None
    assert ring.left_behind(7) == ([], 7)
