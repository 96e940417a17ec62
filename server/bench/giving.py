"""Gifts for the benchmarks, and givers who each wait for one gift before they send the next."""

import asyncio
import gc
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sqlalchemy import Engine

from protocol.gifts import GiftSent, ShownGift
from protocol.ids import uuid7
from protocol.wire import User, encode
from server import catalogue, limits
from server.bench import machine
from server.clock import Clock
from server.entries import GiftEntry, TopUpEntry
from server.journal.opening import Opening
from server.money.making import make_wallet
from server.money.results import Money, Spend, fingerprint
from server.settings import Settings

VIEWERS = 1000
CREATORS = 10

Pay = Callable[[Spend], Awaitable[object]]


async def open_wallet(configured: Settings, engine: Engine) -> Money:
    """Open the wallet as a node does, and give every viewer coins."""
    wallet = make_wallet(configured, Opening(engine, Clock(time.time)), lambda changes: None)  # noqa: TID251
    await wallet.start()
    await wallet.wait_up(limits.STORE_START_S)
    for first in range(0, VIEWERS, limits.SPEND_BATCH_MAX):
        viewers = range(first, min(first + limits.SPEND_BATCH_MAX, VIEWERS))
        await asyncio.gather(*(_top_up(wallet, f"v{n}") for n in viewers))
    return wallet


async def _top_up(wallet: Money, viewer: str) -> None:
    coins, print_ = limits.TOPUP_COINS_MAX, "bench"
    entry = TopUpEntry(id=f"t-{viewer}", viewer=viewer, coins=coins, source="bench", fp=print_)
    await wallet.order(entry)


class Givers:
    """Keeps `in_flight` gifts under way. The viewers pay in turn, for the creators in turn."""

    def __init__(self, in_flight: int, viewers: int = VIEWERS) -> None:
        self._in_flight = in_flight
        self._viewers = viewers
        self._numbers = itertools.count()
        self._gift = next(iter(catalogue.load(None).values()))

    async def give(self, pay: Pay, seconds: float, store_pids: tuple[int, ...], per_s_max: int) -> dict[str, Any]:
        """Pay for `seconds`. Returns gifts per second, latency, and CPU per gift (driver; store with its children)."""
        made = [
            self.spend() for _ in range(int(seconds * per_s_max))
        ]  # made in advance: this is the sender's work, not measured
        gc.collect()
        gc.freeze()  # as a node does
        waited_s: list[float] = []
        began, own_s, store_s = time.perf_counter(), time.process_time(), machine.cpu_s(*store_pids)
        until = began + seconds

        async def keep_paying() -> None:
            while (since := time.perf_counter()) < until:
                await pay(made.pop() if made else self.spend())
                waited_s.append(time.perf_counter() - since)

        await asyncio.gather(*(keep_paying() for _ in range(self._in_flight)))
        took_s, own_s = time.perf_counter() - began, time.process_time() - own_s
        store_s = machine.cpu_s(*store_pids) - store_s
        gc.unfreeze()
        waited_s.sort()
        gifts = len(waited_s)
        return {
            "gifts_per_s": round(gifts / took_s),
            "p50_ms": round(waited_s[gifts // 2] * 1000, 2),
            "p99_ms": round(waited_s[gifts * 99 // 100] * 1000, 2),
            "driver_cpu_us_per_gift": round(own_s / gifts * 1000 * 1000, 1),
            "store_cpu_us_per_gift": round(store_s / gifts * 1000 * 1000, 1),
            "in_flight": self._in_flight,
            "gifts": gifts,
        }

    def spend(self) -> Spend:
        """Make the next gift as features.gifts does, entry and animation included."""
        number, gift = next(self._numbers), self._gift
        viewer, creator = f"v{number % self._viewers}", f"c{number % CREATORS}"
        gift_id = uuid7(int(time.time() * 1000))  # noqa: TID251  # there is no node here
        shown = GiftSent(
            id=gift_id,
            from_=User(user_id=viewer, name=viewer, role="viewer"),
            to=User(user_id=creator, name=creator, role="host"),
            gift=ShownGift(gift.id, gift.name, gift.coins, gift.tier, gift.animation),
            count=1,
            coins=gift.coins,
            diamonds=gift.diamonds,
            message=None,
            test=False,
            combo=None,
        )
        print_ = fingerprint("bench", creator, gift.id, 1, gift.coins, None, None)
        entry = GiftEntry(
            id=gift_id,
            viewer=viewer,
            creator=creator,
            room="bench",
            broadcast=None,
            gift=gift.id,
            count=1,
            coins=gift.coins,
            diamonds=gift.diamonds,
            combo=None,
            salt=secrets.token_hex(16),
            fp=print_,
            viewer_name=viewer,
            show=msgspec.Raw(encode(shown)),
        )
        return Spend(
            gift_id=gift_id,
            viewer=viewer,
            creator=creator,
            coins=gift.coins,
            diamonds=gift.diamonds,
            count=1,
            combo=None,
            fingerprint=print_,
            entry=encode(entry),
        )
