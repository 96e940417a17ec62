"""What is replayed to people who come back has a bound per node. Above it they get a gap, and keep their gifts."""

from typing import Any

import pytest

from server import limits
from server.edge.replays import Replays
from tests.site import Site, Viewer

KIB = 1024


class Peer:
    """A connection, as the count sees it."""

    def __init__(self, unsent: int = 0, *, behind: bool = False) -> None:
        self.unsent = unsent
        self.closing = False
        self.member: Any = self
        self.cursor, self.replay_to = 0, int(behind)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for eight large replays in memory, and the same again at once, and 100 KiB a second."""
    monkeypatch.setattr(limits, "REPLAYS_BYTES_MAX", 1600 * KIB)
    monkeypatch.setattr(limits, "REPLAYS_BURST_BYTES", 3200 * KIB)
    monkeypatch.setattr(limits, "REPLAYS_BYTES_PER_S", 100 * KIB)


@pytest.mark.usefixtures("small")
def test_what_sockets_have_not_taken_is_bounded() -> None:
    """Large replays fill half of it, small ones the rest. What was taken makes room, and so does who is gone."""
    replays, peers = Replays(), [Peer(100 * KIB), Peer(behind=True), *(Peer(100 * KIB) for _ in range(6))]
    for peer in peers:
        assert replays.fits(100 * KIB, 1.0)
        replays.begun(peer, 100 * KIB, 1.0)  # type: ignore[arg-type]
    assert replays.held == 800 * KIB
    assert not replays.fits(100 * KIB, 1.0)
    assert replays.fits(64 * KIB, 1.0)
    assert replays.holds(800 * KIB, 1.0)
    assert not replays.holds(801 * KIB, 1.0)
    peers[0].unsent = 0
    peers[1].cursor = 1
    peers[2].unsent, peers[2].closing = 0, True
    assert replays.fits(100 * KIB, 2.0)
    assert replays.held == 500 * KIB
    replays.look(3.0)
    assert len(replays._owed) == 5


@pytest.mark.usefixtures("small")
def test_what_is_sent_has_a_rate() -> None:
    """What peers take at once costs time all the same: a burst, and then so much a second. Gifts do not wait for it."""
    replays = Replays()
    for _ in range(16):
        assert replays.fits(100 * KIB, 1.0)
        replays.begun(Peer(), 100 * KIB, 1.0)  # type: ignore[arg-type]
    assert replays.held == 0
    assert not replays.fits(100 * KIB, 1.0)
    assert replays.holds(100 * KIB, 1.0)
    assert not replays.fits(100 * KIB, 1.9)
    assert replays.fits(100 * KIB, 2.0)
    assert replays.sent == 1600 * KIB


async def missed_by(site: Site, *texts: str) -> tuple[Viewer, str]:
    """Somebody who has said these words, and where somebody is who missed them."""
    alice = await site.join("alice")
    await site.give_coins("alice", 1_000)
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    for text in texts:
        said = await alice.ask("chat.send", text=text)
        await alice.happened("chat.sent", id=said["id"])
    return alice, since


async def test_above_it_there_is_a_gap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would be resumed gets a gap while too much is on its way to others, and the gifts that are in it."""
    alice, since = await missed_by(site, *(f"{n}" * 400 for n in range(4)))
    gift = await alice.gift()
    await alice.happened("gifts.sent")
    assert gift["type"] == "ok"
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0)
    replays, other = site.node.sessions.joining.replays, Peer(behind=True)
    replays.begun(other, limits.REPLAYS_BYTES_MAX - 1_600, 0.0)  # type: ignore[arg-type]
    bob = await site.join("bob", since=since)
    assert (bob.welcome["resumed"], bob.welcome["replays"]) == (False, 1)
    assert bob.welcome["gap"]["to"] == bob.welcome["seq"]
    assert (await bob.happened("gifts.sent"))["replayed"] is True
    assert not bob.events("chat.sent")
    assert replays.left_out == 1
    monkeypatch.setattr(limits, "REPLAYS_LOOK_S", 0)
    other.closing = True
    carol = await site.join("carol", since=since)
    assert carol.welcome["resumed"] is True
    await carol.happened("chat.sent", replayed=True)
    assert replays.held == 0


async def test_gifts_that_do_not_fit_are_asked_for_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is welcomed without the gifts of a gap: when even these do not fit, the socket closes for a while."""
    alice, since = await missed_by(site, "hello")
    await alice.gift()
    await alice.happened("gifts.sent")
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0)
    site.node.sessions.joining.replays.begun(Peer(behind=True), limits.REPLAYS_BYTES_MAX, 0.0)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="closed with 4006"):
        await site.join("bob", since=since)


async def test_the_newest_chats_are_left_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer who asks for chats gets none of them then, and is welcomed."""
    await missed_by(site, "hello")
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0)
    site.node.sessions.joining.replays.begun(Peer(behind=True), limits.REPLAYS_BYTES_MAX, 0.0)  # type: ignore[arg-type]
    bob = await site.join("bob", chats=5)
    assert bob.welcome["gap"] is None
    assert not bob.events("chat.sent")
