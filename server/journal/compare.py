"""The audit's store side: reads a partition of the wallet store, and compares it with the journal at one entry."""

from collections.abc import Sequence
from typing import cast

from server.clock import Clock
from server.entries import TOTALS
from server.journal.findings import Wrong
from server.journal.sums import Sums
from server.store import keys, scripts
from server.store.client import Store
from server.store.cluster import ClusterStore

LOOK = scripts.load("compare_look")
SCRIPTS = (LOOK,)


class StoreSide:
    """The wallet store as the audit reads it. Raises StoreError."""

    def __init__(self, wallet: Store | ClusterStore, clock: Clock) -> None:
        self._wallet = wallet
        self._clock = clock

    async def read(self, partition: int, users: Sequence[str]) -> list[str]:
        """In one step: the last log id, each of TOTALS, and each user's balance."""
        look = LOOK(
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            counters=" ".join(total.counter for total in TOTALS),
            each=[{"wallet": keys.wallet(user_id), "user_id": user_id} for user_id in users],
        )
        reply = cast(list[bytes], await self._wallet.run(*look))
        return [value.decode() for value in reply]

    async def waiting_ms(self, partition: int, mark: str | None, last: str) -> int:
        """The age of the oldest entry that is not journaled."""
        if not last:
            return 0
        rows = await self._wallet.call("XRANGE", keys.log(partition), f"({mark or '0-0'}", "+", "COUNT", 1)
        if not rows:
            return 0
        fields = rows[0][1]
        return max(0, self._clock.now_ms() - int(fields[fields.index(b"t") + 1]))


def differences(partition: int, sums: Sums, accounts: list[tuple[str, int]], stored: list[str]) -> list[Wrong]:
    """Compare journal and store at the same entry."""
    totals, balances = stored[1 : 1 + len(TOTALS)], stored[1 + len(TOTALS) :]
    wrong = [
        Wrong(partition, total.label, f"the journal has {ours}, the store {theirs}")
        for total, theirs in zip(TOTALS, totals, strict=True)
        if str(ours := getattr(sums, total.sum)) != theirs
    ]
    wrong += [
        Wrong(partition, f"viewer:{user_id}", f"the journal has {balance}, the store {theirs}")
        for (user_id, balance), theirs in zip(accounts, balances, strict=True)
        if str(balance) != theirs
    ]
    return wrong


def is_behind(last: str, mark: str | None) -> bool:
    """Whether the store's last entry is older than the journal's: it lost some, or no node has opened it yet."""
    if mark is None:
        return False
    epoch, n = mark.split("-")
    in_epoch, _, number = last.partition("-")
    return (int(in_epoch or 0), int(number or -1)) < (int(epoch), int(n))
