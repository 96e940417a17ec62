"""Everything that SQL has of a person: to hand it out, and to erase names and texts of it.

A person's id stays on rows of the ledger, of moderation and of suspensions: they must add up, and go on to hold. A
table or column that stands nowhere here fails a test (tests/journal/test_privacy.py).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Column, ColumnElement, Engine, Table, delete, false, or_, select, tuple_, update

from protocol.wire import Named
from server import limits
from server.journal import tables as t
from server.journal.database import patient, reading
from server.journal.payouts import payout_acts, payouts, withholdings
from server.journal.people import Standing
from server.journal.points import fan_points


class Place(NamedTuple):
    """A table with people in it: columns that name them, that stay (no names, no texts), and that get a value."""

    table: Table
    who: tuple[str, ...]
    stays: str
    erased: tuple[tuple[str, Any], ...] = ()
    of: str = ""  # whose texts these are, if not of everybody whom `who` names
    deleted: bool = False  # the whole row goes

    def has(self, user_id: str) -> ColumnElement[bool]:
        """The condition of a person's rows."""
        return or_(*(self.table.c[name].in_(_ids(name, user_id)) for name in self.who))


def _ids(column: str, user_id: str) -> tuple[str, ...]:
    accounts = ("viewer", "creator", "held")
    return tuple(f"{each}:{user_id}" for each in accounts) if column == "account" else (user_id,)


_AT = "partition epoch n"
PLACES = (
    Place(
        t.entries,
        ("user_id", "creator_id"),
        f"{_AT} kind ref room_id coins diamonds balance credited combo_count at_ms body hash version",
        (("text", None),),
    ),
    Place(t.legs, ("account",), f"{_AT} leg asset amount"),
    Place(t.positions, ("account",), "partition balance"),
    Place(t.topups, ("user_id",), "id coins source at_ms state balance sale"),
    Place(t.reversals, ("user_id",), "kind ref body state at_ms", (("reason", ""),)),
    Place(t.reversal_parts, ("user_id", "creator"), "kind reversal gift gift_day coins diamonds maturity_days"),
    Place(t.creator_days, ("creator",), "gift_day maturity_days credited taken_back gifts"),
    Place(t.lot_snapshots, ("user_id",), "epoch n format lots"),
    Place(t.people, ("user_id",), "room_id version changed_ms standing"),  # `_without_texts`
    Place(
        t.moderation,
        ("user_id", "by_id"),
        "id room_id at_ms act told by_name",  # `by_name`: below
        (("reason", ""), ("data", "{}"), ("event", None)),
        of="user_id",
    ),
    Place(t.broadcasts, ("host_id",), "id room_id started_at_ms ended_at_ms summary"),  # `_without_name`
    Place(t.room_people, ("user_id",), "room_id broadcast_id first_ms", deleted=True),
    Place(t.givers, ("user_id",), "gifts epoch n at_ms level room_id told"),
    Place(fan_points, ("host_id", "user_id"), "watch chat day day_watch day_chat watch_minute chat_minute"),
    Place(t.revocations, ("user_id",), "room_id revoked_ms"),
    Place(t.catalogues, ("owner",), "kind version body changed_ms"),
    Place(t.users, ("user_id",), "version changed_ms", (("known", "{}"),)),
    Place(
        t.suspensions,
        ("user_id",),
        "id capability from_ms until_ms appeal ended_ms",
        (("reason", ""), ("statement", ""), ("appeal_text", "")),
    ),
    Place(
        payouts,
        ("creator",),
        "id state asked diamonds rate currency gross fee withheld net tax provider key batch payee_hash flags eyes "
        "reason retryable ref said_ms requested_ms changed_ms sent_ms due_ms late_ms tries alarm",
        (("payee", None),),
    ),
    Place(payout_acts, ("by_id",), "payout n at_ms act reason before after"),  # a record that staff must answer for
    Place(withholdings, ("creator",), "payout kind rate tax currency gross withheld at_ms"),  # tax law wants it kept
)
# Tables without people, and why.
NOBODY = {
    "quarantine": "entries that an operator has to look at, and then are journaled or go",
    "audits": "findings name ids of rows; they go after a week",
    "audit_heads": "hashes and sums",
    "money_time": "a clock",
    "watermarks": "positions",
    "openings": "stores",
    "due_work": "ids of what is to be done",
    "room_rules": "a room's",
    "goals": "a room's",
    "rate_cards": "everybody may read them",
}


# --- handing it out --------------------------------------------------------------------------------------------------
def pages(engine: Engine, user_id: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """All rows of a person, some at a time: the table's name and rows. Raises SQLAlchemyError."""
    for place in PLACES:
        after: tuple[Any, ...] | None = None
        while rows := _page(engine, place, user_id, after):
            yield str(place.table.name), [_shown(row) for row in rows]
            after = tuple(rows[-1][column.name] for column in _key(place))


def _key(place: Place) -> list[Column[Any]]:
    return list(place.table.primary_key.columns)


def _page(engine: Engine, place: Place, user_id: str, after: tuple[Any, ...] | None) -> list[dict[str, Any]]:
    key = _key(place)
    query = select(place.table).where(place.has(user_id)).order_by(*key).limit(limits.EXPORT_ROWS)
    if after is not None:
        query = query.where(tuple_(*key) > after)
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}


