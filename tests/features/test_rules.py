"""Rules: gifts send custom events, once on all nodes and after a retelling, by the rules of the moment."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from protocol.rules import DATA_BYTES_MAX, DATA_DEPTH_MAX, RULES_MAX, CustomEvent
from server.features import gifts, rules
from server.journal.rules import Stored
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.journal.ledger import drained
from tests.program import eventually
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]
CONFETTI = {"gift": "coffee", "event": {"name": "confetti", "data": {"colour": "gold"}}}
CHEER = {"min_coins": 50, "event": {"name": "cheer"}}
BIG_COFFEE = {"gift": "coffee", "min_coins": 50, "event": {"name": "big-coffee"}}


async def put(site: Site, *wanted: dict[str, Any], room: str = "demo") -> None:
    (await site.http.put(f"/v1/rooms/{room}/rules", json={"rules": wanted})).raise_for_status()


def customs(viewer: Viewer) -> list[tuple[str, str]]:
    """The custom events so far: name and gift."""
    return [(event["name"], event["data"]["gift_id"]) for event in viewer.events("custom.sent")]


async def test_a_gift_sends_its_rules_events(site: Site, another_site: MakeSite) -> None:
    """Each rule that it meets, once, to everybody on every node, and to who comes back."""
    there = await another_site()
    await put(site, CONFETTI, CHEER, BIG_COFFEE)
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    since = f"{bob.welcome['epoch']}:{bob.welcome['seq']}"
    none, one, all_of_them = [await alice.gift(*each) for each in (("rose", 49), ("coffee", 1), ("coffee", 5))]
    balloon = await bob.gift("balloon")
    want = sorted(
        [("confetti", one["id"]), ("cheer", balloon["id"])]
        + [(name, all_of_them["id"]) for name in ("confetti", "cheer", "big-coffee")]
    )
    for viewer in (alice, bob):
        await viewer.until(lambda _told, viewer=viewer: sorted(customs(viewer)) == want)
        event = await viewer.happened("custom.sent", name="confetti")
        assert event["data"] == {"colour": "gold", "gift_id": one["id"]}
        assert event["seq"] > (await viewer.happened("gifts.sent", id=one["id"]))["seq"]
    back = await there.join("bob", since=since)
    await back.until(lambda _told: sorted(customs(back)) == want)
    assert none["id"] not in str(customs(back))


async def test_scenes_and_webhooks(site: Site, another_site: MakeSite) -> None:
    """An overlay and the platform's pull get each with its data and the gift, once; who is anonymous stays so."""
    there = await another_site()
    scene, webhook = {"name": "fireworks", "data": {"seconds": 8}}, {"name": "lamp", "data": {"colour": "red"}}
    await put(site, {"gift": "coffee", "scene": scene, "webhook": webhook}, CONFETTI)
    alice, overlay = await site.join("alice"), await there.join("screen", "overlay", codec="msgpack")
    named, masked = await alice.gift("coffee", 2), await alice.gift("coffee", anonymous=True)
    gift = await overlay.happened("gifts.sent", id=named["id"])
    cause = {"gift_id": named["id"], "gift": "coffee", "count": 2, "coins": gift["coins"], "from": gift["from"]}
    await overlay.until(lambda _told: len(overlay.events("custom.sent")) == 6)
    sent = {each.get("action"): each for each in overlay.events("custom.sent") if each["cause"] == cause}
    assert sent.keys() == {"scene", "webhook", None}
    for action, wanted in (("scene", scene), ("webhook", webhook)):
        event = sent[action]
        assert (event["name"], event["data"]) == (wanted["name"], {**wanted["data"], "gift_id": named["id"]})
    others = [
        each["cause"]["from"] for each in overlay.events("custom.sent") if each["cause"]["gift_id"] == masked["id"]
    ]
    assert [each["user_id"] for each in others] == ["anonymous"] * 3
    pulled = (await there.http.get("/v1/rooms/demo/events?types=custom.sent")).json()["events"]
    assert sorted(each["id"] for each in pulled) == sorted(each["id"] for each in overlay.events("custom.sent"))


