"""The fan-out: when the bus loses messages nobody loses an event, and a changed history makes everybody rejoin."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import websockets

from protocol.closes import Close
from server import background, limits
from server.rooms.people import People
from server.rooms.room import Room
from server.store import keys
from server.store.client import StoreDown
from tests.conftest import Stores
from tests.lossy import LossyWire
from tests.program import eventually
from tests.site import Site, Viewer

AnotherSite = Callable[[], Awaitable[Site]]


def write_unheard(stores: Stores, *texts: str, room: str = "demo") -> list[int]:
    """Write chat to the room's history without publishing it on the bus; the seqs."""
    seqs = []
    with stores.room.client() as store:
        for text in texts:
            seq = store.hincrby(keys.room(room, keys.META), "seq", 1)
            body = {
                "type": "chat.sent",
                "id": f"unheard-{seq}",
                "user": {"user_id": "bob", "name": "Bob"},
                "text": text,
            }
            store.xadd(
                keys.room(room, keys.EVENTS), {"a": "1", "b": json.dumps(body, separators=(",", ":"))}, id=f"{seq}-1"
            )
            seqs.append(seq)
    return seqs


def publish(stores: Stores, epoch: str, seq: int, body: dict[str, Any], room: str = "demo") -> None:
    """Publish on the room's channel, as a script would."""
    with stores.room.client() as store:
        store.publish(keys.room(room, keys.LIVE), f"{epoch} {seq} 1 {json.dumps(body, separators=(',', ':'))}")


def assert_whole(viewer: Viewer) -> None:
    """Every event since the welcome, each once, in order."""
    seqs = [event["seq"] for event in viewer.events()]
    assert seqs == list(range(viewer.welcome["seq"] + 1, viewer.welcome["seq"] + 1 + len(seqs)))


async def test_a_lost_message_is_filled_from_the_history(site: Site, stores: Stores) -> None:
    """The next event shows that something is missing; the node reads it, and everybody gets all of it in order."""
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    write_unheard(stores, "one", "two", "three")
    await alice.ask("chat.send", text="four")
    for viewer in (alice, bob):
        await viewer.happened("chat.sent", text="four")
        assert [event["text"] for event in viewer.events("chat.sent")] == ["one", "two", "three", "four"]
        assert_whole(viewer)
    assert site.node.fanout.filled >= 3


async def test_a_bus_that_falls_silent_is_found_out(site: Site, stores: Stores) -> None:
    """When nothing follows the lost message, the check of the position finds it."""
    alice = await site.join("alice")
    write_unheard(stores, "the last word")
    site.node.fanout.check_position("demo")
    await alice.happened("chat.sent", text="the last word")
    assert_whole(alice)


