"""What people do with a payout: approve, reject, cancel, submit, and say what became of it when the provider cannot."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from server.payouts import rows
from server.payouts.rows import Act, Doing, Forbidden, Payout, acts_of
from server.payouts.states import OUT, State


class OwnPayout(Exception):
    """Nobody approves what they get themselves."""


class Desk:
    """Carries out acts. Each is one transaction with its entry; of two at once the second finds who was first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def act(self, id: str, doing: Doing, *, retryable: bool = False) -> Payout:
        """Do one of ACTS. The same person's repetition changes nothing.

        Raises NoSuchPayout, Forbidden, OwnPayout, BooksFrozen, SQLAlchemyError.
        """
        with self._engine.begin() as connection:
            payout = rows.locked(connection, id)
            acts = acts_of(connection, id)
            if (acts[-1].act, acts[-1].by) == (doing.act, doing.by):
                return payout
            return ACTS[doing.act](connection, payout, acts, doing, retryable)


def _approve(connection: Any, payout: Payout, acts: list[Act], doing: Doing, _: bool) -> Payout:
    if doing.by == payout.creator:
        raise OwnPayout
    if payout.state not in (State.REQUESTED, State.REVIEWING):
        raise Forbidden(payout, acts[-1])
    approved = {act.by for act in acts if act.act == "approve"} | {doing.by}
    if len(approved) < payout.eyes:
        rows.note(connection, payout, doing)
        return payout
    return rows.move(connection, payout, State.APPROVED, doing, due_ms=doing.at_ms)


def _reject(connection: Any, payout: Payout, acts: list[Act], doing: Doing, _: bool) -> Payout:
    return rows.move(connection, payout, State.REJECTED, doing, reason=doing.reason)


def _cancel(connection: Any, payout: Payout, acts: list[Act], doing: Doing, _: bool) -> Payout:
    return rows.move(connection, payout, State.CANCELLED, doing, reason=doing.reason)


def _submit(connection: Any, payout: Payout, acts: list[Act], doing: Doing, _: bool) -> Payout:
    """Let it leave now, and not when its next try is due."""
    if payout.state is not State.APPROVED:
        raise Forbidden(payout, acts[-1])
    rows.note(connection, payout, doing)
    return rows.change(connection, payout, due_ms=doing.at_ms)


def _paid(connection: Any, payout: Payout, acts: list[Act], doing: Doing, _: bool) -> Payout:
    return rows.move(connection, payout, State.PAID, doing, reason=doing.reason, alarm="")


def _fail(connection: Any, payout: Payout, acts: list[Act], doing: Doing, retryable: bool) -> Payout:
    """It was not paid, or the money came back: somebody has asked the provider."""
    more = {"reason": doing.reason, "alarm": ""}
    if payout.state is State.PAID:
        return rows.move(connection, payout, State.RETURNED, doing, **more)
    if payout.state not in OUT:
        raise Forbidden(payout, acts[-1])
    return rows.move(connection, payout, State.FAILED, doing, retryable=retryable, **more)


Doer = Callable[[Any, Payout, list[Act], Doing, bool], Payout]
ACTS: dict[str, Doer] = {
    "approve": _approve,
    "reject": _reject,
    "cancel": _cancel,
    "submit": _submit,
    "paid": _paid,
    "fail": _fail,
}
