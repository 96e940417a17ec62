"""Our connection to a store: replies in order, no call made twice, and a clear answer about lost calls."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from server import limits
from server.store import scripts
from server.store.client import (
    Address,
    Link,
    Store,
    StoreDown,
    StoreError,
    StoreRefused,
    StoreUnknown,
    parse_address,
)
from server.store.embedded import ROOM
from tests.conftest import Stores
from tests.lossy import LossyWire
from tests.program import eventually, free_port
from tests.site import WAIT_S
from tests.stores import ValkeyProcess, settings

Connect = Callable[..., Awaitable[Store]]


@pytest.fixture
async def connect(stores: Stores) -> AsyncIterator[Connect]:
    """Make stores that are up: the run's room store, unless there is an address."""
    made: list[Store] = []

    async def one(url: str | None = None, *, wait: bool = True, **kwargs: Any) -> Store:
        store = Store("test", url or f"unix://{stores.room.socket}", **kwargs)
        made.append(store)
        await store.start()
        if wait:
            await store.wait_up(WAIT_S)
        return store

    yield one
    for store in made:
        await store.stop()


# --- addresses -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:///run/valkey.sock", Address("/run/valkey.sock", "", 0, False, None, None, 0)),
        ("unix:///a%20b/x.sock", Address("/a b/x.sock", "", 0, False, None, None, 0)),
        ("unix://:secret@/run/x.sock", Address("/run/x.sock", "", 0, False, None, "secret", 0)),
        ("redis://store", Address(None, "store", 6379, False, None, None, 0)),
        ("redis://store:7000/3", Address(None, "store", 7000, False, None, None, 3)),
        ("valkey://user:p%40ss@store:7000/", Address(None, "store", 7000, False, "user", "p@ss", 0)),
        ("rediss://:secret@store", Address(None, "store", 6379, True, None, "secret", 0)),
        ("valkeys://store/1", Address(None, "store", 6379, True, None, None, 1)),
        ("redis://[::1]:7000", Address(None, "::1", 7000, False, None, None, 0)),
        ("redis://", Address(None, "127.0.0.1", 6379, False, None, None, 0)),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    """The schemes unix, redis, rediss and their valkey names, with user, password and database."""
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "url", ["", "store:6379", "http://store", "redis://store/one", "redis://store:port", "redis://store:99999"]
)
def test_invalid_addresses(url: str) -> None:
    """Anything else is a ValueError that does not contain the password."""
    with pytest.raises(ValueError, match=r".+"):
        parse_address(url)
    with pytest.raises(ValueError, match=r".+") as error:
        parse_address("amqp://user:hunter2@store")
    assert "hunter2" not in str(error.value)


# --- order ---------------------------------------------------------------------------------------------------------
async def test_replies_come_in_the_order_of_the_calls(connect: Connect) -> None:
    """A thousand calls are under way at once, and each caller gets its own reply."""
    store = await connect()
    replies = await asyncio.gather(*(store.call("ECHO", f"call {n}") for n in range(1_000)))
    assert replies == [b"call %d" % n for n in range(1_000)]
    sums = await asyncio.gather(*(store.call("INCR", "n") for _ in range(100)))
    assert sums == list(range(1, 101))


async def test_every_kind_of_reply(connect: Connect) -> None:
    """Null, numbers, bytes that are not text, lists and maps arrive unchanged."""
    store = await connect()
    assert await store.call("GET", "nothing") is None
    assert await store.call("SET", "k", b"\x00\xff\r\n") == b"OK"
    assert await store.call("GET", "k") == b"\x00\xff\r\n"
    assert await store.call("STRLEN", "k") == 4
    await store.call("HSET", "h", "a", 1, "b", "zwei")
    assert await store.call("HGETALL", "h") == {b"a": b"1", b"b": b"zwei"}
    assert await store.call("EXISTS", "nothing") == 0
    large = b"x" * 3_000_000
    assert await store.call("ECHO", large) == large


async def test_a_refused_call_refuses_its_caller_alone(connect: Connect) -> None:
    """The store's error goes to the caller that made the mistake; others get their replies."""
    store = await connect()
    await store.call("SET", "k", "text")
    calls = [store.send("ECHO", "before"), store.send("LPUSH", "k", "x"), store.send("ECHO", "after")]
    before, wrong, after = await asyncio.gather(*calls, return_exceptions=True)
    assert (before, after) == (b"before", b"after")
    assert isinstance(wrong, StoreRefused)
    assert str(wrong).startswith("WRONGTYPE")


async def test_a_call_that_cannot_be_sent_misaligns_no_replies(connect: Connect) -> None:
    """An invalid argument raises for its caller; the others get their own replies."""
    store = await connect()
    with pytest.raises(TypeError):
        store.send("ECHO", None)  # type: ignore[arg-type]
    assert store.link is not None
    assert store.link.pending == 0
    assert await store.call("ECHO", "mine") == b"mine"