async def test_new_rules_hold_at_once(site: Site, another_site: MakeSite) -> None:
    """On every node, for the gifts after the answer; a room without rules sends nothing."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob")
    await alice.gift("coffee")
    for name in ("first", "second"):
        await put(there, {"gift": "coffee", "event": {"name": name}})
        await alice.gift("coffee")
        await bob.happened("custom.sent", name=name)
    await put(site)
    await alice.gift("coffee")
    await put(site, CHEER)
    last = await alice.gift("balloon")
    await bob.happened("custom.sent", name="cheer")
    assert [name for name, _ in customs(bob)] == ["first", "second", "cheer"]
    assert customs(bob)[-1][1] == last["id"]


async def test_a_retold_gift_sends_them_once(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gift that the journal shows sends its events, and showing it again sends none."""
    there = await another_site()
    await put(site, CONFETTI)
    alice, bob = await site.join("alice"), await there.join("bob")
    monkeypatch.setattr(gifts, "_show_soon", lambda _room, _gift: None)
    reply = await alice.gift("coffee", anonymous=True)
    async with site.draining(ahead_s=5) as drain:
        await drained(drain)
        await drain.retell_once()
        await drain.retell_once()
    for viewer in (alice, bob):
        await viewer.happened("custom.sent")
    monkeypatch.undo()
    end = await alice.gift("coffee")
    await bob.until(lambda _told: len(customs(bob)) == 2)
    assert customs(bob) == [("confetti", reply["id"]), ("confetti", end["id"])]


