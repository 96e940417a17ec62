"""The journal process: migrates the database, then drains the ledger log for as long as it lives."""

import asyncio
import contextlib
import functools
import gc
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
import uvloop
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits, rates, requirements
from server.clock import Clock, Uptime
from server.features.gifts import SCRIPTS as GIFT_SCRIPTS
from server.journal import anchors, database, derived, findings, moneytime, troubles
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit, Report
from server.journal.database import ask
from server.journal.drain import Drain, tail_of
from server.journal.memory import Memory, development_key
from server.journal.rates import register
from server.journal.rights import Rights
from server.payouts import loop
from server.payouts.making import Payouts
from server.processes import schema, signals
from server.processes.figures import Figures
from server.processes.retell import drain_and_retell
from server.rates import RateCards
from server.rooms.history import open_history
from server.settings import Settings, Unusable
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore, open_store
from server.store.scripts import Script
from server.text import several

log = structlog.get_logger()
T = TypeVar("T")


def run(settings: Settings, ready_fd: int | None = None) -> None:
    """Drain until a signal, then journal what is still in the log. Raises Unusable.

    Once the first round is over, a line is written to `ready_fd`.
    """
    engine, card = database.connect(settings.journal_address), rates.load(settings.rates)
    now_ms = Clock(time.time).now_ms()  # noqa: TID251
    schema.bring_up(engine, waits=True, then=lambda engine: register(engine, card, now_ms))
    run_drain(_serve(settings, engine, ready_fd))


def run_drain(main: Coroutine[Any, Any, T]) -> T:
    """Run with rare garbage collections, because a round's tens of thousands of tuples all live until it ends.

    This saves 6 of 29 us per entry, and uvloop saves 1. While one round is written, Python prepares the next. With
    the default switch interval the writer would wait 5 ms for each turn (PostgreSQL: 42,000 entries/s, not 48,000).
    """
    gc.collect()
    gc.freeze()  # everything loaded so far stays
    gc.set_threshold(limits.DRAIN_GARBAGE, 50, 100)
    sys.setswitchinterval(limits.DRAIN_TURN_S)
    return uvloop.run(main)


