"""Rows of payouts for entries of the books that a test has written without a payout desk."""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from server import limits
from server.entries import HOLD, PAID, RELEASE, RETURN, Body
from server.journal.payouts import payouts
from server.journal.tables import entries

STATES = {HOLD.name: "submitted", RELEASE.name: "cancelled", PAID.name: "paid", RETURN.name: "returned"}


def write_payout_rows(connection: Connection) -> None:
    """Give each payout in the books the row that its entries ask for."""
    found: dict[str, dict[str, Any]] = {}
    query = select(entries.c.body, entries.c.at_ms).where(entries.c.partition == limits.BOOKS).order_by(entries.c.n)
    for body, at_ms in connection.execute(query):
        about = msgspec.json.decode(body, type=Body)
        if about.kind not in STATES:
            continue
        row = found.setdefault(about.id, _new(about, at_ms))
        row["state"] = STATES[about.kind]
        if about.money is not None:
            money = about.money
            row |= {"currency": money.currency, "net": money.net, "fee": money.fee, "withheld": money.withheld}
            row["provider"] = about.provider
    for row in found.values():
        connection.execute(insert(payouts).values(row))


def _new(about: Body, at_ms: int) -> dict[str, Any]:
    numbers = dict.fromkeys(
        ("gross", "fee", "withheld", "net", "eyes", "retryable", "said_ms", "requested_ms", "changed_ms", "sent_ms"), 0
    )
    numbers |= {"due_ms": at_ms, "late_ms": at_ms, "tries": 0}
    texts = dict.fromkeys(("asked", "tax", "provider", "batch", "payee_hash", "reason", "ref", "alarm"), "")
    row = {"id": about.id, "key": about.id, "creator": about.creator, "diamonds": about.diamonds, "rate": about.rate}
    return {**numbers, **texts, **row, "currency": "EUR", "flags": "[]"}
