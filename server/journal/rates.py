"""Rate cards in SQL: each version stands there once, and stays, so that a version on a row always means the same."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.clock import Clock
from server.journal.bulk import insert_once
from server.journal.database import ask, reading
from server.journal.tables import rate_cards
from server.rates import Card
from server.settings import Unusable

log = structlog.get_logger()


class Registration:
    """Registers a node's card as soon as SQL answers: gifts do not wait for it. `refused` says that it cannot be."""

    def __init__(self, engine: Engine, card: Card, clock: Clock) -> None:
        self._engine = engine
        self._card = card
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.refused: str | None = None

    async def start(self) -> None:
        self._task = background.forever("rate-card", self._until_known)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _until_known(self) -> None:
        while not self.ended.is_set():
            try:
                await ask(register, self._engine, self._card, self._clock.now_ms())
            except SQLAlchemyError:
                await asyncio.sleep(limits.SQL_AGAIN_S)
                continue
            except Unusable as unusable:
                self.refused = str(unusable)
                log.error("rate_card_refused", why=self.refused)
            self.ended.set()


def register(engine: Engine, card: Card, now_ms: int) -> None:
    """Write a card down, unless it is there. Raises Unusable if its version has other rates, SQLAlchemyError."""
    kept = _row(engine, card.version)
    if kept is None:  # mostly it is there, and a read takes no write lock
        row = {"version": card.version, "hash": card.hash, "body": card.encoded.decode(), "at_ms": now_ms}
        with engine.begin() as connection:
            insert_once(connection, rate_cards, row)
        kept = _row(engine, card.version)
    if kept.hash != card.hash:
        since = datetime.fromtimestamp(kept.at_ms / 1000, UTC)
        raise Unusable(
            f"The rate card's version {card.version} has other rates since {since:%Y-%m-%d %H:%M} UTC; "
            "give the changed card a new version."
        )


def find(engine: Engine, version: str) -> Card | None:
    """A card that holds or held. Raises SQLAlchemyError."""
    row = _row(engine, version)
    return None if row is None else msgspec.json.decode(row.body, type=Card)


def _row(engine: Engine, version: str) -> Any:
    query = select(rate_cards).where(rate_cards.c.version == version)
    with reading(engine).connect() as connection:
        return connection.execute(query).first()
