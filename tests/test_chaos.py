"""Clients behind wires that stall, delay and break at any byte: all learn what they missed, or that it is lost."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
import websockets
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from protocol.client import Missed, RoomClient
from protocol.gifts import SendGift
from protocol.session import Notice, Welcome
from protocol.wire import Codec, Delivery, Event
from server import limits
from server.rooms.history import delivery_of
from tests.site import Site, Viewer
from tests.unsteady import UnsteadyWire

AnotherSite = Callable[..., Awaitable[Site]]
COINS = 100_000
WAIT_S = 20.0
LOST = (websockets.ConnectionClosed, websockets.InvalidMessage, OSError, EOFError, TimeoutError)


class Told(NamedTuple):
    """An event as a client received it."""

    seq: int
    id: str
    type: str


class Wanderer:
    """A person behind an unsteady wire, who always reconnects immediately and records everything."""

    def __init__(self, sites: tuple[Site, ...], room: str, user: str, codec: Codec, compression: str | None) -> None:
        nodes = itertools.cycle(sites)
        self.wire = UnsteadyWire(lambda: next(nodes).port)
        self.client = RoomClient(lambda: time.time_ns() // 1_000_000, codec=codec)
        self.user = user
        self.told: list[Told] = []
        self.gaps: list[Missed] = []
        self.hidden = 0
        self.began_at: int | None = None
        self.given: set[str] = set()
        self.paid: set[str] = set()
        self.joins = 0
        self._path = sites[0].address(room, token=sites[0].token(user)).partition(str(sites[0].port))[2]
        self._compression = compression
        self._socket: ClientConnection | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- coming and going --------------------------------------------------------------------------------------
    async def start(self) -> None:
        await self.wire.start()
        self._task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        while True:
            code = 1_006
            try:
                async with websockets.connect(
                    f"ws://127.0.0.1:{self.wire.port}{self._path}&{self.client.resume_query()}",
                    subprotocols=[websockets.Subprotocol(f"liveroom.v1.{self.client.codec}")],
                    compression=self._compression,
                    close_timeout=0.1,
                    open_timeout=WAIT_S,
                    ping_interval=None,
                    proxy=None,
                ) as socket:
                    code = await self._visit(socket)
            except LOST:
                pass
            assert self.client.lost(code).comes_back, code

    async def _visit(self, socket: ClientConnection) -> int:
        try:
            async for frame in socket:
                before = self.client.seq
                all_told = self.client.receive(frame)
                for told in all_told:
                    self._hear(told, before)
                if all_told and isinstance(all_told[0], Welcome):
                    self._socket = socket
                    self.joins += 1
                    for again in self.client.resend():
                        await socket.send(again)
                self._news.set()
        finally:
            self._socket = None
        return socket.close_code or 1_006

    async def leave(self) -> None:
        assert self._task is not None
        self._task.cancel()
        (ended,) = await asyncio.gather(self._task, return_exceptions=True)
        await self.wire.stop()
        assert isinstance(ended, asyncio.CancelledError), ended

    # --- hearing and speaking ----------------------------------------------------------------------------------
    def _hear(self, told: Any, before: int) -> None:
        if isinstance(told, Welcome):
            assert told.resumed == (self.began_at is not None and told.gap is None)
            self.began_at = told.seq if self.began_at is None else self.began_at
        elif isinstance(told, Missed):  # a gap starts where we were; the snapshot's events do not come again
            assert told.from_ == before + 1
            self.gaps.append(told)
        elif isinstance(told, Event):
            self.told.append(Told(told.seq, told.id, type(told).__struct_config__.tag))
        elif isinstance(told, Notice):
            self.hidden += told.count or 0
        elif (command := getattr(told, "command", None)) is not None and isinstance(command, SendGift):
            assert told.ok, told
            self.paid.add(command.id)

    async def until(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not found():
                assert self._task is not None
                assert not self._task.done(), self._task
                self._news.clear()
                await self._news.wait()

    @property
    def here(self) -> bool:
        return self._socket is not None

    async def chat(self, text: str) -> None:
        if self._socket is not None:
            await self._send(self.client.chat(text))

    async def give(self, gift: str, count: int) -> None:
        """Send a gift now, or once there is a connection again."""
        frame = self.client.gift(gift, count)
        command = self.client.unanswered[-1]
        assert isinstance(command, SendGift)
        self.given.add(command.id)
        if self._socket is not None:
            await self._send(frame)

    async def _send(self, frame: str | bytes) -> None:
        try:
            assert self._socket is not None
            await self._socket.send(frame)
        except LOST:
            pass


# --- what may happen -----------------------------------------------------------------------------------------------
WHO = st.integers(0, 2)
WAY = st.sampled_from(["up", "down"])
STEP = st.one_of(
    st.tuples(st.just("talk"), st.integers(1, 30)),
    st.tuples(st.just("chat"), WHO),
    st.tuples(st.just("give"), WHO, st.sampled_from(["rose", "heart", "crown"]), st.integers(1, 9)),
    st.tuples(st.just("cut"), WHO),
    st.tuples(st.just("meet"), WHO),
    st.tuples(st.just("meet"), WHO),
    st.tuples(st.just("break"), WHO, WAY, st.integers(0, 3_000)),
    st.tuples(st.just("break"), WHO, WAY, st.integers(0, 3_000)),
    st.tuples(st.just("hold"), WHO, WAY),
    st.tuples(st.just("let go"), WHO),
    st.tuples(st.just("refuse"), WHO, st.integers(1, 3)),
    st.tuples(st.just("delay"), WHO, st.integers(0, 20)),
)


async def take(step: Any, people: list[Wanderer], bot: Viewer) -> None:
    """Take one step of the plan."""
    match step:
        case "talk", count:
            for number in range(count):
                await bot.ask("chat.send", text=f"and then {number}")
        case "meet", who:
            people[who].wire.let_go()
            await people[who].until(lambda: people[who].here)
        case "chat", who:
            await people[who].chat("hello?")
        case "give", who, gift, count:
            await people[who].give(gift, count)
        case "cut", who:
            people[who].wire.cut()
        case "break", who, way, after:
            people[who].wire.fuses[way] = after
        case "hold", who, way:
            people[who].wire.hold(way)
        case "let go", who:
            people[who].wire.let_go()
        case "refuse", who, times:
            people[who].wire.refusing = times
            people[who].wire.cut()
        case "delay", who, delay_ms:
            people[who].wire.delay_s = delay_ms / 1_000
        case _:
            raise AssertionError(step)


# --- what must be true ---------------------------------------------------------------------------------------------
def check_order(person: Wanderer, history: dict[int, dict[str, Any]], end: int) -> None:
    """What a client got is the history, in order; the rest was in a gap, superseded, or hidden and counted."""
    seqs = [event.seq for event in person.told]
    assert seqs == sorted(set(seqs))
    for event in person.told:
        if event.seq <= end:
            truth = history[event.seq]
            assert (event.id, event.type) == (truth["id"], truth["type"])
    assert person.began_at is not None
    lost = {seq for gap in person.gaps for seq in range(gap.from_, gap.to + 1)}
    untold = set(range(person.began_at + 1, end + 1)) - set(seqs) - lost
    by_class = {seq: delivery_of(history[seq]["type"]) for seq in untold}
    assert Delivery.KEPT not in by_class.values()
    assert sum(each is Delivery.DROPPABLE for each in by_class.values()) == person.hidden
    for seq, each in by_class.items():
        if each is Delivery.LATEST:
            assert any(event.type == history[seq]["type"] and event.seq > seq for event in person.told)


def check_sums(person: Wanderer, history: dict[int, dict[str, Any]]) -> None:
    """The coins of distinct gifts match what was received; the folded room has the coins of all gifts."""
    gifts = {seq: event for seq, event in history.items() if event["type"] == "gifts.sent"}
    told = {event.seq for event in person.told if event.type == "gifts.sent"}
    assert person.client.gift_coins == sum(gifts[seq]["coins"] for seq in told)
    assert person.client.room is not None
    assert person.client.room.coins == sum(event["coins"] for event in gifts.values())
    ids = [event["id"] for event in gifts.values()]
    assert len(ids) == len(set(ids))
    assert person.paid == person.given
    mine = {event["id"]: event["coins"] for event in gifts.values() if event["from"]["user_id"] == person.user}
    assert set(mine) == person.given
    assert person.client.you is not None
    assert person.client.you.coins == COINS - sum(mine.values())


@pytest.fixture
async def sites(another_site: AnotherSite, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, Site]:
    """Two nodes on the same stores, which replay so few events that gaps occur."""
    monkeypatch.setattr(limits, "REPLAY_EVENTS_MAX", 12)
    monkeypatch.setattr(limits, "RING_EVENTS_MAX", 150)
    return await another_site(), await another_site()


@pytest.fixture
def tally(caplog: pytest.LogCaptureFixture) -> Iterator[Counter[str]]:
    """All plans together must break connections and make gaps, and no node may log an error."""
    counted = Counter[str]()
    yield counted
    assert counted["joins"] > 2 * counted["people"]
    assert counted["gaps"] > 10
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


ROOMS = (f"chaos-{number}" for number in itertools.count(1))


@settings(
    max_examples=40,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # no shrinking: a failing plan may wait for a long time
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=st.lists(STEP, min_size=30, max_size=80))
async def test_a_client_that_comes_back_knows_what_it_missed(
    sites: tuple[Site, Site], tally: Counter[str], plan: list[Any]
) -> None:
    """Wires break while chats and gifts flow: order and sums match the history for all, and gaps are announced."""
    room = next(ROOMS)
    await sites[0].put_room(room)
    people = [
        Wanderer(sites, room, f"{room}-{n}", codec, compression)
        for n, (codec, compression) in enumerate((("json", "deflate"), ("msgpack", None), ("json", None)))
    ]
    bot = await sites[0].join("alice", "bot", room=room)
    for person in people:
        await sites[0].give_coins(person.user, COINS)
        await person.start()
    try:
        for step in plan:
            await take(step, people, bot)
        end = await settle(people, bot)
        history = await read_history(sites[0], room, end)
        for person in people:
            check_order(person, history, end)
            check_sums(person, history)
            assert await sites[1].coins(person.user) == person.client.you.coins  # type: ignore[union-attr]
        raw = await sites[1].node.history.snapshot(room)
        assert int(raw.meta["coins"]) == people[0].client.room.coins  # type: ignore[union-attr]
    finally:
        for person in people:
            await person.leave()
        await bot.leave()
    tally.update(
        people=len(people),
        joins=sum(person.joins for person in people),
        gaps=sum(len(person.gaps) for person in people),
    )


async def settle(people: list[Wanderer], bot: Viewer) -> int:
    """Heal every wire, and wait until everybody has one last gift. Returns its seq."""
    for person in people:
        person.wire.heal()
        await person.until(lambda person=person: person.paid == person.given)
    given = set().union(*(person.given for person in people))
    await bot.until(lambda _: given <= {event["id"] for event in bot.events("gifts.sent")})
    last = (await bot.gift("rose"))["id"]
    end = int((await bot.happened("gifts.sent", id=last))["seq"])
    for person in people:  # it may have come in a snapshot instead
        await person.until(lambda person=person: person.client.seq >= end)
    return end


async def read_history(site: Site, room: str, end: int) -> dict[int, dict[str, Any]]:
    """What the room store holds, by seq."""
    recorded = await site.node.history.read(room, 0, end)
    assert recorded is not None
    events = {event.seq: msgspec.json.decode(event.json) for event in recorded}
    assert sorted(events) == list(range(1, end + 1))
    return events