async def test_a_cancelled_caller_never_misaligns_replies(connect: Connect, stores: Stores) -> None:
    """A cancelled caller's reply is dropped; the next caller gets its own."""
    store = await connect()
    blocked = asyncio.create_task(store.call("BLPOP", "queue", 0))
    behind = [asyncio.create_task(store.call("ECHO", f"call {n}")) for n in range(10)]
    await asyncio.sleep(0)
    blocked.cancel()
    for task in behind[::2]:
        task.cancel()
    with stores.room.client() as other:
        other.rpush("queue", "for nobody")
    assert [await task for task in behind[1::2]] == [b"call %d" % n for n in range(1, 10, 2)]
    assert await store.call("ECHO", "later") == b"later"
    assert blocked.cancelled()


async def test_cancelling_at_any_moment(connect: Connect) -> None:
    """Callers that cancel before, while and after their call is sent do not disturb others."""
    store = await connect()

    async def echo(n: int) -> None:
        assert await store.call("ECHO", f"call {n}") == b"call %d" % n

    for turns in range(30):
        tasks = [asyncio.create_task(echo(n)) for n in range(20)]
        for _ in range(turns % 6):
            await asyncio.sleep(0)
        for task in tasks[turns % 3 :: 3]:
            task.cancel()
        await asyncio.gather(*(task for n, task in enumerate(tasks) if n % 3 != turns % 3))


