"""Every Redis key of the program. A room's keys share one hash tag, a wallet partition's another."""

import binascii
import zlib
from typing import NamedTuple

from server import limits


def slot(tag: str) -> int:
    """The cluster slot of a hash tag: CRC16 (XMODEM) modulo 16384, as in the cluster specification."""
    return binascii.crc_hqx(tag.encode(), 0) % 16384


def slot_of(key: str) -> int:
    """The cluster slot of a key: of its hash tag, or of the whole key when it has none."""
    tag = key.partition("{")[2].partition("}")[0]
    return slot(tag or key)


# Found by search: the smallest suffix whose slot lies within 8 of the middle of the partition's 1/64 of the slots.
# So on a cluster of up to 64 shards, no two shards differ by more than one partition. Never change these.
_SUFFIXES = """
    521 289 146 1275 2010 94 988 1343 1410 72 2396 2103 883 1615 417 292 700 185 150 138 868 800 1637
    1362 34 403 121 149 661 609 190 638 631 199 2161 1898 812 957 982 1214 391 439 48 61 769 1031 1923 2
    1493 2071 1562 981 1835 2721 127 99 670 618 56 165 835 970 1902 2616
""".split()  # noqa: SIM905  # as a list it is 64 lines
PARTITION_TAGS = tuple(f"w{partition:02d}.{suffix}" for partition, suffix in enumerate(_SUFFIXES))
assert len(PARTITION_TAGS) == limits.WALLET_PARTITIONS


# --- wallet store --------------------------------------------------------------------------------------------------
def partition_of(user_id: str) -> int:
    """The wallet partition of a user. It never changes."""
    return zlib.crc32(user_id.encode()) % limits.WALLET_PARTITIONS


def wallet(user_id: str) -> str:
    """Hash: `c` coins, `st` status."""
    return f"{{{PARTITION_TAGS[partition_of(user_id)]}}}:w:{user_id}"


def credit(partition: int, creator_id: str) -> str:
    """Counter of diamonds that viewers of this partition gave to a creator; it only rises."""
    return f"{{{PARTITION_TAGS[partition]}}}:s:{creator_id}"


def receipt(user_id: str, operation: str) -> str:
    """String: the outcome of one order of one user, or of a gift that an older program paid."""
    return f"{{{PARTITION_TAGS[partition_of(user_id)]}}}:k:{user_id}:{operation}"


def claim(topup_id: str) -> str:
    """String: the fingerprint of the one order that may use this top-up's id. It lies in the partition of the id."""
    return f"{{{PARTITION_TAGS[partition_of(topup_id)]}}}:t:{topup_id}"


def claim_in(partition: int, topup_id: str) -> str:
    """The same, in whichever partition somebody has put it."""
    return f"{{{PARTITION_TAGS[partition]}}}:t:{topup_id}"


def receipts(partition: int, id_ms: int) -> str:
    """Hash `<viewer>:<gift id>`: the outcomes of gifts whose ids are of the same ten minutes as `id_ms`."""
    return f"{{{PARTITION_TAGS[partition]}}}:r:{id_ms // limits.RECEIPTS_MS}"


def receipts_field(viewer_id: str, gift_id: str) -> str:
    """A gift's field in `receipts`. `wallet_spend.lua` finds it in the gift's `receipt`."""
    return f"{viewer_id}:{gift_id}"


def spend_keys(
    viewer_id: str, creator_id: str, gift_id: str, id_ms: int, combo_id: str | None
) -> tuple[int, tuple[str, ...]]:
    """The viewer's partition, and the keys of `wallet_spend`.

    They are wallet, credit, receipt, receipts, streak's count, log and meta. `id_ms` is the time in the gift's id.
    """
    partition = partition_of(viewer_id)
    tag = f"{{{PARTITION_TAGS[partition]}}}"
    return partition, (
        f"{tag}:w:{viewer_id}",
        f"{tag}:s:{creator_id}",
        f"{tag}:k:{viewer_id}:{gift_id}",
        f"{tag}:r:{id_ms // limits.RECEIPTS_MS}",
        f"{tag}:c:{viewer_id}:{combo_id or '-'}",
        f"{tag}:log",
        f"{tag}:m",
    )


def log(partition: int) -> str:
    """Stream `<epoch>-<n>`: the ledger log, which is also the outbox."""
    return f"{{{PARTITION_TAGS[partition]}}}:log"


