"""Freezes: no gifts from a wallet, and gifts again."""

from sqlalchemy import Engine

from server.entries import CHARGEBACK, FREEZE, UNFREEZE, FreezeEntry, UnfreezeEntry
from server.journal.database import ask, reading
from server.money.results import Adjusted, Money, fingerprint
from server.orders import rows
from server.orders.rows import NotYet


class Freezes:
    """Orders of the host platform about a wallet's status."""

    def __init__(self, engine: Engine, wallet: Money) -> None:
        self._engine = engine
        self._wallet = wallet

    async def freeze(self, user_id: str, order_id: str) -> Adjusted:
        """No gifts from this wallet. Raises Refused, SQLAlchemyError."""
        entry = FreezeEntry(id=order_id, viewer=user_id, fp=fingerprint(FREEZE.name, user_id))
        return await rows.carry_out(self._engine, self._wallet, entry)

    async def unfreeze(self, user_id: str, order_id: str) -> Adjusted:
        """Gifts again. Raises NotYet while a chargeback of this wallet is not finished, Refused, SQLAlchemyError."""
        if await ask(self._charged_back, user_id):
            raise NotYet
        entry = UnfreezeEntry(id=order_id, viewer=user_id, fp=fingerprint(UNFREEZE.name, user_id))
        return await rows.carry_out(self._engine, self._wallet, entry)

    def _charged_back(self, user_id: str) -> bool:
        with reading(self._engine).connect() as connection:
            return connection.execute(rows.pending_of(CHARGEBACK, user_id)).first() is not None
