"""Redis keys: slots that spread, partitions that never change, and one hash tag for all keys of one script call."""

import hashlib
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import uuid7_ms
from server import limits
from server.store import keys

NAMES = st.from_regex(r"[A-Za-z0-9_.@|+\-]{1,64}", fullmatch=True)


def tag_of(key: str) -> str:
    """The hash tag as a cluster finds it: between the first `{` and the next `}`."""
    found = re.search(r"\{([^}]+)\}", key)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("text", "slot"), [("123456789", 12739), ("foo", 12182), ("bar", 5061), ("somekey", 11058)])
def test_slots_are_those_of_the_cluster_specification(text: str, slot: int) -> None:
    """The examples of CRC16 in the cluster specification."""
    assert keys.slot(text) == slot


def test_partitions_never_change() -> None:
    """A wallet never changes its partition, so these values must stay as they are."""
    assert limits.WALLET_PARTITIONS == 64
    pinned = {"alice": 7, "bob": 0, "creator": 35, "a": 3, "user-1": 20, "user-2": 46, "A.b_c-9": 50, "x" * 64: 18}
    assert {name: keys.partition_of(name) for name in pinned} == pinned
    assert keys.PARTITION_TAGS[:3] == ("w00.521", "w01.289", "w02.146")
    digest = hashlib.sha256(" ".join(keys.PARTITION_TAGS).encode()).hexdigest()
    assert digest == "2b7039f0d8b79edee11e576cdc1477066974946bd7aacb6cbdd06eb2210c366d"
    assert keys.wallet("alice") == f"{{{keys.PARTITION_TAGS[7]}}}:w:alice"


@pytest.mark.parametrize("shards", range(1, 65))
def test_partitions_spread_evenly_over_a_cluster(shards: int) -> None:
    """On a cluster of any size that splits the slots evenly, shards differ by one partition at most."""
    held = Counter({shard: 0 for shard in range(shards)})
    held.update(keys.slot(tag) * shards // 16384 for tag in keys.PARTITION_TAGS)
    assert max(held.values()) - min(held.values()) <= 1


def test_viewers_spread_over_partitions() -> None:
    """10,000 names of one pattern fill all partitions about equally."""
    held = Counter(keys.partition_of(f"viewer-{n}") for n in range(10_000))
    assert set(held) == set(range(64))
    assert max(held.values()) < 2 * 10_000 / 64


@given(viewer=NAMES, creator=NAMES)
def test_a_gift_is_in_one_slot(viewer: str, creator: str) -> None:
    """All keys that one gift reads and writes have the same hash tag."""
    gift_id = "01890a5d-ac96-774b-bcce-b302099a8057"
    id_ms = uuid7_ms(gift_id)
    partition, touched = keys.spend_keys(viewer, creator, gift_id, id_ms, "c")
    assert partition == keys.partition_of(viewer)
    assert {tag_of(key) for key in touched} == {keys.PARTITION_TAGS[partition]}
    wallet, credit, receipt, receipts, streak, log, meta = touched
    assert (wallet, credit) == (keys.wallet(viewer), keys.credit(partition, creator))
    assert (receipt, log, meta) == (keys.receipt(viewer, gift_id), keys.log(partition), keys.wallet_meta(partition))
    assert receipts == keys.receipts(partition, id_ms)
    assert receipt[receipt.index("}") + 4 :] == keys.receipts_field(viewer, gift_id)  # as wallet_spend.lua finds it
    assert len({*touched, keys.receipt(viewer, "topup:1"), streak}) == 8


@given(room=NAMES, other=NAMES, user=NAMES)
def test_a_room_is_in_one_slot(room: str, other: str, user: str) -> None:
    """All keys of a room share its hash tag, and no other room has any of them."""
    made = [
        keys.room(room, keys.META),
        keys.room(room, keys.EVENTS),
        keys.room(room, keys.LIVE),
        keys.room(room, "board"),
        keys.room(room, "names"),
        keys.room(room, "state"),
        keys.room(room, "likers"),
        keys.room(room, "present"),
        keys.room(room, "nodes"),
        keys.room(room, "node", user),
        keys.room(room, "seen"),
        keys.room(room, "once", user),
        keys.room(room, "talk", user),
    ]
    assert {tag_of(key) for key in made} == {f"r:{room}"}
    assert len(set(made)) == len(made)
    if other != room:
        assert keys.room(other, keys.META) not in made


def test_a_node_set_is_named_by_its_prefix() -> None:
    """viewers_count.lua appends a node's id to the prefix that it gets."""
    assert keys.room("demo", "node", "") + "n1" == keys.room("demo", "node", "n1")
