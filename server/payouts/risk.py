"""The rules that flag a payout, so that a person looks at it. They look at the creator's newest gifts."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, func, select

from server import limits
from server.entries import GIFT
from server.journal.payouts import payouts
from server.journal.tables import entries, topups
from server.payouts import bounds
from server.payouts.states import State


class Given(Struct, frozen=True):
    """A gift as the rules see it."""

    viewer: str
    diamonds: int
    at_ms: int


class Bought(Struct, frozen=True):
    """A top-up: `source` is `<channel>:<instrument>` where the platform says which card or account paid."""

    viewer: str
    source: str
    at_ms: int


def flags(connection: Connection, creator: str, payee_hash: str, now_ms: int) -> list[str]:
    """Why somebody should look at a payout that this creator asks for now. Raises SQLAlchemyError."""
    gifts = _gifts(connection, creator, now_ms)
    bought = _bought(connection, {gift.viewer for gift in gifts} | {creator}, now_ms)
    found = [
        ("fresh_topups", fresh(gifts, bought)),
        ("one_fan", one_fan(gifts)),
        ("shared_funding", shared_funding(creator, gifts, bought)),
        ("new_account", _is_new(connection, creator, now_ms)),
        ("velocity", _is_fast(connection, creator, now_ms)),
        ("other_account", _another_account(connection, creator, payee_hash)),
    ]
    return [name for name, flagged in found if flagged]


def fresh(gifts: Sequence[Given], bought: Sequence[Bought]) -> bool:
    """Whether most of it was given within minutes of a top-up: money that passes through."""
    times: dict[str, list[int]] = defaultdict(list)
    for each in bought:
        times[each.viewer].append(each.at_ms)
    quick = sum(
        gift.diamonds
        for gift in gifts
        if any(0 <= gift.at_ms - at_ms <= bounds.FRESH_MS for at_ms in times[gift.viewer])
    )
    return quick * 100 > bounds.FRESH_PERCENT * max(1, sum(gift.diamonds for gift in gifts))


def one_fan(gifts: Sequence[Given]) -> bool:
    """Whether nearly all of it came from one viewer."""
    by: Counter[str] = Counter()
    for gift in gifts:
        by[gift.viewer] += gift.diamonds
    return bool(by) and max(by.values()) * 100 > bounds.FAN_PERCENT * sum(by.values())


def shared_funding(creator: str, gifts: Sequence[Given], bought: Sequence[Bought]) -> bool:
    """Whether fans pay with the creator's own instrument, or most of it came from fans who share one."""
    by: dict[str, set[str]] = defaultdict(set)
    for each in bought:
        if ":" in each.source:
            by[each.source].add(each.viewer)
    rings = [people for people in by.values() if len(people) >= bounds.RING_MIN]
    if any(creator in people for people in rings):
        return True
    shared = {viewer for people in rings for viewer in people}
    of_rings = sum(gift.diamonds for gift in gifts if gift.viewer in shared)
    return of_rings * 2 > sum(gift.diamonds for gift in gifts)


def _gifts(connection: Connection, creator: str, now_ms: int) -> list[Given]:
    query = (
        select(entries.c.user_id, entries.c.diamonds, entries.c.at_ms)
        .where(
            entries.c.creator_id == creator,
            entries.c.kind == GIFT.name,
            entries.c.at_ms >= now_ms - bounds.FAN_DAYS * limits.DAY_MS,
        )
        .order_by(entries.c.at_ms.desc())
        .limit(bounds.FAN_GIFTS_MAX)
    )
    return [Given(*row) for row in connection.execute(query)]


def _bought(connection: Connection, viewers: set[str], now_ms: int) -> list[Bought]:
    since_ms = now_ms - bounds.FAN_DAYS * limits.DAY_MS - bounds.FRESH_MS
    found: list[Bought] = []
    some = sorted(viewers)
    for start in range(0, len(some), limits.SQLITE_ROWS):
        chunk = some[start : start + limits.SQLITE_ROWS]
        query = select(entries.c.user_id, topups.c.source, entries.c.at_ms).join(topups, topups.c.id == entries.c.ref)
        mine = (entries.c.user_id.in_(chunk), entries.c.kind == "topup", entries.c.at_ms >= since_ms)
        found += [Bought(*row) for row in connection.execute(query.where(*mine))]
    return found


def _is_new(connection: Connection, creator: str, now_ms: int) -> bool:
    query = select(func.min(entries.c.at_ms)).where(entries.c.creator_id == creator, entries.c.at_ms > 0)
    first_ms = connection.execute(query).scalar()
    return first_ms is None or now_ms - first_ms < bounds.NEW_DAYS * limits.DAY_MS


def _is_fast(connection: Connection, creator: str, now_ms: int) -> bool:
    since_ms = now_ms - bounds.VELOCITY_DAYS * limits.DAY_MS
    query = select(func.count()).where(payouts.c.creator == creator, payouts.c.requested_ms >= since_ms)
    return int(connection.execute(query).scalar_one()) >= bounds.VELOCITY_MAX


def _another_account(connection: Connection, creator: str, payee_hash: str) -> bool:
    """Whether earlier payouts went to another account: somebody may have taken the creator's token."""
    query = select(payouts.c.payee_hash).where(payouts.c.creator == creator, payouts.c.state == State.PAID.value)
    before = set(connection.execute(query.distinct()).scalars())
    return bool(before) and payee_hash not in before
