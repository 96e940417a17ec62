"""A world whose clocks a test controls: the store's, the journal's, and how long the journal's machine has run."""

import shutil
import time

from protocol.ids import uuid7_ms
from protocol.refusals import Refusal, Refused
from server import limits
from server.clock import Clock, Uptime
from server.journal.moneytime import SCRIPTS, Mover, Time
from server.money.results import Paid, Spend
from server.store.client import Store
from tests.program import eventually
from tests.site import new_gift_id
from tests.torture.bank import WAIT_S, Bank

MINUTE_MS = 60_000
SURE_MS = limits.RECEIPT_MARGIN_MS  # so long after its gift was paid, a sender can surely ask again


class World:
    """A bank in which time passes when the test says so. Each method is a step of a scene; times are in minutes."""

    def __init__(self, bank: Bank, wallet: Store) -> None:
        self.bank = bank
        self._wallet = wallet
        self._passed_ms = 0  # in truth
        self._wall_ms = 0  # by how much the journal's wall clock is wrong
        self._store_ms = 0
        self._up_ms = 10 * MINUTE_MS
        self._boot = 1
        self._gifts: list[tuple[Spend, int]] = []  # and when they were sent
        self._restart()

    def _restart(self) -> None:
        clock = Clock(lambda: time.time() + (self._passed_ms + self._wall_ms) / 1000)
        uptime = Uptime(f"boot {self._boot}", lambda: self._up_ms)
        self.mover = Mover(self.bank.engine, self._wallet, clock, uptime)

    # --- steps -------------------------------------------------------------------------------------------------
    async def give(self, old: int = 0) -> None:
        """Somebody sends a gift by a clock that is slow; its answer is lost, but it is paid."""
        await self._give(old, sure=True)

    async def fresh(self, _minutes: int = 0) -> None:
        """Somebody with a right clock can send a gift."""
        await self._give(0, sure=False)

    async def again(self, _minutes: int = 0) -> None:
        """Every sender asks again: none pays twice, and a recent one learns that the gift is paid."""
        for spend, at_ms in self._gifts:
            outcome = await self.bank.node.send(spend)
            if isinstance(outcome, Refused):
                assert outcome.reason is Refusal.EXPIRED_ID
                assert self._passed_ms - at_ms > SURE_MS, "the sender takes this for not paid, and pays again"
            else:
                assert outcome.duplicate

    async def store(self, by: int) -> None:
        """The store's clock jumps."""
        self._store_ms += by * MINUTE_MS
        await self._set_store()

    async def wall(self, by: int) -> None:
        """The journal's wall clock jumps."""
        self._wall_ms += by * MINUTE_MS

    async def away(self, minutes: int) -> None:
        """Time passes for all while the journal's process is away or its machine is suspended."""
        self._up_ms += minutes * MINUTE_MS
        await self.off(minutes)

    async def off(self, minutes: int) -> None:
        """Time passes while the journal's machine is switched off."""
        self._passed_ms += minutes * MINUTE_MS
        await self._set_store()

    async def boot(self, _minutes: int = 0) -> None:
        """The journal's machine starts."""
        self._boot += 1
        self._up_ms = 1_000
        self._restart()

    async def restart(self, _minutes: int = 0) -> None:
        """The journal's process starts."""
        self._restart()

    async def move(self, _minutes: int = 0) -> Time:
        return await self.mover.once()

    async def live(self, minutes: int) -> None:
        """Time passes with the journal at work."""
        for _ in range(minutes):
            await self.away(1)
            await self.move()

    async def crash(self, minutes: int) -> None:
        """The journal's process starts each minute, and crashes after its first step."""
        for _ in range(minutes):
            await self.restart()
            await self.live(1)

    async def lose(self, _minutes: int = 0) -> None:
        """The store loses everything that is journaled; it is filled from the journal."""
        await self.bank.drain()
        await self.bank.kill_store()
        shutil.rmtree(self.bank.data)
        self.bank.store.start()
        await self.bank.node.reconnected()
        await self._wallet.wait_up(WAIT_S)

    # --- for others ---------------------------------------------------------------------------------------------
    @property
    def now_ms(self) -> int:
        """What time it is in this world."""
        return int(time.time() * 1000) + self._passed_ms

    async def wait_up(self) -> None:
        """Wait for the journal process's connection to a store that was started again."""
        await self._wallet.wait_up(WAIT_S)

    # --- below them --------------------------------------------------------------------------------------------
    def new_id(self, old: int = 0) -> str:
        """An id by a clock that is slow by so many minutes."""
        return new_gift_id(self._passed_ms - old * MINUTE_MS)

    async def _give(self, old: int, *, sure: bool) -> None:
        viewer = f"viewer{len(self._gifts) % 11}"  # not the poor one
        spend = self.bank.gift(viewer=viewer, combo=None, id=self.new_id(old))
        outcome = await self.bank.node.send(spend)
        assert isinstance(outcome, Paid), f"{outcome!r} for an id of {uuid7_ms(spend.gift_id)}"
        assert not outcome.duplicate
        self._gifts.append((spend, self._passed_ms if sure else -SURE_MS))

    async def _set_store(self) -> None:
        """Set the store's clock, which it reads about once a millisecond."""
        off_ms = self._passed_ms + self._store_ms
        self.bank.power.control.clock_us = off_ms * 1000
        with self.bank.look() as look:
            await eventually(
                lambda: abs(look.time()[0] * 1000 - time.time() * 1000 - off_ms) < 5_000, WAIT_S, "the store's new time"
            )


def connected(bank: Bank) -> Store:
    """The journal process's connection to the wallet store."""
    return Store("wallet", bank.settings.wallet_address, scripts=SCRIPTS)