# --- erasing ---------------------------------------------------------------------------------------------------------
def erase(engine: Engine, user_id: str) -> dict[str, int]:
    """Erase a person's names and texts. Returns how many rows have changed, by table. Raises SQLAlchemyError.

    Several transactions, each of which may come again: who is interrupted erases once more.
    """
    found = {str(place.table.name): _erase_in(engine, place, user_id) for place in PLACES}
    found[t.moderation.name] += _nameless(engine, user_id)
    found[t.people.name] += _without_texts(engine, user_id)
    found[t.broadcasts.name] += _without_name(engine, user_id)
    return {name: rows for name, rows in found.items() if rows}


def _erase_in(engine: Engine, place: Place, user_id: str) -> int:
    table = place.table
    if place.deleted:
        with engine.begin() as connection:
            return connection.execute(delete(table).where(place.has(user_id))).rowcount
    if not place.erased:
        return 0
    whose = place._replace(who=(place.of,)).has(user_id) if place.of else place.has(user_id)
    left = or_(false(), *(table.c[name].is_distinct_from(value) for name, value in place.erased))
    if table is not t.entries:
        with engine.begin() as connection:
            return connection.execute(update(table).where(whose, left).values(dict(place.erased))).rowcount
    return _erase_entries(engine, whose, left)


def _erase_entries(engine: Engine, whose: ColumnElement[bool], left: ColumnElement[bool]) -> int:
    """A creator may have millions: some per transaction, so that the drain goes on."""
    key, done = tuple_(*t.entries.primary_key.columns), 0
    some = select(*t.entries.primary_key.columns).where(whose, left).limit(limits.EXPORT_ROWS)
    while True:
        with patient(engine, limits.SQL_DRAIN_S).begin() as connection:
            rows = connection.execute(update(t.entries).where(key.in_(some)).values(text=None)).rowcount
        done += rows
        if rows < limits.EXPORT_ROWS:
            return done


def _nameless(engine: Engine, user_id: str) -> int:
    """What staff did stays, without the name that they had."""
    mine = (t.moderation.c.by_id == user_id, t.moderation.c.by_name != "")
    with engine.begin() as connection:
        return connection.execute(update(t.moderation).where(*mine).values(by_name="")).rowcount


def _without_texts(engine: Engine, user_id: str) -> int:
    """What is decided about somebody stays, without the words. Who warned is named by their id."""
    table, changed = t.people.c, 0
    with engine.begin() as connection:
        found = select(t.people).where(or_(table.user_id == user_id, table.standing.contains(_quoted(user_id))))
        for row in connection.execute(found).all():
            before = msgspec.json.decode(row.standing, type=Standing)
            after = before
            if row.user_id == user_id:
                after = msgspec.structs.replace(after, banned_for="", warned="\u2026" if before.warned else "")
            if after.warned_by is not None and after.warned_by.user_id == user_id:
                after = msgspec.structs.replace(after, warned_by=Named(user_id, user_id))
            if after != before:
                this = (table.room_id == row.room_id, table.user_id == row.user_id)
                values = {"standing": msgspec.json.encode(after).decode(), "version": row.version + 1}
                changed += connection.execute(update(t.people).where(*this).values(values)).rowcount
    return changed


def _without_name(engine: Engine, user_id: str) -> int:
    """Summaries of broadcasts name their hosts and best fans."""
    table, changed = t.broadcasts.c, 0
    with patient(engine, limits.SQL_AUDIT_S).begin() as connection:
        for row in connection.execute(select(t.broadcasts).where(table.summary.contains(_quoted(user_id)))).all():
            summary = scrubbed(msgspec.json.decode(row.summary), user_id)
            body = msgspec.json.encode(summary).decode()
            if body != row.summary:
                changed += connection.execute(
                    update(t.broadcasts).where(table.id == row.id).values(summary=body)
                ).rowcount
    return changed


def _quoted(user_id: str) -> str:
    return f'"{user_id}"'


def scrubbed(value: Any, user_id: str) -> Any:
    """Decoded JSON in which a person has their id for a name, wherever both stand together, and has said nothing."""
    if isinstance(value, list):
        return [scrubbed(each, user_id) for each in value]
    if not isinstance(value, dict):
        return value
    found = {name: scrubbed(each, user_id) for name, each in value.items()}
    if found.get("user_id") == user_id and "name" in found:
        found["name"] = user_id
    if any(_is(found.get(name), user_id) for name in ("user", "from")):
        for name, nothing in (("text", ""), ("message", None)):
            if isinstance(found.get(name), str):
                found[name] = nothing
        found.pop("fragments", None)
    return found


def _is(person: Any, user_id: str) -> bool:
    return isinstance(person, dict) and person.get("user_id") == user_id
