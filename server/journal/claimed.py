"""Puts claims on the ids of top-ups back into a wallet store that has lost them.

A store that lost anything is opened at a new epoch. Each partition notes for which epoch it has its claims: those of
posted top-ups whose receipts are not forgotten yet. A claim's partition is its id's, and not its buyer's, so the replay
of a buyer's entries cannot put it back.
"""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Connection, Engine, and_, select, tuple_

from server import limits
from server.entries import TOPUP
from server.journal.asof import chunks
from server.journal.database import ask, reading
from server.journal.tables import entries, topups
from server.store import keys, scripts
from server.store.client import Arg, Store, of_one_key
from server.store.cluster import ClusterStore

log = structlog.get_logger()

PUT = scripts.load("claimed_put")
SCRIPTS = (PUT,)
START = (-1, "")


class _Body(Struct, frozen=True):
    fp: str = ""


class _TopUp(Struct, frozen=True):
    id: str
    at_ms: int
    body: str


class Claims:
    """Puts claims back, some at a time. `put` counts them."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore) -> None:
        self._engine = engine
        self._wallet = wallet
        self._epochs: Mapping[int, bytes] = {}  # partitions that lack claims
        self._at = START
        self.put = 0

    async def once(self, forgotten_ms: int) -> None:
        """One step. Claims of orders up to `forgotten_ms` are needed no more. Raises StoreError, SQLAlchemyError."""
        epochs = await self._lacking()
        if epochs != self._epochs:
            self._epochs, self._at = epochs, max(START, (forgotten_ms, "\U0010ffff"))
        if not epochs:
            return
        some = await ask(self._after, self._at)
        needed = [topup for topup in some if topup.at_ms > forgotten_ms]
        await self._put([topup for topup in needed if keys.partition_of(topup.id) in epochs])
        if some:
            self._at = some[-1].at_ms, some[-1].id
        if len(some) < limits.CLAIMS_BATCH:
            for partition, epoch in epochs.items():
                await self._wallet.call("HSET", keys.wallet_meta(partition), "claims", epoch)

    async def _lacking(self) -> dict[int, bytes]:
        """The epochs of partitions that have not noted their claims for it."""
        partitions = range(limits.WALLET_PARTITIONS)
        asked = (self._wallet.call("HMGET", keys.wallet_meta(p), "epoch", "claims") for p in partitions)
        lacking: dict[int, bytes] = {}
        for partition, found in zip(partitions, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if isinstance(found, BaseException):
                if not of_one_key(found):
                    raise found
                continue  # audits name it
            epoch, noted = found
            if epoch and epoch != noted:
                lacking[partition] = epoch
        return lacking

    async def _put(self, some: list[_TopUp]) -> None:
        each: dict[int, list[dict[str, Arg]]] = {}
        for topup in some:
            fingerprint = msgspec.json.decode(topup.body, type=_Body).fp
            if fingerprint:
                group: dict[str, Arg] = {"claim": keys.claim(topup.id), "fingerprint": fingerprint}
                each.setdefault(keys.partition_of(topup.id), []).append(group)
        put = sum(await asyncio.gather(*(self._wallet.run(*PUT(each=group)) for group in each.values())))
        self.put += put
        if put:
            log.warning("claims_put_back", count=put)

    def _after(self, at: tuple[int, str]) -> list[_TopUp]:
        """The next posted top-ups, by their times."""
        of = and_(entries.c.ref == topups.c.id, entries.c.kind == TOPUP.name, entries.c.user_id == topups.c.user_id)
        query = select(topups.c.id, topups.c.at_ms, entries.c.body).join_from(topups, entries, of)
        after = topups.c.at_ms >= at[0], tuple_(topups.c.at_ms, topups.c.id) > tuple_(*at)
        query = query.where(topups.c.state == "posted", *after).order_by(topups.c.at_ms, topups.c.id)
        with reading(self._engine).connect() as connection:
            return [_TopUp(*row) for row in connection.execute(query.limit(limits.CLAIMS_BATCH))]


# --- claims of nobody ------------------------------------------------------------------------------------------------
class Stray(Struct, frozen=True):
    """A claim on an id that no top-up has. It does no harm but one: nobody can buy with this id."""

    partition: int
    id: str

    @property
    def said(self) -> str:
        """What an audit says about it."""
        return f"claim:{self.id}: no top-up has this id, and none can have it: {REMOVE}"


REMOVE = "python -m server repair --claims"


def strays(connection: Connection, found: Iterable[Stray]) -> list[Stray]:
    """Those of these claims of which SQL has neither an order nor an entry.

    An order's row comes before its claim, so the claims must have been read first. Raises SQLAlchemyError.
    """
    every = sorted(found, key=lambda each: each.id)
    known: set[str] = set()
    for some in chunks([each.id for each in every]):
        known.update(connection.execute(select(topups.c.id).where(topups.c.id.in_(some))).scalars())
        if left := [id for id in some if id not in known]:
            journaled = select(entries.c.ref).where(entries.c.ref.in_(left), entries.c.kind == TOPUP.name)
            known.update(connection.execute(journaled).scalars())
    return [each for each in every if each.id not in known or each.partition != keys.partition_of(each.id)]
