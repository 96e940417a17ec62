"""The journal process's loop over payouts: rounds in a thread, so that a slow provider holds up nothing else."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal.pen import BooksFrozen
from server.payouts import bounds
from server.payouts.runner import Runner

log = structlog.get_logger()


async def run(runner: Runner) -> None:
    """Do rounds until cancelled. What fails is done in a later round: everything that matters is in SQL."""
    while True:
        try:
            await asyncio.to_thread(runner.once)
        except (SQLAlchemyError, BooksFrozen) as error:
            log.warning("payouts_later", why=str(error)[: limits.LOGGED_CHARS_MAX])
        await asyncio.sleep(bounds.LOOK_S)