async def test_the_position_is_checked_again_and_again(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That check repeats without being asked for."""
    monkeypatch.setattr(limits, "POSITION_CHECK_S", 0.1)
    alice = await site.join("alice")
    write_unheard(stores, "the last word")
    await alice.happened("chat.sent", text="the last word")


async def test_a_check_during_a_check(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made after the first, whose answer may be older."""
    await background.end(site.node.rooms._task)  # nobody else asks, and no count shows that something is missing
    alice = await site.join("alice")
    history, fanout = site.node.history, site.node.fanout
    position, asked = history.position, list[str]()

    async def overtaken(room_id: str) -> tuple[str, int]:
        found = await position(room_id)
        asked.append(room_id)
        if len(asked) == 1:
            write_unheard(stores, "the last word")
            fanout.check_position("demo")
        return found

    monkeypatch.setattr(history, "position", overtaken)
    fanout.check_position("demo")
    await alice.happened("chat.sent", text="the last word")
    assert asked == ["demo"] * 2


async def test_a_store_that_is_back_is_asked_at_once(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus may be back first: who has then found the store away does not go on waiting."""
    await background.end(site.node.rooms._task)
    monkeypatch.setattr(limits, "STORE_RETRY_S_MAX", 1_000.0)
    alice = await site.join("alice")
    history, asked = site.node.history, list[str]()
    position = history.position

    async def away_at_first(room_id: str) -> tuple[str, int]:
        asked.append(room_id)
        if len(asked) == 1:
            raise StoreDown("the room store is away")
        return await position(room_id)

    monkeypatch.setattr(history, "position", away_at_first)
    site.node.fanout.check_position("demo")
    await eventually(lambda: asked, what="a look at a store that is away")
    write_unheard(stores, "meanwhile")
    history.on_wake()
    await alice.happened("chat.sent", text="meanwhile")
    assert_whole(alice)


async def test_a_bus_connection_that_is_cut(site: Site, stores: Stores) -> None:
    """What was said while the subscription was away is read when it is back; every room is subscribed again."""
    await site.put_room("other")
    alice, bob = await site.join("alice", "bot"), await site.join("bob", "bot", room="other")  # no count follows
    with stores.room.client() as store:
        store.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    write_unheard(stores, "here")
    write_unheard(stores, "there", room="other")
    await alice.happened("chat.sent", text="here")
    await bob.happened("chat.sent", text="there")
    await eventually(lambda: site.node.fanout.up, what="the bus")
    await alice.ask("chat.send", text="again")
    await alice.happened("chat.sent", text="again")
    assert_whole(alice)
    assert_whole(bob)


# --- a link that goes silent ---------------------------------------------------------------------------------------
@pytest.fixture
async def wire(stores: Stores) -> AsyncIterator[LossyWire]:
    """A connection to the room store that the test can silence."""
    made = LossyWire(stores.room.socket.with_name("room-wire.sock"), stores.room.socket)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def far_site(another_site: Callable[..., Awaitable[Site]], wire: LossyWire) -> Site:
    """A node that reaches its room store through that connection."""
    return await another_site(LIVEROOM_ROOM_URL=f"unix://{wire.path}")


async def test_a_bus_link_that_goes_silent(far_site: Site, wire: LossyWire, another_site: AnotherSite) -> None:
    """Nothing comes and nothing ends: the node notices in seconds.

    Open rooms miss nothing, and others can be opened.
    """
    other = await another_site()
    await other.put_room("other")
    alice, bob = await far_site.join("alice"), await other.join("bob")
    wire.silence_links(
        f"SUBSCRIBE\r\n${len(keys.WALLET_NEWS)}\r\n{keys.WALLET_NEWS}"
    )  # the check of rights names it, too
    await bob.ask("chat.send", text="do you hear me?")
    carol = await far_site.join("carol", room="other")
    await alice.happened("chat.sent", text="do you hear me?")
    await bob.ask("chat.send", text="and now?")
    await alice.happened("chat.sent", text="and now?")
    assert_whole(alice)
    assert (await carol.ask("chat.send", text="here I am"))["type"] == "ok"
    await carol.happened("chat.sent", text="here I am")


async def test_a_room_store_that_goes_silent(far_site: Site, wire: LossyWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose room store goes silent reports that it is not ready, though nothing uses the store meanwhile."""
    monkeypatch.setattr(limits, "STORE_CALL_S_MAX", 2.0)
    monkeypatch.setattr(limits, "BUS_SILENT_S", 1.0)
    wire.silence()
    node = far_site.node
    await eventually(lambda: not node.fanout.up and not node.room_store.up, what="noticing it")
    ready = await far_site.http.get("/readyz")
    assert (ready.status_code, ready.json()["bus"], ready.json()["room_store"]) == (503, False, False)
    wire.heal()
    await eventually(lambda: node.fanout.up and node.room_store.up, what="the room store")
    assert (await far_site.http.get("/readyz")).status_code == 200


async def test_a_subscription_that_is_not_answered(
    far_site: Site, wire: LossyWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that ignores SUBSCRIBE is useless, whatever else it answers: the next join has another one."""
    await far_site.put_room("other")
    alice = await far_site.join("alice")
    monkeypatch.setattr(limits, "STORE_CALL_S_MAX", 0.3)
    link = far_site.node.fanout._bus.link
    wire.swallow("SUBSCRIBE")
    with pytest.raises(websockets.InvalidStatus) as no:
        await far_site.join("bob", room="other")
    assert no.value.response.status_code == 503
    monkeypatch.undo()
    await eventually(lambda: far_site.node.fanout._bus.link not in (link, None), what="another link")
    bob = await far_site.join("bob", room="other")
    assert (await bob.ask("chat.send", text="here I am"))["type"] == "ok"
    await alice.ask("chat.send", text="still here")
    await alice.happened("chat.sent", text="still here")


# --- what the bus gets wrong ---------------------------------------------------------------------------------------
async def test_twice_and_out_of_order(site: Site, stores: Stores) -> None:
    """An event that comes twice is sent once; one that comes early waits for those before it."""
    alice = await site.join("alice")
    epoch = alice.welcome["epoch"]
    first, second, third = write_unheard(stores, "one", "two", "three")
    said = {"type": "chat.sent", "user": {"user_id": "bob", "name": "Bob"}}
    publish(stores, epoch, third, {**said, "id": f"unheard-{third}", "text": "three"})
    publish(stores, epoch, first, {**said, "id": f"unheard-{first}", "text": "one"})
    publish(stores, epoch, second, {**said, "id": f"unheard-{second}", "text": "two"})
    publish(stores, epoch, second, {**said, "id": f"unheard-{second}", "text": "two"})
    publish(stores, epoch, first, {**said, "id": f"unheard-{first}", "text": "one"})
    await alice.happened("chat.sent", text="three")
    await alice.ask("chat.send", text="four")
    await alice.happened("chat.sent", text="four")
    assert [event["text"] for event in alice.events("chat.sent")] == ["one", "two", "three", "four"]
    assert_whole(alice)


async def test_a_history_that_is_no_longer_whole(site: Site, stores: Stores) -> None:
    """When the lost events have left the history too, everybody rejoins to a gap and a snapshot."""
    alice = await site.join("alice")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    seqs = write_unheard(stores, "one", "two", "three")
    with stores.room.client() as store:
        store.xdel(keys.room("demo", keys.EVENTS), f"{seqs[1]}-1")
    site.node.fanout.check_position("demo")
    assert await alice.closed() == Close.ROOM_RESTARTS
    back = await site.join("alice", since=since)
    assert back.welcome["resumed"] is False
    assert back.welcome["gap"] == {"from": int(since.split(":")[1]) + 1, "to": back.welcome["seq"]}
    assert back.welcome["seq"] >= seqs[-1]


@pytest.mark.parametrize("how", ["another epoch", "emptied"])
async def test_a_room_whose_epoch_changed(another_site: AnotherSite, stores: Stores, how: str) -> None:
    """After a store was restored or emptied, sockets on every node get 4008, and come back to what there is."""
    site, other = await another_site(), await another_site()
    viewers = [await site.join("alice"), await other.join("bob")]
    await viewers[0].ask("chat.send", text="before")
    since = f"{viewers[0].welcome['epoch']}:{viewers[0].welcome['seq']}"
    with stores.room.client() as store:
        meta = keys.room("demo", keys.META)
        if how == "another epoch":
            store.hset(meta, "epoch", "restored")
        else:
            store.flushall()
            await site.put_room("demo")
    for each in (site, other):
        each.node.fanout.check_position("demo")
    for viewer in viewers:
        assert await viewer.closed() == Close.ROOM_RESTARTS
        assert viewer.connection.close_reason == "room restarts"
        assert Close(viewer.connection.close_code or 0).comes_back
    back = await other.join("bob", since=since)
    assert back.welcome["resumed"] is False
    assert back.welcome["gap"] is not None
    reply = await back.ask("chat.send", text="after")
    assert reply["type"] == "ok"
    await back.happened("chat.sent", text="after")


async def test_a_join_while_the_room_store_goes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was accepted and cannot be welcomed learns that a store is away, and when to come back."""

    async def away(self: Room, at_least: int = 0) -> Any:
        raise StoreDown("away")

    monkeypatch.setattr(Room, "snapshot", away)
    monkeypatch.setattr(Room, "snapshot_at_hand", lambda *_: None)
    async with websockets.connect(site.address(token=site.token("alice")), proxy=None) as connection:
        await connection.wait_closed()
    assert (connection.close_code, connection.close_reason) == (Close.UNAVAILABLE, "retry_after_ms=1000")


async def test_a_history_behind_what_was_sent(site: Site, stores: Stores) -> None:
    """When a store knows less than this node has sent, everybody comes back."""
    alice = await site.join("alice")
    for n in range(9):
        await alice.ask("chat.send", text=f"told {n}")
    await alice.happened("chat.sent", text="told 8")
    with stores.room.client() as store:
        store.delete(keys.room("demo", keys.EVENTS))
        store.hset(keys.room("demo", keys.META), "seq", "1")
    site.node.fanout.check_position("demo")
    assert await alice.closed() == Close.ROOM_RESTARTS


async def test_the_next_event_shows_another_epoch(site: Site, stores: Stores) -> None:
    """Nobody has to wait for the position's check: an event of another epoch is enough."""
    alice = await site.join("alice")
    with stores.room.client() as store:
        store.hset(keys.room("demo", keys.META), "epoch", "restored")
    await alice.tell({"type": "chat.send", "text": "first of the new"})
    assert await alice.closed() == Close.ROOM_RESTARTS


async def test_a_room_that_restarted_and_that_nobody_came_back_to(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped like any empty room, with its subscription."""
    monkeypatch.setattr(limits, "ROOM_IDLE_S", 0.1)
    alice = await site.join("alice")
    with stores.room.client() as store:
        store.hset(keys.room("demo", keys.META), "epoch", "restored")
        site.node.fanout.check_position("demo")
        await alice.closed()
        await eventually(lambda: not site.node.rooms.here(), 5, "letting go")
        await eventually(lambda: store.pubsub_numsub(keys.room("demo", keys.LIVE))[0][1] == 0, 5, "unsubscribing")


async def test_what_came_early_of_another_epoch(site: Site, stores: Stores) -> None:
    """A room that is being opened while its store is replaced keeps none of the old store's events."""
    await site.put_room("other")
    fanout, history = site.node.fanout, site.node.history
    await fanout.listen("other")
    room, raw = Room("other", site.node.rooms._services), await history.snapshot("other")
    said = {"type": "chat.sent", "id": "old", "user": {"user_id": "bob", "name": "Bob"}, "text": "of the old one"}
    received = fanout.received
    publish(stores, "old", raw.seq + 1, said, room="other")
    await eventually(lambda: fanout.received > received, what="the event")
    room.begin(raw, [], People({}, whole=True))
    fanout.attach(room)
    assert room.head == raw.seq
    fanout.forget("other")
    await room.close()


async def test_what_came_early(site: Site, stores: Stores) -> None:
    """A room that is being opened gets the event that came meanwhile."""
    await site.put_room("other")
    fanout = site.node.fanout
    await fanout.listen("other")
    room, raw = Room("other", site.node.rooms._services), await site.node.history.snapshot("other")
    said = {"type": "chat.sent", "id": "new", "user": {"user_id": "bob", "name": "Bob"}, "text": "meanwhile"}
    received = fanout.received
    publish(stores, raw.epoch, raw.seq + 1, said, room="other")
    await eventually(lambda: fanout.received > received, what="the event")
    room.begin(raw, [], People({}, whole=True))
    fanout.attach(room)
    assert room.head == raw.seq + 1
    fanout.forget("other")
    await room.close()


async def test_an_empty_room_is_dropped(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without members a room leaves the node; who comes later finds everything."""
    monkeypatch.setattr(limits, "ROOM_IDLE_S", 0.1)
    alice = await site.join("alice")
    said = await alice.ask("chat.send", text="anybody here?")
    await alice.leave()
    with stores.room.client() as store:
        await eventually(lambda: not site.node.rooms.here(), 5, "letting go")
        await eventually(lambda: store.pubsub_numsub(keys.room("demo", keys.LIVE))[0][1] == 0, 5, "unsubscribing")
    back = await site.join("alice", since=f"{alice.welcome['epoch']}:{said['seq'] - 1}")
    assert back.welcome["resumed"] is True
    assert [e["text"] for e in back.events("chat.sent")] == ["anybody here?"]


async def test_two_nodes_send_the_same(another_site: AnotherSite) -> None:
    """Viewers on two nodes get the same events with the same seqs, from every sender."""
    sites = [await another_site(), await another_site()]
    viewers = [await sites[n % 2].join(f"viewer-{n}", codec=("json", "msgpack")[n // 2]) for n in range(4)]
    for n, viewer in enumerate(viewers * 5):
        assert (await viewer.ask("chat.send", text=f"word {n}"))["type"] == "ok"
    for viewer in viewers:
        await viewer.happened("chat.sent", text="word 19")
        assert [event["text"] for event in viewer.events("chat.sent")] == [f"word {n}" for n in range(20)]
    told = [{event["seq"]: event for event in viewer.events()} for viewer in viewers]
    common = set.intersection(*(set(each) for each in told))
    assert len(common) >= 20
    assert all(each[seq] == told[0][seq] for each in told for seq in common)
