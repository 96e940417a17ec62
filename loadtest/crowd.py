"""Runs a scenario on a server: starts processes full of viewers, collects their reports each second, and judges all."""

import asyncio
import contextlib
import datetime
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Protocol

import msgspec
from msgspec import Struct

from loadtest import limits, report
from loadtest.api import Api, ApiError
from loadtest.moderated import Evening, Person
from loadtest.processes import Served, raise_file_limit
from loadtest.recorder import Recorded
from loadtest.results import Check, Result, Second
from loadtest.scenarios import Means, Plan
from loadtest.verdict import AUDIT, Verdict, audit, audit_of
from loadtest.watch import Watch
from loadtest.worker import Account, Gift, Guest, Job, Line
from protocol.wire import Role

COINS = 100_000_000  # for each giver
SPAWN_S = 2.0
WITNESSES = 3
LATE_S = 180.0  # a process may deliver its account so long after the run
LINE_BYTES_MAX = 1 << 22
STORE_TITLE = "wallet.sock"


class View(Protocol):
    """Shows the run while it goes on."""

    def update(self, second: Second, phase: str, totals: dict[str, int], wrong: list[str]) -> None: ...


class Target(Struct, frozen=True, kw_only=True):
    """The server under load, and how to kill its parts: by a signal (`served`) or by a command of the caller."""

    url: str
    service_key: str
    served: Served | None = None
    kill_node: str | None = None
    kill_store: str | None = None

    def means(self, what: Means) -> Callable[[], None] | None:
        command = self.kill_node if what == "node" else self.kill_store
        if command:
            return lambda: subprocess.run(command, shell=True, check=True, timeout=60)  # type: ignore[return-value]
        if self.served is None:
            return None
        served = self.served
        return lambda: os.kill(served.node if what == "node" else served.pid_of(STORE_TITLE), signal.SIGKILL)


class Cast(Struct, frozen=True, kw_only=True):
    """Who takes part in the run, and the gifts they may send."""

    rooms: list[str]
    guests: list[Guest]
    hostile: list[Guest]
    gifts: list[Gift]
    givers: list[str]
    trolls: list[Person] = []
    moderators: list[Person] = []
    witnesses: list[Person] = []


def prepare(plan: Plan, api: Api) -> Cast:
    """Create rooms, tokens and coins through the public API."""
    name, chance = f"load-{secrets.token_hex(4)}", Random(plan.seed)
    gifts = [Gift(g["id"], g["coins"], g["streakable"]) for g in api.call("GET", "/v1/gifts")]
    rooms = [f"{name}-{number}" for number in range(plan.rooms)]
    for room in rooms:
        api.open_room(room)
    how_many = max(1, math.ceil(plan.viewers * plan.givers)) if plan.gifts_per_s else 0
    slow = set(chance.sample(range(plan.viewers), int(plan.viewers * plan.slow)))
    giving = set(chance.sample(sorted(set(range(plan.viewers)) - slow), min(how_many, plan.viewers - len(slow))))
    guests = []
    for number in range(plan.viewers):
        user, room = f"{name}-v{number}", rooms[number % len(rooms)]
        if number in giving:
            api.top_up(user, COINS, f"{user}-coins")
        guests.append(Guest(number, user, room, api.token(user, "viewer", room), number in giving, number in slow))
    hostile = [
        Guest(number, f"{name}-h{number}", rooms[0], api.token(f"{name}-h{number}", "viewer"))
        for number in range(plan.hostile)
    ]
    cheapest_first = sorted(gifts, key=lambda gift: gift.coins)
    return Cast(
        rooms=rooms,
        guests=guests,
        hostile=hostile,
        gifts=cheapest_first,
        givers=[guest.user for guest in guests if guest.gives],
        trolls=_beside(api, f"{name}-t", rooms[0], plan.trolls),
        moderators=_beside(api, f"{name}-m", rooms[0], plan.moderators, "moderator"),
        witnesses=_beside(api, f"{name}-w", rooms[0], WITNESSES if plan.trolls else 0),
    )