async def test_calls_under_way_have_a_bound(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """More calls than the bound are refused before they are sent."""
    store = await connect()
    monkeypatch.setattr(limits, "STORE_PENDING_MAX", 3)
    sent = [store.send("ECHO", str(n)) for n in range(3)]
    with pytest.raises(StoreDown):
        store.send("ECHO", "one too many")
    assert await asyncio.gather(*sent) == [b"0", b"1", b"2"]
    assert await store.call("ECHO", "again") == b"again"


# --- losing the connection -----------------------------------------------------------------------------------------
async def test_what_was_sent_is_unknown_and_what_was_not_is_down(connect: Connect, stores: Stores) -> None:
    """A cut connection makes every unanswered call unknown; nothing is sent until it is up again."""
    down = asyncio.Event()
    store = await connect(on_down=down.set)
    calls = [store.send("BLPOP", "queue", 0), store.send("ECHO", "behind it")]
    await asyncio.sleep(0)
    with stores.room.client() as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal")
    for call in calls:
        with pytest.raises(StoreUnknown):
            await call
    assert down.is_set()
    assert not store.up
    with pytest.raises(StoreDown):
        store.send("ECHO", "now")
    await store.wait_up(WAIT_S)
    assert await store.call("ECHO", "back") == b"back"


async def test_no_call_is_made_twice(connect: Connect, own_store: ValkeyProcess, wire: LossyWire) -> None:
    """After a lost reply the outcome is unknown, and the call counts once."""
    store = await connect(f"unix://{wire.path}")
    wire.lose_reply("counter")
    with pytest.raises(StoreUnknown):
        await store.call("INCR", "counter")
    await store.wait_up(WAIT_S)
    assert await store.call("GET", "counter") == b"1"


async def test_a_store_that_is_killed_and_comes_back(connect: Connect, own_store: ValkeyProcess) -> None:
    """The client reconnects without help, and knows that the store is another process."""
    store = await connect(f"unix://{own_store.socket}")
    first = store.identity
    assert len(first) == 81  # run id and replication id
    own_store.kill()
    with pytest.raises(StoreError):
        await asyncio.gather(*(store.call("PING") for _ in range(10)))
    with pytest.raises(StoreDown, match="test store"):
        await store.wait_up(0.05)
    own_store.start()
    await store.wait_up(WAIT_S)
    assert await store.call("PING") == b"PONG"
    assert store.identity != first


async def test_a_store_that_is_not_there_yet(connect: Connect) -> None:
    """A client that starts before its store waits for it."""
    with tempfile.TemporaryDirectory(prefix="liveroom-own-") as folder:
        process = ValkeyProcess(ROOM, settings(Path(folder)))
        store = await connect(f"unix://{process.socket}", wait=False)
        assert not store.up
        with pytest.raises(StoreDown):
            await store.call("PING")
        process.start()
        await store.wait_up(WAIT_S)
        process.stop()


async def test_a_frozen_store(connect: Connect, own_store: ValkeyProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without an answer ends in bounded time, and so does its connection."""
    monkeypatch.setattr(limits, "STORE_CALL_S_MAX", 1.0)
    store = await connect(f"unix://{own_store.socket}")
    assert own_store.process is not None
    own_store.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(StoreUnknown):
                await store.call("PING")
        assert not store.up
    finally:
        own_store.process.send_signal(signal.SIGCONT)
    await store.wait_up(WAIT_S)


async def test_stopping(connect: Connect) -> None:
    """A stopped store takes no calls, and calls under way end as unknown."""
    store = await connect()
    call = store.send("BLPOP", "queue", 0)
    await asyncio.sleep(0)
    await store.stop()
    with pytest.raises(StoreUnknown):
        await call
    with pytest.raises(StoreDown):
        store.send("PING")


async def test_a_stop_that_is_cancelled_closes_the_link(connect: Connect) -> None:
    """A node's map is asked for by a task that may be cancelled twice: the second time while it stops its store."""
    store = await connect()
    link = store.link
    assert link is not None
    stopping = asyncio.create_task(store.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping})
    await eventually(lambda: store.link is None and link._transport is None, WAIT_S, "the end of the link")


async def test_stopping_while_it_connects(stores: Stores) -> None:
    """A store can be stopped at any point while it connects."""
    for turns in range(60):
        store = Store("test", f"unix://{stores.room.socket}")
        await store.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            await store.stop()


@pytest.mark.parametrize("turns", range(8))
async def test_stopping_while_the_connection_is_lost(connect: Connect, own_store: ValkeyProcess, turns: int) -> None:
    """A node can stop at the very moment its store dies."""
    store = await connect(f"unix://{own_store.socket}")
    own_store.kill()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(store.stop())
    done, _ = await asyncio.wait([stopping], timeout=3)
    stopping.cancel()
    assert done


# --- greeting ------------------------------------------------------------------------------------------------------
ADD = scripts.load("history_append")


async def test_a_store_that_forgot_its_scripts(connect: Connect, stores: Stores) -> None:
    """Scripts are loaded on connecting; after a SCRIPT FLUSH the text is sent again."""
    store = await connect(scripts=[ADD])
    with stores.room.client() as other:
        assert other.script_exists(ADD.sha) == [True]
        assert await store.run(ADD, ["m", "e", "l"], [10, "{}"]) == [b"no_room"]
        other.script_flush()
        for _ in range(2):
            assert await store.run(ADD, ["m", "e", "l"], [10, "{}"]) == [b"no_room"]
        assert other.script_exists(ADD.sha) == [True]


async def test_a_call_that_breaks_the_scripts_contract(connect: Connect) -> None:
    """It is refused before anything is sent."""
    store = await connect(scripts=[ADD])
    with pytest.raises(AssertionError):
        await store.run(ADD, ["m"], [10, "{}"])


async def test_nobody_may_call_before_it_is_opened(connect: Connect) -> None:
    """`on_up` uses the connection first; if it fails, the store stays down and tries again."""
    seen: list[str] = []
    store: Store | None = None

    async def open_it(link: Link) -> None:
        assert store is None or not store.up
        seen.append((await link.call("ECHO", "opening")).decode())
        if len(seen) < 3:
            raise StoreDown("not yet")

    store = await connect(on_up=open_it)
    assert seen == ["opening"] * 3
    assert store.up


async def test_an_opening_that_fails_otherwise(connect: Connect) -> None:
    """A bug in `on_up` does not end the attempts."""
    tries = 0

    async def open_it(_link: Link) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError("a bug")

    await connect(on_up=open_it)
    assert tries == 2


async def test_pushes_go_their_own_way(connect: Connect, stores: Stores) -> None:
    """Messages of a subscription are not taken for replies."""
    heard: list[list[Any]] = []
    news = asyncio.Event()

    def on_push(push: list[Any]) -> None:
        heard.append(list(push))
        if push[0] == b"message":
            news.set()

    store = await connect(on_push=on_push)
    assert store.link is not None
    store.link.tell("SUBSCRIBE", "channel")
    replies = asyncio.gather(*(store.call("ECHO", str(n)) for n in range(50)))
    with stores.room.client() as other:
        assert await replies == [str(n).encode() for n in range(50)]
        other.publish("channel", "hello")
    async with asyncio.timeout(WAIT_S):
        await news.wait()
    assert heard == [[b"subscribe", b"channel", 1], [b"message", b"channel", b"hello"]]


async def test_password_database_and_tcp(
    connect: Connect, own_store: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client uses the address's password and database over TCP; without the password it is refused."""
    port = free_port()
    with own_store.client() as other:
        other.config_set("bind", "127.0.0.1")
        other.config_set("port", str(port))
        other.config_set("requirepass", "p@ss word")
    store = await connect(f"redis://:p%40ss%20word@127.0.0.1:{port}/3")
    await store.call("SET", "where", "three")
    assert await store.call("GET", "where") == b"three"
    assert b" db=3 " in await store.call("CLIENT", "INFO")
    for wrong in (f"redis://127.0.0.1:{port}", f"redis://:wrong@127.0.0.1:{port}"):
        locked = await connect(wrong, wait=False)
        with pytest.raises(StoreDown):
            await locked.wait_up(0.2)
    await store.call("CONFIG", "SET", "requirepass", "")
