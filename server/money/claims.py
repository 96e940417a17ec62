"""Claims on the ids of top-ups: one order has an id, in all partitions. An old copy of SQL may have forgotten that."""

from typing import cast

from server import limits
from server.money.store import WalletStore
from server.store import keys, scripts

TAKE = scripts.load("claims_take")
SCRIPTS = (TAKE,)


async def take(store: WalletStore, topup_id: str, fingerprint: str) -> bool:
    """Claim a top-up's id for one order. False if another order has it. Raises StoreError."""
    call = TAKE(claim=keys.claim(topup_id), fingerprint=fingerprint, seconds=limits.ORDER_RECEIPT_MS // 1000)
    return cast(bytes, await store.write(*call)).decode() == fingerprint
