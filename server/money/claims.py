"""Claims on the ids of top-ups: one order has an id, in all partitions. An old copy of SQL may have forgotten that.

A claim lives by money time, as an order's receipt does (`journal.moneytime`), and a store that was filled again gets it
back (`journal.claimed`). Otherwise an id would buy for a second viewer after both stores came back from older copies.
"""

from typing import cast

from server.money.store import WalletStore
from server.store import keys, scripts

TAKE = scripts.load("claims_take")
SCRIPTS = (TAKE,)


async def take(store: WalletStore, topup_id: str, fingerprint: str) -> bool:
    """Claim a top-up's id for one order. False if another order has it. Raises StoreError."""
    call = TAKE(claim=keys.claim(topup_id), fingerprint=fingerprint)
    return cast(bytes, await store.write(*call)).decode() == fingerprint
