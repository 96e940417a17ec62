"""Everything kept of a person is handed out; names and texts of it can be erased, and the ledger stays whole."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Engine, LargeBinary, String, Table, Text, insert, select

from server import limits
from server.journal import database, privacy
from server.journal.privacy import NOBODY, PLACES, scrubbed
from server.journal.tables import entries, metadata
from server.rooms.privacy import REWRITE
from server.store import keys
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import rows
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
NAME, SAID = "Erin Example", "my street is Elm 7"


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


def test_every_column_is_covered() -> None:
    """A new table or column says whether it is about a person, and then what becomes of it."""
    tables = {place.table.name: place for place in PLACES}
    assert set(tables) | set(NOBODY) == set(metadata.tables)
    assert not set(tables) & set(NOBODY)
    for name, place in tables.items():
        named = [*place.who, *place.stays.split(), *(column for column, _ in place.erased)]
        assert sorted(named) == sorted(place.table.columns.keys()), name


def _row(table: Table, who: str, value: str, n: int) -> dict[str, Any]:
    """A row of somebody in which every text has something personal."""
    row: dict[str, Any] = {}
    for column in table.columns:
        if isinstance(column.type, LargeBinary):
            row[column.name] = b"x"
        elif isinstance(column.type, String | Text):
            row[column.name] = f"{column.name}{n}"[: column.type.length or 64]
        else:
            row[column.name] = n
    [place] = [place for place in PLACES if place.table is table]
    row |= {name: value for name, value in place.erased if value is not None and name not in place.who}
    row |= {column: json.dumps({"secret": SAID}) if column in ("known", "data") else SAID for column, _ in place.erased}
    return row | {who: value}


def filled(engine: Engine, user_id: str) -> int:
    """A row of this person in every table, for each column that may name them. Returns how many."""
    count = 0
    special = {
        "standing": json.dumps({"banned_for": SAID, "banned_until_ms": 5, "warned": SAID}),
        "summary": json.dumps({"host": {"user_id": user_id, "name": NAME}, "top_fans": []}),
        "capability": "chat",
        "known": json.dumps({"identity": "secret"}),
    }
    with engine.begin() as connection:
        for place in PLACES:
            for who in place.who:
                count += 1
                row = _row(place.table, who, f"viewer:{user_id}" if who == "account" else user_id, count)
                row |= {name: value for name, value in special.items() if name in row}
                if who == "by_id" and "by_name" in row:
                    row["by_name"] = NAME
                if place.of and who != place.of:  # what staff says of others is theirs
                    row |= {name: value for name, value in place.erased}
                connection.execute(insert(place.table).values(row))
    return count


def everything(engine: Engine) -> str:
    """All that the database has, as one text."""
    with engine.connect() as connection:
        return "\n".join(str(row) for table in metadata.sorted_tables for row in connection.execute(select(table)))


def test_all_of_it_is_handed_out_and_erased(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row per table and column: all are handed out; no text is left; a second time there is nothing to erase."""
    monkeypatch.setattr(limits, "EXPORT_ROWS", 2)
    engine = database.connect(journal)
    count = filled(engine, "erin")
    filled_of_other = everything(engine).count(SAID)
    found = [row for _, page in privacy.pages(engine, "erin") for row in page]
    assert len(found) == count
    assert str(found).count(SAID) == filled_of_other > 0
    assert list(privacy.pages(engine, "erin2")) == []
    assert privacy.erase(engine, "nobody") == {}
    assert everything(engine).count(SAID) == filled_of_other
    changed = privacy.erase(engine, "erin")
    left = everything(engine)
    assert SAID not in left
    assert NAME not in left
    assert "secret" not in left
    assert changed["entries"] == 2
    touched = "entries reversals people moderation broadcasts room_people users suspensions payouts"
    assert set(changed) == set(touched.split())
    assert privacy.erase(engine, "erin") == {}
    engine.dispose()


def test_scrubbed_only_of_one_person() -> None:
    """Others keep their names and what they said; a reply keeps its own text."""
    erin, ann = {"user_id": "erin", "name": NAME, "role": "viewer"}, {"user_id": "ann", "name": "Ann", "role": "viewer"}
    reply = {"type": "chat.sent", "user": ann, "text": "hi", "reply_to": {"id": "1", "user": erin, "text": SAID}}
    assert scrubbed(reply, "erin") == {
        **reply,
        "reply_to": {"id": "1", "user": {**erin, "name": "erin"}, "text": ""},
    }
    assert scrubbed(reply, "ann")["text"] == ""
    assert scrubbed(reply, "ann")["reply_to"]["text"] == SAID
    gift = {"type": "gifts.sent", "from": erin, "to": ann, "message": SAID, "coins": 5}
    assert scrubbed([gift], "erin") == [{**gift, "from": {**erin, "name": "erin"}, "message": None}]
    assert scrubbed(gift, "ann") == {**gift, "to": {**ann, "name": "ann"}}