def _beside(api: Api, name: str, room: str, count: int, role: Role = "viewer") -> list[Person]:
    """People beside the crowd, in this room."""
    users = [f"{name}{number}" for number in range(count)]
    return [Person(user, f"/v1/rooms/{room}/ws?token={api.token(user, role, room)}") for user in users]


class Run:
    """One run of one plan."""

    def __init__(self, plan: Plan, target: Target, view: View) -> None:
        self.plan, self.target, self._view = plan, target, view
        self.series: list[Second] = []
        self.wrong: list[str] = []
        self._recorded = Recorded()
        self._lines: dict[int, list[Line]] = {}
        self._last: dict[int, Line] = {}
        self._rates_before: dict[str, int] = {}
        self._killed: set[str] = set()
        self._killing: set[asyncio.Task[None]] = set()
        self._watch = Watch(target.served) if target.served is not None else None

    async def run(self, cast: Cast) -> list[Account]:
        """Returns the account of each process. Raises RuntimeError if one failed."""
        with tempfile.TemporaryDirectory(prefix="liveroom-crowd-") as name:
            folder, start_ms = Path(name), int((time.time() + SPAWN_S) * 1000)
            jobs = [self._job(cast, number, start_ms) for number in range(self.plan.processes)]
            accounts = await asyncio.gather(*(self._process(job, folder) for job in jobs))
        await asyncio.gather(*self._killing)
        return list(accounts)

    def _job(self, cast: Cast, process: int, start_ms: int) -> Job:
        def own(guests: list[Guest]) -> list[Guest]:
            return guests[process :: self.plan.processes]

        gives = sum(guest.gives for guest in own(cast.guests))
        return Job(
            plan=self.plan,
            process=process,
            url=self.target.url,
            start_ms=start_ms,
            guests=own(cast.guests),
            hostile=own(cast.hostile),
            gifts=cast.gifts,
            gift_share=gives / max(1, len(cast.givers)),
        )

    async def _process(self, job: Job, folder: Path) -> Account:
        job_file, account_file = folder / f"job-{job.process}", folder / f"account-{job.process}"
        job_file.write_bytes(msgspec.msgpack.encode(job))
        command = [sys.executable, "-m", "loadtest.worker", str(job_file), str(account_file)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, limit=LINE_BYTES_MAX, cwd=report.ROOT)
        try:
            async with asyncio.timeout(SPAWN_S + self.plan.ramp_s + self.plan.seconds + LATE_S):
                assert process.stdout is not None
                async for text in process.stdout:
                    await self._take(msgspec.json.decode(text, type=Line))
                await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"process {job.process} of the crowd exited with status {process.returncode}")
        return msgspec.msgpack.decode(account_file.read_bytes(), type=Account)

    async def _take(self, line: Line) -> None:
        """Add a line of one process. The second is complete when every process has sent its line."""
        self._last[line.process] = line
        self.wrong += line.wrong
        lines = self._lines.setdefault(line.second, [])
        lines.append(line)
        self._kill_when(line.phase)
        if len(lines) < self.plan.processes:
            return
        del self._lines[line.second]
        totals = self.totals()
        rates = {name: number - self._rates_before.get(name, 0) for name, number in totals.items()}
        self._rates_before = totals
        usage, lag_ms = await asyncio.to_thread(self._watch.look) if self._watch is not None else ({}, None)
        second = Second(
            phase=line.phase,
            at_s=float(line.second),
            rates={name: float(rates[name]) for name in sorted(rates) if rates[name]},
            open=sum(each.open for each in lines),
            latencies=self._recorded.add([each.latencies for each in lines]),
            processes=usage,
            loop_lag_p99_ms=lag_ms,
        )
        self.series.append(second)
        self._view.update(second, line.phase, totals, self.wrong)

    def totals(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self._last.values():
            for name, number in line.counts.items():
                found[name] = found.get(name, 0) + number
        return found

    def _kill_when(self, name: str) -> None:
        for phase in self.plan.phases:
            if phase.name == name and phase.kill is not None and name not in self._killed:
                self._killed.add(name)
                kill = self.target.means(phase.kill)
                assert kill is not None, "__main__.run checks this before the start"
                self._killing.add(asyncio.create_task(asyncio.to_thread(kill)))

    def result(self, checks: list[Check], began_ms: int, cpu_s: float, server: dict[str, str]) -> Result:
        totals = self.totals()
        totals["received per core second"] = round(totals.get("received", 0) / max(0.01, cpu_s))
        waits = self._recorded.quantiles()
        if self.plan.limits is not None:
            checks = checks + limits.checks(self.plan.limits, totals, waits, self.series)
        return Result(
            scenario=self.plan.scenario,
            plan=msgspec.to_builtins(self.plan),
            machine={**report.machine(), "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")},
            server=server,
            began_ms=began_ms,
            seconds=self.plan.seconds,
            totals=totals,
            latencies=waits,
            series=self.series,
            checks=checks,
        )


