"""Drains in children that die at a chosen moment. This process reads on its standard input what to do.

A line is `<wallet address> <journal address> <moment> ...`: it starts one child per moment, all at once. The answer
says how each ended. Moments: `never`, `begin:<n>`, `commit:<n>`, `committed:<n>` (before the n-th transaction, before
and after its commit), `after:<us>` (after so many microseconds).
"""

import asyncio
import logging
import os
import signal
import sys
import time

import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal import database
from server.processes.retell import drain_and_retell
from server.rooms.history import History
from server.store.client import Store

WAIT_S = 20.0
ROUNDS_MAX = 10_000


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    limits.DRAIN_BATCH = 2  # small, so that there are many transactions to die in
    for line in sys.stdin:
        wallet, journal, *moments = line.split()
        children = [_fork(wallet, journal, moment) for moment in moments]
        print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), flush=True)


def _fork(wallet: str, journal: str, moment: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_drain(wallet, journal, moment))
            os._exit(0)
        finally:
            os._exit(1)
    return child


async def _drain(wallet: str, journal: str, moment: str) -> None:
    engine, store = database.connect(journal), Store("wallet", wallet)
    _die_at(engine, moment)
    await store.start()
    await store.wait_up(WAIT_S)
    drain = drain_and_retell(engine, store, History(Store("room", wallet)), Clock(time.time))
    for _ in range(ROUNDS_MAX):
        try:
            if not await drain.drain_once():
                return
        except SQLAlchemyError:  # another drain was faster
            await asyncio.sleep(0)


def _die_at(engine: Engine, moment: str) -> None:
    what, _, number = moment.partition(":")
    seen = {"begin": 0, "commit": 0, "committed": 0}

    def reach(name: str) -> None:
        seen[name] += 1
        if (name, seen[name]) == (what, int(number or 0)):
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("reads", False):
            reach("begin")

    def checkin(*_: object) -> None:
        if seen["committed"] < seen["commit"]:
            reach("committed")

    event.listen(engine, "begin", begin)
    event.listen(engine, "commit", lambda connection: reach("commit"))
    event.listen(engine, "checkin", checkin)
    if what == "after":
        signal.setitimer(signal.ITIMER_REAL, int(number) / 1_000_000)  # SIGALRM ends the process as SIGKILL would


if __name__ == "__main__":
    main()
