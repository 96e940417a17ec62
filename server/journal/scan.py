"""Goes round all keys of the wallet store, a part at a time: only so does the audit find what nobody has journaled."""

from collections.abc import AsyncIterator
from typing import Any, cast

import structlog
from msgspec import Struct

from server import limits
from server.journal.asof import CREATOR, VIEWER
from server.journal.findings import Wrong
from server.journal.turn import Turn
from server.store import keys
from server.store.client import Store, StoreError, StoreRefused
from server.store.cluster import ClusterStore, not_here

log = structlog.get_logger()


class Names(Struct):
    """What keys were found of a partition."""

    accounts: list[str] = []  # msgspec copies them
    receipts: list[tuple[str, str]] = []  # user, operation
    claims: list[str] = []  # ids of top-ups
    wrong: list[Wrong] = []

    def add(self, key: keys.Found) -> None:
        """Sort a key into these lists. Other kinds of keys are not for the audit."""
        match key.kind:
            case keys.WALLETS:
                self._of_user(key, key.rest, VIEWER)
            case keys.CREDITS:
                self.accounts.append(CREATOR + key.rest)
            case keys.RECEIPTS:
                user_id, _, operation = key.rest.partition(":")
                if self._of_user(key, user_id, ""):
                    self.receipts.append((user_id, operation))
            case keys.CLAIMS:
                self.claims.append(key.rest)

    def _of_user(self, key: keys.Found, user_id: str, account: str) -> bool:
        partition = keys.partition_of(user_id)
        if partition != key.partition:
            what = f"a key of a user whose partition is {partition}"
            self.wrong.append(Wrong(key.partition, f"{key.kind}:{key.rest}", what))
            return False
        if account:
            self.accounts.append(account + user_id)
        return True


class KeyScan:
    """Goes round the keys of every primary. One that does not answer stops no other.

    A key that moves to another primary during a turn may be missed, and is met in the next turn.
    """

    def __init__(self, wallet: Store | ClusterStore) -> None:
        self._wallet = wallet
        self.turn = Turn()
        self.turns = 0  # so many are whole
        self._at: dict[str, tuple[str, bytes]] = {}  # by address: the primary's identity, and the cursor there
        self._done: set[str] = set()
        self._missed = False  # a primary did not answer in this pass

    def forget(self) -> None:
        """Begin again from the start."""
        self._clear()
        self.turn.forget()

    def _clear(self) -> None:
        self._missed = False
        self._done.clear()
        self._at.clear()

    async def some(self, most: int, now_ms: int) -> dict[int, Names]:
        """Scan about this many keys, but not beyond the end of a turn. Returns what was found of each partition.

        While a primary is away, the others are scanned again and again, and the turn does not end.
        """
        self.turn.begin(now_ms)
        found: dict[int, Names] = {}
        seen = 0
        while seen < most:
            primary = next((at for at in self._wallet.primaries() if at not in self._done), None)
            if primary is None:
                if not (self._missed or self._wallet.away):
                    self.turn.end()
                    self.turns += 1
                self._clear()
                return found
            try:
                seen += await self._step(primary, found)
            except StoreError as error:
                log.info("scan_later", primary=primary, error=str(error)[: limits.LOGGED_CHARS_MAX])
                self._done.add(primary)  # in this pass
                self._at.pop(primary, None)
                self._missed = True
        return found

    async def _step(self, primary: str, found: dict[int, Names]) -> int:
        store = self._wallet.primaries()[primary]
        identity, cursor = self._at.get(primary, (store.identity, b"0"))
        if identity != store.identity:  # a cursor means nothing to another process
            cursor = b"0"
        reply = await store.call("SCAN", cursor, "COUNT", limits.AUDIT_SCAN)
        cursor, names = cast(tuple[bytes, list[bytes]], reply)
        if cursor == b"0":
            self._done.add(primary)
        self._at[primary] = (store.identity, cursor)
        sort(names, found)
        seen = len(names) + await _take_hashes(store, names, found)
        self.turn.seen += seen
        return max(1, seen)


async def of_partition(wallet: Store | ClusterStore, partition: int) -> Names:
    """All keys of one partition. Raises StoreError."""
    return (await _matching(wallet, keys.all_of(partition))).get(partition, Names())


async def claims(wallet: Store | ClusterStore) -> dict[int, Names]:
    """All claims on ids of top-ups, by their partitions. Raises StoreError."""
    return await _matching(wallet, keys.ALL_CLAIMS)


async def keys_of(wallet: Store | ClusterStore, partition: int) -> list[bytes]:
    """The names of all keys of one partition. Raises StoreError."""
    return [name async for _, names in _pages(wallet, keys.all_of(partition)) for name in names]


async def _matching(wallet: Store | ClusterStore, pattern: str) -> dict[int, Names]:
    found: dict[int, Names] = {}
    async for store, names in _pages(wallet, pattern):
        sort(names, found)
        await _take_hashes(store, names, found)
    return found


async def _pages(wallet: Store | ClusterStore, pattern: str) -> AsyncIterator[tuple[Store, list[bytes]]]:
    """The keys of all primaries that match, some at a time. One may come twice. Raises StoreError."""
    for store in wallet.primaries().values():
        cursor = b"0"
        while True:
            reply: Any = await store.call("SCAN", cursor, "MATCH", pattern, "COUNT", limits.AUDIT_SCAN)
            cursor = reply[0]
            yield store, reply[1]
            if cursor == b"0":
                break


async def _take_hashes(store: Store, names: list[bytes], found: dict[int, Names]) -> int:
    """Scan the hashes of receipts among these keys. Returns how many receipts they have. Raises StoreError."""
    seen = 0
    for name in names:
        if not keys.is_receipt_hash(name):
            continue
        cursor = b"0"
        while True:
            try:
                cursor, pairs = await store.call("HSCAN", name, cursor, "COUNT", limits.AUDIT_SCAN)
            except StoreRefused as refused:
                if not_here(refused):
                    raise
                break  # of another type: the store refuses its gifts, and no receipt can be read
            sort([keys.receipt_of_field(name, field) for field in pairs[::2]], found)
            seen += len(pairs) // 2
            if cursor == b"0":
                break
    return seen


def sort(names: list[bytes], found: dict[int, Names]) -> None:
    """Sort keys into what was found of their partitions."""
    for name in names:
        try:
            key = keys.found(name)
        except UnicodeDecodeError:
            key = None
        if key is not None and "\0" not in key.rest:
            found.setdefault(key.partition, Names()).add(key)
