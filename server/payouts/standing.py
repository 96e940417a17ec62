"""What SQL knows of a creator, as a payout needs it: region, tax state, and what is missing."""

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, Engine, or_, select

from server.journal import rates
from server.journal.tables import suspensions, users
from server.payouts.asking import Standing
from server.rates import RateCards
from server.requirements import NOTHING_KNOWN, Known, Missing, Requirements


class Standings:
    """Reads it within a transaction, so that a payout is decided by what holds at this moment."""

    def __init__(self, requirements: Requirements) -> None:
        self._requirements = requirements

    def of(self, connection: Connection, creator: str, now_ms: int) -> Standing:
        """Raises SQLAlchemyError."""
        text = connection.execute(select(users.c.known).where(users.c.user_id == creator)).scalar()
        known = NOTHING_KNOWN if text is None else msgspec.json.decode(text, type=Known)
        until, mine = suspensions.c.until_ms, suspensions.c.user_id == creator
        barred = select(suspensions.c.id, suspensions.c.reason, until).where(
            mine,
            suspensions.c.capability == "payout",
            suspensions.c.ended_ms.is_(None),
            or_(until.is_(None), until > now_ms),
        )
        suspended = tuple(Missing("suspension", row._asdict(), None) for row in connection.execute(barred))
        missing = suspended + self._requirements.missing("payout", known)
        return Standing(known.region, known.tax or "", missing, known.payout_methods)


def days_of(engine: Engine, cards: RateCards) -> Callable[[str], int]:
    """How long a payout of these terms may take, by the card that it was requested under, which may be an old one."""

    def days(terms: str) -> int:
        version, _, region = terms.partition("/")
        card = cards.card if cards.card.version == version else rates.find(engine, version)
        found = None if card is None else card.regions.get(region)
        return (found or cards.terms(None).rates).processing_days

    return days
