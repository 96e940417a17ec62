"""What a provider says of a payout, and what that does. Whatever comes twice, late or out of order counts once."""

from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine, select

from server import limits
from server.journal.payouts import payout_acts, payouts
from server.payouts import bounds, rows
from server.payouts.rows import Doing, Payout
from server.payouts.states import OUT, State
from server.providers.interface import Outcome, Standing

log = structlog.get_logger()


class Said(NamedTuple):
    """What a provider says of a key. `batch`: the submission that it is about, if that is known."""

    key: str
    outcome: Outcome
    provider: str
    batch: str | None = None


def hear(engine: Engine, said: Said, now_ms: int) -> Payout | None:
    """Carry out what a provider says. Returns the payout, None if this provider has none with the key.

    Raises BooksFrozen, SQLAlchemyError.
    """
    mine = payouts.c.key == said.key, payouts.c.provider == said.provider
    outcome = said.outcome
    with engine.begin() as connection:
        id = connection.execute(select(payouts.c.id).where(*mine)).scalar()
        if id is None:
            return None
        payout = rows.locked(connection, id)
        doing = Doing(outcome.standing.value, f"provider:{said.provider}", now_ms, outcome.reason)
        return _hear(connection, payout, outcome, doing, said.batch)


def _hear(connection: Connection, payout: Payout, outcome: Outcome, doing: Doing, batch: str | None) -> Payout:
    if outcome.standing is Standing.NOT_SENT:
        return _not_sent(connection, payout, doing, batch)
    stale = 0 < outcome.at_ms < payout.said_ms
    said_ms, ref = max(outcome.at_ms, payout.said_ms), outcome.ref or payout.ref
    path = _PATHS[outcome.standing].get(payout.state)
    if path is None:
        return payout if stale else _contradicted(connection, payout, doing)
    for to in path:
        more = {"retryable": outcome.retryable} if to is State.FAILED else {}
        payout = rows.move(
            connection, payout, to, doing, reason=doing.reason[: limits.REASON_CHARS_MAX], tries=0, **more
        )
    if (said_ms, ref) != (payout.said_ms, payout.ref):
        payout = rows.change(connection, payout, said_ms=said_ms, ref=ref)
    return payout


_Path = tuple[State, ...]
_NOTHING: dict[State, _Path] = dict.fromkeys(State, ())
# The moves that an answer makes, by the state in which it comes. A state that is not there contradicts the answer.
_PATHS: dict[Standing, dict[State, _Path]] = {
    Standing.UNKNOWN: _NOTHING | {State.SUBMITTED: (State.UNKNOWN,)},
    Standing.PENDING: _NOTHING | {State.UNKNOWN: (State.SUBMITTED,)},  # it comes late: nothing is undone
    Standing.PAID: dict.fromkeys(OUT, (State.PAID,)) | {State.PAID: ()},
    Standing.FAILED: dict.fromkeys(OUT, (State.FAILED,))
    | {State.PAID: (State.RETURNED,)}  # services call so what a bank sends back later
    | {State.FAILED: (), State.RETURNED: ()},
    Standing.RETURNED: dict.fromkeys(OUT, (State.PAID, State.RETURNED))  # that it was paid was lost, or comes later
    | {State.PAID: (State.RETURNED,), State.RETURNED: ()},
}


def _not_sent(connection: Connection, payout: Payout, doing: Doing, batch: str | None) -> Payout:
    """It never left: it is sent again, with the same key. An answer about an earlier submission says nothing."""
    if batch != payout.batch:
        return payout
    if payout.state not in OUT:
        return payout if payout.state is State.APPROVED else _contradicted(connection, payout, doing)
    wait_ms = min(bounds.AGAIN_MS << min(payout.tries, bounds.TRIES_MAX), bounds.POLL_MS_MAX)
    more = {"tries": payout.tries + 1, "due_ms": doing.at_ms + wait_ms, "batch": "", "reason": doing.reason}
    return rows.move(connection, payout, State.APPROVED, doing, **more)


def _contradicted(connection: Connection, payout: Payout, doing: Doing) -> Payout:
    """Keep what is decided, and tell people, once for each thing that is said."""
    said = payout_acts.c.payout == payout.id, payout_acts.c.act == "contradict", payout_acts.c.reason == doing.act
    if connection.execute(select(payout_acts.c.n).where(*said)).first() is not None:
        return payout
    log.error("payout_contradicted", payout=payout.id, state=payout.state.value, provider_says=doing.act)
    rows.note(connection, payout, Doing("contradict", doing.by, doing.at_ms, doing.act))
    return rows.change(connection, payout, alarm="contradicted")