async def _serve(settings: Settings, engine: Engine, ready_fd: int | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in signals.that_stop():
        loop.add_signal_handler(each, stopping.set)
    wallet = open_store("wallet", settings.wallet_address, AUDIT_SCRIPTS)
    clock = Clock(time.time)  # noqa: TID251
    history = open_history(settings.room_address, GIFT_SCRIPTS, clock)
    await wallet.start()
    await history.store.start()
    if await _until_up(wallet, stopping):
        drain = drain_and_retell(engine, wallet, history, clock, tail=tail_of(settings.log_entries_max))
        figures = Figures(drain, history, engine, clock)
        await figures.start(settings)
        beside = _beside(settings, engine, wallet, drain, ready_fd)
        await drain.run(stopping)
        await figures.stop()
        for task in beside:
            await background.end(task)
    await wallet.stop()
    await history.store.stop()
    signals.end(0)


async def _until_up(wallet: Store | ClusterStore, stopping: asyncio.Event) -> bool:
    """Wait for the wallet store, however long it is away. Returns False if a stop comes first. Raises Unusable."""
    tasks = background.Tasks("journal-start")
    asked = tasks.share(stopping.wait())
    up = tasks.share(wallet.wait_up(limits.STORES_START_S))
    while not asked.done():
        await asyncio.wait({up, asked}, timeout=limits.STORE_RETRY_S, return_when=asyncio.FIRST_COMPLETED)
        if wallet.refusal is not None:
            raise Unusable(unusable_wallet(wallet))
        if up.done():
            if (error := up.exception()) is None:
                break
            log.warning("journal_waits", why=str(error))
            up = tasks.share(wallet.wait_up(limits.STORES_START_S))
    there = up.done() and not stopping.is_set()
    await tasks.end()
    return there


def unusable_wallet(wallet: Store | ClusterStore) -> str:
    """The sentence of a process or command that ends because of the wallet store."""
    why = "does not answer" if wallet.refusal is None else f"cannot be used: {wallet.refusal}"
    return f"The wallet store (LIVEROOM_WALLET_URL) {why}."


def _beside(
    settings: Settings, engine: Engine, wallet: Store | ClusterStore, drain: Drain, ready_fd: int | None
) -> list[asyncio.Task[None]]:
    """Start what runs beside the drain."""
    memory = Memory(engine, wallet, drain.clock, audit_key(settings), settings.anchors)
    audit = Audit(engine, wallet, drain.clock, memory)
    rights = Rights(wallet)
    auditing = functools.partial(audit_always, audit, drain, engine, settings.audit_every_s, rights)
    needs = requirements.load(settings.requirements)
    payouts = Payouts(settings, engine, drain.clock, RateCards(rates.load(settings.rates)), needs)
    return [
        background.forever("rights", rights.run),
        background.forever("payouts", functools.partial(loop.run, payouts.runner)),
        background.forever("audit", auditing),
        background.forever("money-time", moneytime.Mover(engine, wallet, drain.clock, Uptime()).run),
        background.forever("ready", functools.partial(_tell_ready, drain, ready_fd)),
    ]


async def _tell_ready(drain: Drain, ready_fd: int | None) -> None:
    """Write a line for the supervisor, once the journal has everything that it can have."""
    await drain.began.wait()
    log.info("journal_ready")
    if ready_fd is not None:
        with contextlib.suppress(OSError):
            os.write(ready_fd, b"ready\n")


async def audit_always(
    audit: Audit, drain: Drain, engine: Engine, every_s: float, rights: Rights | None = None
) -> None:
    """Audit every so many seconds, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        await audit_once(audit, drain, engine, None if rights is None else rights.lacks)


async def audit_once(audit: Audit, drain: Drain, engine: Engine, lacks: str | None = None) -> None:
    """Audit what is due, and freeze each partition that is wrong. An audit that raises is reported, too.

    A right that the journal's user `lacks` is reported with it.
    """
    try:
        report = await audit.run(freeze=True, everything=False, doubts=[] if lacks is None else [lacks])
        for doubt in report.doubts:
            log.error("audit_doubts", doubt=doubt)
        if report.wrong:
            log.error("audit_wrong", first=report.wrong[0])
            await drain.freeze({wrong.partition: f"audit: {wrong.where}: {wrong.what}" for wrong in report.wrong})
        elif not report.ok:
            log.warning("audit_not_ok", why=report.why_not())
    except (StoreError, SQLAlchemyError) as error:
        log.warning("audit_later", error=str(error)[: limits.LOGGED_CHARS_MAX])
        await _say_failed(drain, engine, lacks or f"{type(error).__name__}: {error}")
    except Exception as error:
        background.failed("audit", error)
        await _say_failed(drain, engine, f"{type(error).__name__}: {error}")


async def _say_failed(drain: Drain, engine: Engine, why: str) -> None:
    """Keep a report that is not ok. When SQL is away, the age of the last one says the same."""
    try:
        await ask(findings.keep_failure, engine, drain.clock.now_ms(), why)
    except SQLAlchemyError as away:
        log.warning("audit_unsaid", error=str(away)[: limits.LOGGED_CHARS_MAX])


def audit_key(settings: Settings) -> str | None:
    """The key that signs the audit's memory. Development makes one in the data folder; production may have none."""
    if settings.audit_key is not None or not settings.development:
        return settings.audit_key
    try:
        return development_key(settings.data)
    except OSError as error:
        raise Unusable(f"The audit's key cannot be written to the data folder: {error}.") from None


def audit(settings: Settings, *, freeze: bool = False, accept: bool = False) -> int:
    """Audit once and print the report. Return 0, or 1 and print the first fault. Raises Unusable."""

    async def once(engine: Engine, wallet: Store | ClusterStore) -> Report:
        clock = Clock(time.time)  # noqa: TID251
        memory = Memory(engine, wallet, clock, audit_key(settings))
        report = await Audit(engine, wallet, clock, memory).run(freeze=freeze)
        if accept and not report.wrong:
            await memory.accept()
            print("This database is accepted. The audit begins again.", file=sys.stderr)
            memory = Memory(engine, wallet, clock, audit_key(settings))
            report = await Audit(engine, wallet, clock, memory).run(freeze=freeze)
        return report

    report = asyncio.run(on_the_books(settings, once))
    print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    if report.ok:
        return 0
    print(f"liveroom: the audit failed: {report.why_not()}", file=sys.stderr)
    return 1


def compare_anchors(settings: Settings, file: Path) -> int:
    """Compare the journal with a file of anchors. Return 0, or 1 and print the first difference. Raises Unusable."""
    engine = database.connect(settings.journal_address)
    try:
        with file.open() as lines:
            found = anchors.compare(engine, lines)
    except (OSError, UnicodeDecodeError, anchors.Unreadable) as error:
        raise Unusable(f"{file} cannot be read as anchors: {error}.") from None
    except SQLAlchemyError as error:
        raise Unusable(troubles.cannot(error)) from None
    finally:
        engine.dispose()
    print(f"Compared with the journal, and the same: {several(found.anchors, 'anchor')}.")
    if found.wrong is None:
        return 0
    print(f"liveroom: {found.wrong}", file=sys.stderr)
    return 1


def rebuild(settings: Settings) -> int:
    """Derive creators' days, missing parts of reversals and kept lots again. Return 0. Raises Unusable."""
    engine = database.connect(settings.journal_address)
    try:
        done = derived.rebuild(engine)
    except SQLAlchemyError as error:
        raise Unusable(troubles.cannot(error)) from None
    finally:
        engine.dispose()
    print(f"Written again: {done.said()}.")
    return 0


def _check_embedded(settings: Settings) -> None:
    """Say at once that the embedded wallet store does not run. Raises Unusable."""
    if settings.wallet_url is not None:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fsencode(settings.sockets / "wallet.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            which = f"The embedded wallet store of {settings.data.resolve()}"
            raise Unusable(f"{which} is not running. Start it with `python -m server run`, and try again.") from None
        except OSError:  # it will be said when the store is opened
            return


async def on_the_books(
    settings: Settings,
    look: Callable[[Engine, Store | ClusterStore], Awaitable[T]],
    scripts: Sequence[Script] = AUDIT_SCRIPTS,
) -> T:
    """Call `look` with the journal and the wallet store. Raises Unusable when one does not answer."""
    _check_embedded(settings)
    engine = database.connect(settings.journal_address)
    wallet = open_store("wallet", settings.wallet_address, scripts)
    await wallet.start()
    try:
        await wallet.wait_up(limits.STORE_CONNECT_S)
        return await look(engine, wallet)
    except StoreError:
        raise Unusable(unusable_wallet(wallet)) from None
    except SQLAlchemyError as error:
        raise Unusable(troubles.cannot(error)) from None
    finally:
        await wallet.stop()
        engine.dispose()
