"""What is decided about a room's people: three copies, of which SQL is the first, and which the others follow."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.exc import OperationalError

from server.journal import people as journal
from server.journal.people import FOREVER_MS, NOTHING, Standing, Version
from server.rooms.people import PEOPLE, People, muted_until_ms, read_people
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of, refused_at
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def test_decisions_outlive_the_room_store(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """A room store that lost everything but the rooms gets all of it back from SQL, before anybody comes in."""
    host = await host_of(site)
    for verb, user in (("ban", "alice"), ("mute", "bob"), ("promote", "carol"), ("hide", "dave")):
        assert (await host.ask(f"members.{verb}", user_id=user))["type"] == "ok"
    with stores.room.client() as client:
        client.delete(keys.room("demo", "people"))
    there = await another_site()
    assert await refused_at(there, "alice") == 403
    assert (await (await there.join("bob")).ask("chat.send", text="no"))["reason"] == "muted"
    assert (await there.join("carol")).welcome["you"]["role"] == "moderator"
    assert [one["user_id"] for one in (await (await host_of(there)).ask("members.list"))["members"]] == [
        "alice",
        "bob",
        "carol",
        "dave",
    ]


@pytest.mark.parametrize(
    ("standing", "broadcast_id", "until_ms"),
    [
        (NOTHING, "b1", None),
        (Standing(muted_until_ms=2_000), "b1", 2_000),
        (Standing(muted_until_ms=1_000), "b1", None),
        (Standing(muted_until_ms=FOREVER_MS, muted_in="b1"), "b1", FOREVER_MS),
        (Standing(muted_until_ms=FOREVER_MS, muted_in="b1"), "b2", None),
        (Standing(muted_until_ms=FOREVER_MS, muted_in="b1"), None, None),
    ],
)
def test_when_a_mute_ends(standing: Standing, broadcast_id: str | None, until_ms: int | None) -> None:
    """At its time, or with its broadcast; the clock says 1,000."""
    assert muted_until_ms(standing, broadcast_id, 1_000) == until_ms


def test_only_what_is_newer_is_learnt() -> None:
    """A message that overtook another changes nothing."""
    people = People({"alice": Version(2, Standing(hidden=True))}, whole=True)
    people.learn("alice", Version(1, NOTHING))
    assert people.of("alice").hidden
    people.learn("alice", Version(3, NOTHING))
    assert people.of("alice") == people.of("bob") == NOTHING


async def test_a_copy_that_is_older_than_sql_is_made_again(site: Site, stores: Stores) -> None:
    """A store that lost its last second has a new epoch: SQL's decisions go over older ones, not over newer ones."""
    host = await host_of(site)
    for user in ("alice", "bob"):
        await host.ask("members.ban", user_id=user)
    key = keys.room("demo", PEOPLE)
    with stores.room.client() as client:
        client.hset(key, mapping={"": "an-older-epoch", "alice": "0 {}", "bob": '9 {"hidden":true}'})
    node = site.node
    people = await read_people(node.history, node.engine, "demo", (await node.history.meta("demo"))["epoch"])
    assert people.whole
    assert (people.of("alice").banned_until_ms, people.of("bob").hidden) == (FOREVER_MS, True)
    with stores.room.client() as client:
        assert client.hget(key, "bob") == '9 {"hidden":true}'
        assert str(client.hget(key, "alice")).startswith("1 ")


async def test_chat_goes_on_without_sql(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """While SQL is away a room opens with what the store has, decisions are refused, and later all is there."""
    host = await host_of(site)
    await host.ask("members.ban", user_id="alice")
    node, epoch = site.node, (await site.node.history.meta("demo"))["epoch"]
    with stores.room.client() as client:
        client.delete(keys.room("demo", PEOPLE))

    def away(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(journal, "standings", away)
        patch.setattr(journal, "record", away)
        assert not (await read_people(node.history, node.engine, "demo", epoch)).whole
        assert (await host.ask("members.ban", user_id="bob"))["reason"] == "unavailable"
        assert (await host.ask("chat.send", text="still here"))["type"] == "ok"
    people = await read_people(node.history, node.engine, "demo", epoch)
    assert (people.whole, people.of("alice").banned_until_ms) == (True, FOREVER_MS)


async def test_a_lost_aside_is_read_later(site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that missed a decision on the bus reads the copy again, and puts out who is banned."""
    from server.features.moderation import read_again  # noqa: PLC0415  # the features register when they load
    from server.rooms.registry import ASIDES  # noqa: PLC0415

    there = await another_site()
    host, alice = await host_of(there), await site.join("alice")
    room = site.node.rooms.opened("demo")
    assert room is not None
    monkeypatch.setitem(ASIDES, b"person", lambda *_: None)
    await host.ask("members.hide", user_id="alice")
    await alice.ask("chat.send", text="lost")
    assert room.people.of("alice") == NOTHING
    await read_again(room)
    assert room.people.of("alice").hidden
