"""A store that answers and cannot be used: the connection says why in a sentence, and goes on trying."""

import pytest
import structlog

from server.store import fitness
from server.store.client import Store, StoreDown
from server.store.cluster import open_store
from tests import strangers
from tests.conftest import Stores
from tests.program import eventually
from tests.site import WAIT_S

STRANGERS = [
    (strangers.http, "what answers there is not a Redis or Valkey, or it wants TLS (rediss://)"),
    (strangers.redis_5, "it is older than version 6; 7.0 or later is needed"),
    (strangers.redis_6, "it is version 6.2.14; 7.0 or later is needed"),
    (strangers.sentinel, "it is a Sentinel, which stores nothing; name the store that it watches"),
]


@pytest.mark.parametrize(("stranger", "why"), STRANGERS, ids=[who.__name__ for who, _ in STRANGERS])
@pytest.mark.parametrize("scheme", ["redis", "cluster"])
async def test_a_stranger(scheme: str, stranger: strangers.Answers, why: str) -> None:
    """One line is logged, without a traceback."""
    async with strangers.serving(stranger) as port:
        store = open_store("room", f"{scheme}://127.0.0.1:{port}")
        with structlog.testing.capture_logs() as lines:
            await store.start()
            try:
                assert await eventually(lambda: store.refusal, WAIT_S, "a refusal") == why
            finally:
                await store.stop()
        said = [line["why"] for line in lines if line["log_level"] in ("warning", "error")]
        assert said == [why]


@pytest.mark.parametrize("stranger", [strangers.hanging_up, strangers.silent], ids=lambda who: who.__name__)
async def test_who_says_nothing(stranger: strangers.Answers) -> None:
    """It may be a store that starts: nothing is refused, and the wait has an end."""
    async with strangers.serving(stranger) as port:
        store = Store("room", f"redis://127.0.0.1:{port}")
        await store.start()
        try:
            with pytest.raises(StoreDown):
                await store.wait_up(0.2)
            assert store.refusal is None
        finally:
            await store.stop()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "it refuses our user or password (WRONGPASS"),
        (
            "NOAUTH HELLO must be called with the client already authenticated",
            "it refuses our user or password (NOAUTH",
        ),
        ("NOPERM User x has no permissions to run the 'info' command", "NOPERM User x"),
        ("DENIED Redis is running in protected mode because ...", "it is in protected mode and has no password"),
        ("ERR DB index is out of range", "it has no such database"),
        ("ERR unknown command 'HELLO'", "it is older than version 6"),
        ("ERR max number of clients reached", None),
        ("LOADING Redis is loading the dataset in memory", None),
        ("MISCONF Errors writing to the AOF file", None),
    ],
)
def test_what_a_store_refuses(text: str, why: str | None) -> None:
    """Only what a person must change is a refusal; the rest is waited for."""
    found = fitness.refused(text)
    assert found is why if why is None else str(found).startswith(why)


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"redis_version": "7.0.0"}, None),
        ({"redis_version": "10.0.0"}, None),
        ({"redis_version": "6.2.14"}, "it is version 6.2.14; 7.0 or later is needed"),
        ({"redis_version": "6.9.9", "valkey_version": "8.1.1"}, None),
        ({"redis_version": "unstable"}, "it is version unstable; 7.0 or later is needed"),
        ({}, "it is version 0; 7.0 or later is needed"),
        ({"redis_version": "7.2.4", "redis_mode": "cluster"}, None),
    ],
)
def test_a_version(about: dict[str, str], why: str | None) -> None:
    """Valkey also says which version of Redis it is like: its own counts."""
    assert fitness.unfit(about) == why


async def test_a_lost_connection_is_said_in_one_line(stores: Stores) -> None:
    """It calls the answers garbled only where they were."""
    store = open_store("room", f"unix://{stores.room.socket}")
    with structlog.testing.capture_logs() as lines:
        await store.start()
        try:
            await store.wait_up(WAIT_S)
            with stores.room.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            [lost] = await eventually(
                lambda: [line for line in lines if line["event"] == "store_lost"], WAIT_S, "a lost store"
            )
        finally:
            await store.stop()
    assert lost == {"event": "store_lost", "log_level": "warning", "store": "room"}
