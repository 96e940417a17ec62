"""Lets approved payouts leave, asks what became of those that left, and alarms when one is overdue.

The order decides everything: a payout is committed as submitted before its provider gets it, and what is not sure is
never sent again. A process may die between any two lines, and two may run at once.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy import Connection, Engine, func, select

from server import limits
from server.clock import Clock
from server.journal import earnings, findings
from server.journal.database import reading
from server.journal.paid_out import wrong_payout
from server.journal.payouts import payouts
from server.payouts import bounds, rows, told
from server.payouts.asking import StandingOf
from server.payouts.rows import Doing, Payout
from server.payouts.states import OUT, State
from server.payouts.told import Said
from server.providers.interface import Instruction, Outcome, Provider

log = structlog.get_logger()

RUNNER = "runner"  # who acts
KINDS_OF_ALARM = ("overdue", "contradicted")
# The journal process shows it with its metrics.
ALARMED = Gauge("liveroom_payouts_alarmed", "Payouts that wait for people to look.", ["alarm"], registry=None)


class Runner:
    """One round is `once`, in a thread. `days_of` says how many days the rate card gives a payout to be processed."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        providers: Mapping[str, Provider],
        standing_of: StandingOf,
        days_of: Callable[[str], int],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._providers = providers
        self._standing_of = standing_of
        self._days_of = days_of

    def once(self) -> int:
        """Send, ask and alarm. Returns how many payouts were sent or asked for. Raises BooksFrozen, SQLAlchemyError."""
        done = 0
        for name, provider in self._providers.items():
            if batch := self._claim(name):
                done += self._hear(provider.submit(batch), batch, name)
            if batch := self._due(name):
                done += self._hear(provider.look_up(batch), batch, name)
        self._alarm()
        return done

    # --- sending -------------------------------------------------------------------------------------------------
    def _claim(self, name: str) -> list[Instruction]:
        """Commit payouts as submitted. Only who does so may send them."""
        now_ms = self._clock.now_ms()
        verified_ms = self._verified_ms()
        ready = self._ids(name, [State.APPROVED], now_ms)
        if verified_ms is None or not ready:
            return []
        batch, claimed = f"b{now_ms}-{secrets.token_hex(6)}", []
        for id in ready:  # a transaction each: other writers of the books wait for one at most
            with self._engine.begin() as connection:
                payout = rows.locked(connection, id)
                if payout.state is State.APPROVED and payout.due_ms <= now_ms and payout.provider == name:
                    sent = self._send(connection, payout, batch, now_ms, verified_ms)
                    claimed += [sent.instruction] if sent is not None else []
        return claimed

    def _send(self, connection: Connection, payout: Payout, batch: str, now_ms: int, verified_ms: int) -> Payout | None:
        """Commit it as submitted, unless something is in its way: then it is looked at again later."""
        why = self._held_up(connection, payout, now_ms, verified_ms)
        if why:
            rows.change(connection, payout, due_ms=now_ms + bounds.AGAIN_MS, reason=why)
            return None
        late_ms = payout.late_ms or now_ms + self._days_of(payout.rate) * limits.DAY_MS
        more = {"batch": batch, "sent_ms": now_ms, "due_ms": now_ms + bounds.POLL_MS, "late_ms": late_ms}
        return rows.move(connection, payout, State.SUBMITTED, Doing("submit", RUNNER, now_ms), reason="", **more)

    def _held_up(self, connection: Connection, payout: Payout, now_ms: int, verified_ms: int) -> str:
        """What keeps an approved payout from leaving; '' for nothing. Its diamonds stay held."""
        if verified_ms <= payout.requested_ms:
            return "waits for an audit"
        if payout.payee is None:
            return "the account was erased"
        if wrong := wrong_payout(connection, payout.id):
            log.error("payout_is_wrong", payout=payout.id, what=wrong)
            return "it is not as the books have it"
        if earnings.read(connection, payout.creator, now_ms).debt:
            return "debt"
        missing = self._standing_of(connection, payout.creator, now_ms).missing
        return "not eligible" if missing else ""

    def _verified_ms(self) -> int | None:
        """When the newest audit began, if it is good: what was journaled before is verified."""
        report = findings.latest(self._engine)
        if report is None or not report.seen_at(self._clock.now_ms()).ok:
            return None
        return report.began_ms

    # --- asking --------------------------------------------------------------------------------------------------
    def _due(self, name: str) -> list[Instruction]:
        """Payouts to ask for now. Each is put off first, longer each time."""
        now_ms, found = self._clock.now_ms(), []
        for id in self._ids(name, [*OUT, State.PAID], now_ms):
            with self._engine.begin() as connection:
                payout = rows.locked(connection, id)
                if payout.due_ms > now_ms or payout.state not in (*OUT, State.PAID):
                    continue
                rows.change(connection, payout, due_ms=_next_ms(payout, now_ms), tries=payout.tries + 1)
                found.append(payout.instruction)
        return found

    def _ids(self, name: str, states: Sequence[State], now_ms: int) -> list[str]:
        due = select(payouts.c.id).where(
            payouts.c.provider == name, payouts.c.state.in_([*states]), payouts.c.due_ms <= now_ms
        )
        with reading(self._engine).connect() as connection:
            return list(connection.execute(due.order_by(payouts.c.due_ms).limit(bounds.BATCH)).scalars())

    def _hear(self, said: Mapping[str, Outcome], batch: Sequence[Instruction], name: str) -> int:
        for each in batch:
            if (outcome := said.get(each.key)) is not None:
                told.hear(self._engine, Said(each.key, outcome, name, each.batch), self._clock.now_ms())
        return len(batch)

    # --- alarms --------------------------------------------------------------------------------------------------
    def _alarm(self) -> None:
        """Tell people of each payout that is overdue, once."""
        now_ms = self._clock.now_ms()
        late = select(payouts.c.id).where(
            payouts.c.state.in_([*OUT]), payouts.c.late_ms > 0, payouts.c.late_ms <= now_ms, payouts.c.alarm == ""
        )
        with reading(self._engine).connect() as connection:
            found = list(connection.execute(late.limit(bounds.BATCH)).scalars())
        for id in found:
            with self._engine.begin() as connection:
                payout = rows.locked(connection, id)
                if payout.state in OUT and not payout.alarm:
                    rows.note(connection, payout, Doing("alarm", RUNNER, now_ms, "overdue"))
                    rows.change(connection, payout, alarm="overdue")
                    log.error("payout_overdue", payout=id, state=payout.state.value, provider=payout.provider)
        counts = alarms(self._engine)
        for kind in KINDS_OF_ALARM:
            ALARMED.labels(kind).set(counts.get(kind, 0))


def _next_ms(payout: Payout, now_ms: int) -> int:
    if payout.state is not State.PAID:
        return now_ms + min(bounds.POLL_MS << min(payout.tries, bounds.TRIES_MAX), bounds.POLL_MS_MAX)
    watched = now_ms < payout.changed_ms + bounds.PAID_WATCH_MS
    return now_ms + bounds.PAID_POLL_MS if watched else 2**53 - 1


def alarms(engine: Engine) -> dict[str, int]:
    """How many payouts wait for people, by what is the matter."""
    query: Any = select(payouts.c.alarm, func.count()).where(payouts.c.alarm != "").group_by(payouts.c.alarm)
    with reading(engine).connect() as connection:
        return {alarm: int(count) for alarm, count in connection.execute(query)}