def judge(
    plan: Plan, cast: Cast, accounts: list[Account], api: Api, served: Served | None, ended_ms: int
) -> list[Check]:
    """Make every check. `ended_ms` is when the run ended, by the server's clock."""
    verdict = Verdict(accounts)
    checks = [verdict.order(), verdict.losses(), verdict.sums(), verdict.shown()]
    checks += _asked("journal", lambda: verdict.journal(api, cast.givers, COINS))
    checks += _asked("rooms' sums", lambda: [verdict.rooms_say(api, cast.rooms)])
    checks += [audit_of(served)] if served is not None else _asked(AUDIT, lambda: [audit(api, ended_ms)])
    if plan.gifts_per_s and plan.viewers and not verdict.acked:
        checks.append(
            Check("gifts acknowledged", "none was acknowledged", ["the plan has gifts, but none was acknowledged"])
        )
    return checks


def _asked(name: str, ask: Callable[[], list[Check]]) -> list[Check]:
    """A server that does not answer fails its check, but the measurements are kept."""
    try:
        return ask()
    except (ApiError, ConnectionError) as error:
        return [Check(name, "the server does not answer", [str(error)])]


def _version(api: Api) -> str:
    try:
        return api.version()
    except (ApiError, ConnectionError, KeyError, TypeError):
        return "unknown"


def _clock_ms(api: Api) -> int:
    """The server's time; ours if it does not answer."""
    try:
        return api.clock_ms()
    except (ApiError, ConnectionError):
        return time.time_ns() // 1_000_000


def _evening(plan: Plan, target: Target, cast: Cast) -> "asyncio.Task[Check] | None":
    """Trolls and moderators, for as long as the run, if the plan has some."""
    if not plan.trolls:
        return None
    evening = Evening(target.url, cast.trolls, cast.moderators, cast.witnesses)
    seconds = SPAWN_S + (0 if plan.drift else plan.ramp_s) + plan.seconds
    return asyncio.create_task(evening.go_on(Random(plan.seed), seconds))


async def hammer(plan: Plan, target: Target, view: View) -> Result:
    """Prepare, run, judge. Raises RuntimeError, OSError if the run cannot start."""
    raise_file_limit()
    api, began_ms = Api(target.url, target.service_key), time.time_ns() // 1_000_000
    try:
        cast = await asyncio.to_thread(prepare, plan, api)
        server = {"address": target.url, "version": await asyncio.to_thread(_version, api)}
        run = Run(plan, target, view)
        evening = _evening(plan, target, cast)
        accounts = await run.run(cast)
        more = [] if evening is None else [await evening]
        ended_ms = await asyncio.to_thread(_clock_ms, api)
        checks = await asyncio.to_thread(judge, plan, cast, accounts, api, target.served, ended_ms) + more
        with contextlib.suppress(ApiError, ConnectionError):  # the verdict reports a server that is gone
            for room in cast.rooms:
                await asyncio.to_thread(api.end_room, room)
    finally:
        api.close()
    return run.result(checks, began_ms, sum(account.cpu_s for account in accounts), server)
