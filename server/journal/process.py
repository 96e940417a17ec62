"""The journal process: migrates the database, then drains the ledger log for as long as it lives."""

import asyncio
import signal
import time

import structlog
from sqlalchemy import Engine

from server import limits
from server.clock import Clock
from server.features.gifts import SCRIPTS as GIFT_SCRIPTS
from server.history import SCRIPTS as HISTORY_SCRIPTS
from server.history import History
from server.journal import database
from server.journal.drain import Drain
from server.settings import Settings
from server.store.client import Store

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Until a signal; then what is in the log is journaled once more. Raises Unusable."""
    engine = database.connect(settings.journal_address)
    database.migrate(engine)
    asyncio.run(_serve(settings, engine))


async def _serve(settings: Settings, engine: Engine) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stopping.set)
    wallet = Store("wallet", settings.wallet_address)
    rooms = Store("room", settings.room_address, scripts=[*HISTORY_SCRIPTS, *GIFT_SCRIPTS])
    await wallet.start()
    await rooms.start()
    await wallet.wait_up(limits.STORE_START_S)
    drain = Drain(engine, wallet, History(rooms), Clock(time.time))  # noqa: TID251
    await drain.run(stopping)
    await wallet.stop()
    await rooms.stop()
