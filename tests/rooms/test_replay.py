"""Who comes back from an earlier epoch gets the gifts that the gap would hide, and nothing else."""

from typing import Any

import pytest

from server import limits
from server.rooms.history import WAKE
from server.store import keys
from tests.conftest import Stores
from tests.program import eventually
from tests.site import Site, Viewer


class Epochs:
    """The demo room, whose store can begin new epochs as after a crash."""

    def __init__(self, site: Site, stores: Stores) -> None:
        self.site = site
        self._stores = stores
        self.begun = ["e0"]

    async def next(self) -> None:
        """Begin a new epoch, and wait until the node has seen it."""
        [old] = [room for room in self.site.node.rooms.here() if room.id == "demo"]
        epoch = f"e{len(self.begun)}"
        with self._stores.room.client() as store:
            wake = WAKE(meta=keys.room("demo", keys.META), identity=epoch, whole=0, epoch=epoch)
            assert store.eval(wake.script.text, 1, *wake.keys, *wake.args) == "renewed"
        self.site.node.services.fanout.check_position("demo")
        await eventually(lambda: old.gone)
        self.begun.append(epoch)

    async def back(self, since: str, **how: Any) -> list[tuple[int, str]]:
        """Come back; the seqs and types of what is sent again, and it is marked so."""
        viewer = await self.site.join("screen", "overlay", since=since, **how)
        assert (viewer.welcome["resumed"], viewer.welcome["epoch"]) == (False, self.begun[-1])
        said = await (await self.site.join("bob")).ask("chat.send", text="live")
        await viewer.happened("chat.sent", id=said["id"])
        again = [event for event in viewer.events() if event["seq"] <= viewer.welcome["seq"]]
        assert all(event.get("replayed") is True for event in again)
        return [(event["seq"], event["type"]) for event in again]


@pytest.fixture
async def epochs(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Epochs:
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0.0)  # else the newest gifts come live, after a shared snapshot
    return Epochs(site, stores)


async def gives(viewer: Viewer, eye: Viewer) -> int:
    """Give a rose; the seq under which it was shown."""
    id = (await viewer.gift("rose"))["id"]
    return int((await eye.happened("gifts.sent", id=id))["seq"])


def sent(seqs: list[int]) -> list[tuple[int, str]]:
    return [(seq, "gifts.sent") for seq in seqs]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_gifts_after_what_was_seen_or_the_takeover(epochs: Epochs, codec: str) -> None:
    """From the epoch before: all after what they saw that the store still knows. From older ones: all since then."""
    alice = await epochs.site.join("alice")
    first = alice.welcome["epoch"]
    before = [await gives(alice, alice) for _ in range(3)]
    await alice.ask("chat.send", text="not again")
    await epochs.next()
    alice = await epochs.site.join("alice")
    after = [await gives(alice, alice) for _ in range(2)]
    assert await epochs.back(f"{first}:{before[0]}", codec=codec) == sent([*before[1:], *after])
    assert await epochs.back(f"{first}:{after[1] + 500}", codec=codec) == sent(after)  # the store lost what they saw
    assert await epochs.back(f"older:{before[0]}", codec=codec) == sent(after)
    await epochs.next()
    alice = await epochs.site.join("alice")
    assert await epochs.back(f"{first}:{before[0]}", codec=codec) == []
    assert await epochs.back(f"e1:{after[0]}", codec=codec) == sent(after[1:])


async def test_the_gifts_sent_again_have_a_bound(epochs: Epochs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest ones come; those that no ring has are read from the history once for all who come back."""
    alice = await epochs.site.join("alice")
    first = alice.welcome["epoch"]
    seqs = [await gives(alice, alice) for _ in range(6)]
    monkeypatch.setattr(limits, "REPLAY_EVENTS_MAX", 3)
    await epochs.next()
    reads = list[str]()
    history = epochs.site.node.services.history
    kept = history.kept

    async def counted(room_id: str, after: int, to: int) -> Any:
        reads.append(room_id)
        return await kept(room_id, after, to)

    await epochs.site.join("alice")
    monkeypatch.setattr(history, "kept", counted)
    for _ in range(2):
        assert [seq for seq, _ in await epochs.back(f"{first}:{seqs[0]}")] == seqs[-3:]
    assert len(reads) == 1


async def test_the_gifts_of_a_gap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was away for too long gets them, too, though the epoch is the same: the welcome says how many there are."""
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0.0)
    alice = await site.join("alice")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    seqs = [await gives(alice, alice) for _ in range(4)]
    monkeypatch.setattr(limits, "REPLAY_EVENTS_MAX", 3)
    late = await site.join("screen", "overlay", since=since)
    assert late.welcome["gap"] is not None
    assert late.welcome["replays"] == 3
    for seq in seqs[1:]:
        await late.happened("gifts.sent", seq=seq, replayed=True)
    assert [event["seq"] for event in late.events("gifts.sent")] == seqs[1:]
    monkeypatch.setattr(limits, "REPLAY_EVENTS_MAX", 1_000)
    assert (await site.join("screen", "overlay", since=since)).welcome["replays"] == 0  # resumed: all events come
