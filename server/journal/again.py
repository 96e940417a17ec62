"""Verifies everything again within a day, a slice per audit: a changed row below a head does not stay hidden."""

import math

import msgspec
from sqlalchemy import Connection, Engine

from server import limits
from server.journal import accounts
from server.journal.database import reading
from server.journal.findings import Wrong
from server.journal.heads import START, Heads, Verified
from server.journal.seen import see
from server.journal.verify import follow


def size(heads: Heads, passed_s: float) -> int:
    """How many rows a slice has, so that all of them have their turn within AUDIT_AGAIN_S."""
    rows = sum(known.head.totals.flat.entries for known in heads.known.values())
    share = math.ceil(rows * min(1.0, passed_s / limits.AUDIT_AGAIN_S))
    return min(limits.AUDIT_AGAIN_MAX, limits.AUDIT_AGAIN_MIN + share)


def verify_slice(engine: Engine, heads: Heads, most: int, now_ms: int) -> list[Wrong]:
    """Verify at most so many rows again, those first that were verified longest ago. Raises SQLAlchemyError."""
    wrong: list[Wrong] = []
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:  # one: a slice takes a second at most
        for partition in sorted(heads.known.keys() - heads.fresh, key=lambda p: heads.known[p].whole_ms):
            if most <= 0:
                break
            known = heads.known[partition]
            left = known.head.totals.flat.entries - known.again.totals.flat.entries
            known, found = _go_on(connection, partition, known, most, now_ms)
            most -= max(1, left)
            wrong += found
            heads.known[partition] = known
    return wrong


def _go_on(
    connection: Connection, partition: int, known: Verified, most: int, now_ms: int
) -> tuple[Verified, list[Wrong]]:
    """Verify a partition further, and at its end compare with its head."""
    since_ms = known.again_since_ms if known.again.position > START.position else now_ms
    head = known.head
    seen = see(connection, {partition: known.again})[partition]
    wrong, again = follow(connection, partition, known.again, head.position, seen, most=most)
    if wrong:
        return known, wrong
    read = again.totals.flat.entries - known.again.totals.flat.entries
    if read == most and again.position < head.position:
        return msgspec.structs.replace(known, again=again, again_since_ms=since_ms), []
    if (again.position, again.hash, again.totals) != (head.position, head.hash, head.totals):
        return known, [Wrong(partition, str(head), "its rows are not those that were verified before")]
    wrong = accounts.differ(connection, partition)
    return (known, wrong) if wrong else (Verified(head, since_ms), [])