async def test_a_person_goes(desk: Desk, another_site: MakeSite, stores: Stores) -> None:
    """Chat, gifts with messages, suspensions: handed out, then gone from SQL and the rooms; the audit is right."""
    site, http = desk.site, desk.site.http
    order = {"sub": "alice", "name": NAME, "role": "viewer"}
    token = (await http.post("/v1/tokens", json=order)).json()["token"]
    alice, bob = await site.join("alice", token=token), await site.join("bob")
    said = await alice.ask("chat.send", text=SAID)
    await bob.happened("chat.sent", text=SAID)
    assert (await bob.ask("chat.send", text="me too", reply_to=said["id"]))["type"] == "ok"
    assert (await alice.gift("coffee", 3, message=SAID))["type"] == "ok"
    assert (await bob.gift("rose"))["type"] == "ok"
    await bob.happened("gifts.sent", coins=30)
    await bob.happened("gifts.sent", coins=1)
    order = {"id": "s1", "capability": "payout", "reason": "r", "statement": SAID}
    await http.post("/v1/users/alice/suspensions", json=order)
    await http.put("/v1/users/alice", json={"region": "DE"})
    await desk.journal()
    export = (await http.get("/v1/users/alice/export")).json()
    assert (export["complete"], export["wallet"]["coins"]) == (True, 9_970)
    assert {entry["kind"] for entry in export["tables"]["entries"]} == {"topup", "gift"}
    assert [each["statement"] for each in export["tables"]["suspensions"]] == [SAID]
    assert {"chat.sent", "gifts.sent"} <= {event["type"] for event in export["rooms"][0]["events"]}
    before = (await http.get("/v1/rooms/demo")).json()
    await alice.connection.close()
    erased = await http.post("/v1/users/alice/erase", json={"user_id": "alice"})
    assert erased.json()["rows"] == {"entries": 1, "users": 1, "suspensions": 1}
    assert erased.json()["rooms"] == 1
    assert SAID not in everything(site.node.engine)
    assert NAME not in everything(site.node.engine)
    with stores.room.client() as room:
        events = room.xrange(keys.room("demo", keys.EVENTS))
        assert room.hget(keys.room("demo", "names"), "alice") == "alice"
    assert SAID not in str(events)
    assert NAME not in str(events)
    after = (await http.get("/v1/rooms/demo")).json()
    same = ("epoch", "coins", "likes", "started_at_ms")
    assert [after[name] for name in same] == [before[name] for name in same]
    seqs = [int(id.split("-")[0]) for id, _ in events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    fresh = await another_site()
    late = await fresh.join("carl", since=None)
    assert SAID not in str(late.told)
    found = rows(site.node.engine, entries, entries.c.kind == "gift")
    assert {row.user_id: row.text is None for row in found} == {"alice": True, "bob": False}
    again = await http.post("/v1/users/alice/erase", json={"user_id": "alice"})
    assert again.json()["rows"] == {}
    assert (await http.get("/v1/users/alice")).json()["suspended_from"] == ["payout"]


async def test_a_creator_goes(desk: Desk) -> None:
    """Their rooms show their id, and gifts to them have no text any more; what they earned stays."""
    site, http = desk.site, desk.site.http
    await http.put("/v1/rooms/hers", json={"host": {"user_id": "erin", "name": NAME}})
    await http.post("/v1/rooms/hers/start")
    bob = await site.join("bob", room="hers")
    await bob.gift("coffee", 2)
    await bob.happened("gifts.sent", coins=20)
    await desk.journal()
    earned = (await http.get("/v1/creators/erin/earnings")).json()
    assert (await http.post("/v1/users/erin/erase", json={"user_id": "erin"})).json()["rows"] == {"entries": 1}
    assert (await http.get("/v1/rooms/hers")).json()["host"] == {"user_id": "erin", "name": "erin"}
    assert NAME not in everything(site.node.engine)
    for event in (await http.get("/v1/rooms/hers/events")).json()["events"]:
        assert NAME not in str(event), event
    assert (await http.get("/v1/creators/erin/earnings")).json() == earned
    assert earned["pending"] == 10


async def test_orders_that_are_refused(site: Site) -> None:
    """Who is erased is said twice."""
    for order, status in (({"user_id": "bob"}, 409), ({}, 400)):
        assert (await site.http.post("/v1/users/alice/erase", json=order)).status_code == status
    assert (await site.http.get("/v1/users/alice/export", headers={"Authorization": ""})).status_code == 401


async def test_a_rewrite_changes_only_what_it_read(site: Site, stores: Stores) -> None:
    """What came in between stays, as do the order and the expiry of the history."""
    history = site.node.history
    alice = await site.join("alice")
    await alice.ask("chat.send", text=SAID)
    await alice.happened("chat.sent")
    events = keys.room("demo", keys.EVENTS)
    with stores.room.client() as room:
        before = room.xrange(events)
        room.pexpire(events, 100_000)
    change = {"key": events, "field": before[-1][0], "before": "something else", "after": "{}"}
    await history.change("demo", REWRITE, own=keys.room("demo", "own", "alice"), user_id="alice", each=[change])
    with stores.room.client() as room:
        assert room.xrange(events) == before
        assert 0 < room.pttl(events) <= 100_000