async def test_rules_survive(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """A node that starts later has them from SQL, even after the room store has lost its keys."""
    await put(site, CONFETTI)
    await site.stop()
    with stores.room.client() as look:
        look.delete(keys.room("demo", rules.RULED))
    there = await another_site()
    assert (await there.http.get("/v1/rooms/demo/rules")).json()["rules"][0]["gift"] == "coffee"
    alice = await there.join("alice")
    await alice.gift("coffee")
    await alice.happened("custom.sent", name="confetti")


async def test_sql_is_away_at_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gifts go on. The next one asks again, and those that waited send their events then."""
    await put(site, CONFETTI)

    def fails(*_args: Any) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as away:
        away.setattr(rules.journal, "read", fails)
        alice = await site.join("alice")
        first = await alice.gift("coffee")
        await alice.happened("gifts.sent")
        held = site.node.rooms.here()[0].memory("rules", rules._Held)
        await eventually(lambda: _waits(held), what="the gift to wait")
    second = await alice.gift("coffee")
    await alice.until(lambda _told: customs(alice) == [("confetti", first["id"]), ("confetti", second["id"])])


async def _waits(held: Any) -> bool:
    return len(held.waiting) == 1 and not held.reading


async def test_a_rule_for_every_gift(site: Site) -> None:
    """One that names neither gift nor amount."""
    await put(site, {"event": {"name": "any"}})
    alice = await site.join("alice")
    sent = [(await alice.gift(gift))["id"] for gift in ("rose", "coffee")]
    await alice.until(lambda _told: customs(alice) == [("any", id) for id in sent])


async def test_a_test_gift_sends_nothing(site: Site) -> None:
    """It is for staff and overlays; a custom event is everybody's."""
    await put(site, CONFETTI)
    host = await host_of(site)
    await host.ask("gifts.test", gift="coffee")
    await host.happened("gifts.sent", test=True)
    alice = await site.join("alice")
    paid = await alice.gift("coffee")
    await host.happened("custom.sent")
    assert customs(host) == [("confetti", paid["id"])]


async def test_two_nodes_at_once(site: Site, another_site: MakeSite) -> None:
    """However many nodes show a gift, and however often the script is asked."""
    there = await another_site()
    await put(site, CONFETTI)
    alice, bob = await site.join("alice"), await there.join("bob")
    await asyncio.gather(*(alice.gift("coffee") for _ in range(10)))
    await bob.until(lambda _told: len(customs(bob)) >= 10)
    end = await bob.ask("chat.send", text="that is all")
    await bob.happened("chat.sent", id=end["id"])
    assert len(set(customs(bob))) == len(customs(bob)) == 10


def nested(levels: int) -> list[Any]:
    """A list in a list in a list."""
    made: list[Any] = []
    for _ in range(levels - 1):
        made = [made]
    return made


REFUSED: list[Any] = [
    {"rules": [{"gift": "rose"}]},
    {"rules": [{"min_coins": 0, "event": {"name": "x"}}]},
    {"rules": [{"gift": "rose", "event": {"name": "two words"}}]},
    {"rules": [{"gift": "rose", "event": {"name": "x"}, "webhook": "https://example.com"}]},
    {"rules": [{"gift": "rose", "event": {"name": "x"}, "scene": {"name": "x", "url": "/x"}}]},
    {"rules": [{"scene": {"name": "x"}, "webhook": {"name": "x"}}] * (RULES_MAX // 2 + 1)},
    {"rules": [{"gift": "rose", "event": {"name": "x", "data": {"text": "x" * DATA_BYTES_MAX}}}]},
    {"rules": [{"gift": "rose", "event": {"name": "x", "data": {"n": 2**64}}}]},
    {"rules": [{"gift": "rose", "event": {"name": "x", "data": {"deep": nested(DATA_DEPTH_MAX)}}}]},
    {"rules": [CONFETTI] * (RULES_MAX + 1)},
    {},
]


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: str(body)[:60])
async def test_rules_that_cannot_be(site: Site, body: Any) -> None:
    """They are refused as a whole, and the old ones stay."""
    await put(site, CHEER)
    answer = await site.http.put("/v1/rooms/demo/rules", json=body)
    reasons = {400: "bad_request", 409: "no_action"}  # the second if a rule does nothing
    assert answer.json()["error"]["reason"] == reasons[answer.status_code]
    [kept] = (await site.http.get("/v1/rooms/demo/rules")).json()["rules"]
    nothing = {"gift": None, "scene": None, "webhook": None}
    assert kept == {**nothing, **CHEER, "event": {"name": "cheer", "data": {}}}


async def test_whose_rules(site: Site) -> None:
    """Only the platform reads and sets them, of rooms that exist. As many as fit are taken."""
    for method, fields in (("GET", {}), ("PUT", {"json": {"rules": []}})):
        refused = await site.http.request(method, "/v1/rooms/demo/rules", headers={"Authorization": ""}, **fields)
        assert refused.status_code == 401
        assert (await site.http.request(method, "/v1/rooms/nowhere/rules", **fields)).status_code == 404
    assert (await site.http.get("/v1/rooms/demo/rules")).json() == {"rules": []}
    fits = {"event": {"name": "x", "data": {"deep": nested(DATA_DEPTH_MAX - 1), "n": 2**53}}}
    await put(site, fits, *[CONFETTI] * (RULES_MAX - 1))
    assert len((await site.http.get("/v1/rooms/demo/rules")).json()["rules"]) == RULES_MAX


def test_older_rules_come_late() -> None:
    """What a node has read is not undone by an older answer of SQL."""
    held = rules._Held()
    for version, name in ((2, "new"), (1, "old")):
        held.learn(Stored(version, json.dumps({"rules": [{"gift": "rose", "event": {"name": name}}]})))
    held.learn(None)
    assert (held.version, [rule.event for rule in held.rules]) == (2, [CustomEvent("new")])


def test_a_bound_on_gifts_that_wait() -> None:
    """While rules cannot be read, the oldest are forgotten."""
    waiting = rules._Held().waiting
    waiting.extend([None] * (rules.WAITING_MAX + 1))  # type: ignore[list-item]
    assert len(waiting) == rules.WAITING_MAX