def wallet_meta(partition: int) -> str:
    """Hash: `epoch`, the partition's running totals of `coins` and `diamonds`, and its time.

    `now` is money time; ids before `forgot` are refused; ids after `strings` have no receipt as a string. `claims` is
    the epoch for which it has the claims on ids of top-ups.
    """
    return f"{{{PARTITION_TAGS[partition]}}}:m"


def refill(partition: int) -> str:
    """String: the token of the node that puts back what this partition has lost. It expires."""
    return f"{{{PARTITION_TAGS[partition]}}}:f"


class Found(NamedTuple):
    """What a key of the wallet store is: `w`, `s`, `k`, ... of a partition. `rest` names whose."""

    partition: int
    kind: str
    rest: str


_PARTITIONS = {tag.encode(): partition for partition, tag in enumerate(PARTITION_TAGS)}


def found(key: bytes) -> Found | None:
    """Parse a key of the wallet store. Returns None for a key of another tag. Raises UnicodeDecodeError."""
    tag, _, rest = key.removeprefix(b"{").partition(b"}:")
    partition = _PARTITIONS.get(tag)
    if partition is None:
        return None
    kind, _, whose = rest.decode().partition(":")
    return Found(partition, kind, whose)


def is_receipt_hash(key: bytes) -> bool:
    """Whether a key of the wallet store is a hash of receipts."""
    return key.partition(b"}:")[2].startswith(b"r:")


def receipt_of_field(hash_key: bytes, field: bytes) -> bytes:
    """The key that the receipt in this field of such a hash would have as a string."""
    return hash_key.partition(b"}:")[0] + b"}:k:" + field


def all_of(partition: int) -> str:
    """The pattern of all keys of a partition."""
    return f"{{{PARTITION_TAGS[partition]}}}:*"


# The kinds of keys that the audit looks for.
WALLETS, CREDITS, RECEIPTS, RECEIPT_HASHES, CLAIMS = "w", "s", "k", "r", "t"


ALL_CLAIMS = f"{{w*}}:{CLAIMS}:*"  # the pattern of all claims


AUDIT_NEWEST = "audit:newest"  # string: the journal's identity and the number of its newest audit


# --- room store ----------------------------------------------------------------------------------------------------
ROOMS = "rooms"  # set of room ids
ROOMS_WOKEN = "rooms:woken"  # identity of the store on which every room has woken
ROOM_STORE_WHOLE = "store:whole"  # identity of a store that was started after a clean stop
SHOWN_BY = "shown:by"  # identity of the cluster for which the watermarks (`shown_watermark`) are valid
REVOKED = (
    "{r:}:revoked"  # channel: tokens that were revoked; its name is like the rooms', for which each user has rights
)
USERS_CHANGED = "{r:}:users"  # channel: user ids whose facts or suspensions changed; named as the one above
WALLET_NEWS = "wallets:changed"  # channel: balances that changed, for the sockets of those users on every node


# The keys of every room, by their names in the scripts' headers. A feature declares its own (`of_room`).
_OF_ROOM: dict[str, str] = {}


def of_room(name: str, what: str) -> str:
    """Declare a key that every room has, and return its name. `what` describes its type and content."""
    assert name not in _OF_ROOM, f"the room's key {name} is declared twice"
    _OF_ROOM[name] = what
    return name


def all_of_a_room(room_id: str) -> dict[str, str]:
    """The keys that a room has once, by name."""
    return {name: room(room_id, name) for name in _OF_ROOM}


def room(room_id: str, name: str, *parts: str) -> str:
    """A room's key. `parts` follow if there is one key per user, gift or node. The name must be declared."""
    assert name in _OF_ROOM, f"nobody declares the room's key {name}"
    return ":".join((f"{{r:{room_id}}}:{name}", *parts))


META = of_room("meta", "Hash: epoch, seq, what the room is, and the totals of its broadcast.")
EVENTS = of_room("events", "Stream `<seq>-1`: the room's history.")
LIVE = of_room("live", "Channel on which a room's events reach the nodes.")
of_room("state", "Hash `<feature>:<id>`: what features keep for the snapshot (open combos, goals, pins).")
of_room("board", "Sorted set: coins given in this broadcast, by user.")
of_room("names", "Hash: display names of those on the boards.")


def shown_watermark(partition: int) -> str:
    """String `<epoch>-<n>`: up to this position of the partition's log, the rooms have shown every gift."""
    return f"shown:{PARTITION_TAGS[partition]}"


def idempotency(key: str) -> str:
    """String: the first answer to an HTTP write with this Idempotency-Key."""
    return f"idem:{key}"
