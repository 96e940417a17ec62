"""What an operator did wrong with a store: one sentence says it, never a traceback, and chat goes on where it can."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import strangers
from tests.conftest import Stores
from tests.program import Served, eventually
from tests.torture import rounds

# Users of both stores: one that may do nothing but connect, and one that may do nearly everything.
USERS = {"nobody": ("+hello",), "chatter": ("+@all", "resetchannels", "-publish")}


class Mistake(NamedTuple):
    """A wrong address of a store, in the words of `addresses`, and the words that the process must say about it.

    `code` is its exit code; None when it goes on without the store.
    """

    command: str
    store: str
    address: str
    words: tuple[str, ...]
    code: int | None = 2


PASSWORD = ("refuses our user or password", "WRONGPASS")
TABLE = [
    Mistake("node", "ROOM", "unix://nobody:wrong@{room}", PASSWORD),
    Mistake("node", "ROOM", "unix://nobody:secret@{room}", ("NOPERM",)),
    Mistake("node", "ROOM", "unix://chatter:secret@{room}", ("may not run PUBLISH",)),
    Mistake("node", "ROOM", "redis://127.0.0.1:{http}", ("is not a Redis or Valkey",)),
    Mistake("node", "ROOM", "redis://127.0.0.1:{redis_6}", ("is version 6.2.14", "7.0 or later")),
    Mistake("node", "ROOM", "redis://127.0.0.1:{hanging_up}", ("room", "closes the connection"), None),
    Mistake("node", "WALLET", "unix://nobody:wrong@{wallet}", PASSWORD, None),
    Mistake("node", "WALLET", "unix://nobody:secret@{wallet}", ("NOPERM",), None),
    Mistake("node", "WALLET", "redis://127.0.0.1:{http}", ("is not a Redis or Valkey",), None),
    Mistake("node", "WALLET", "redis://127.0.0.1:{redis_6}", ("is version 6.2.14", "7.0 or later"), None),
    Mistake("node", "WALLET", "cluster://127.0.0.1:{redis_6}", ("is version 6.2.14",), None),
    Mistake("node", "WALLET", "unix://{another_name}", ("it is the room store, too",), None),
    Mistake("node", "WALLET", "unix://{room}", ("the same store",)),
    Mistake("journal", "ROOM", "unix://{wallet}?db=3", ("the same store",)),
    Mistake("journal", "WALLET", "unix://nobody:wrong@{wallet}", PASSWORD),
    Mistake("journal", "WALLET", "unix://nobody:secret@{wallet}", ("NOPERM",)),
    Mistake("journal", "WALLET", "redis://127.0.0.1:{http}", ("is not a Redis or Valkey",)),
    Mistake("journal", "WALLET", "redis://127.0.0.1:{redis_6}", ("is version 6.2.14", "7.0 or later")),
    Mistake("journal", "WALLET", "unix:///no/such.sock", ("wallet", "No such file"), None),
    Mistake("journal", "WALLET", "redis://127.0.0.1:{silent}", ("wallet", "does not answer"), None),
    Mistake("journal", "ROOM", "unix://nobody:wrong@{room}", ("room", *PASSWORD), None),
    Mistake("audit", "WALLET", "unix://nobody:wrong@{wallet}", PASSWORD),
]


@pytest.fixture
async def addresses(stores: Stores, tmp_path: Path) -> AsyncIterator[dict[str, object]]:
    """The sockets of two stores that have USERS, and a port of each stranger."""
    another_name = tmp_path / "a.sock"
    another_name.symlink_to(stores.room.socket)
    found: dict[str, object] = {
        "another_name": another_name,
        "wallet": stores.wallet.socket,
        "room": stores.room.socket,
    }
    for each in (stores.wallet, stores.room):
        with each.client() as client:
            for user, rights in USERS.items():
                client.execute_command("ACL", "SETUSER", user, "reset", "on", ">secret", "~*", *rights)
    async with contextlib.AsyncExitStack() as stack:
        for who in (strangers.http, strangers.silent, strangers.hanging_up, strangers.redis_6):
            found[who.__name__] = await stack.enter_async_context(strangers.serving(who))
        yield found


@pytest.fixture
async def served(addresses: dict[str, object], journal: str) -> AsyncIterator[Served]:
    """A process on the run's two stores, which is not started yet."""
    with tempfile.TemporaryDirectory(prefix="lr-", dir="/tmp") as folder:
        made = Served(
            Path(folder),
            LIVEROOM_WALLET_URL=f"unix://{addresses['wallet']}",
            LIVEROOM_ROOM_URL=f"unix://{addresses['room']}",
            LIVEROOM_JOURNAL_URL=journal,
        )
        yield made
        await made.kill()


SOME = rounds(TABLE[::3], TABLE)


@pytest.mark.parametrize("mistake", SOME, ids=[f"{each.command}, {each.store}: {each.address}" for each in SOME])
async def test_a_wrong_store(served: Served, addresses: dict[str, object], mistake: Mistake) -> None:
    """One line says what is wrong. A process that can do nothing without the store ends with code 2."""
    served.command = mistake.command
    served.environ[f"LIVEROOM_{mistake.store}_URL"] = mistake.address.format_map(addresses)
    served.spawn()

    def said() -> list[str]:
        return [line for line in served.stderr().splitlines() if all(word in line for word in mistake.words)]

    if mistake.code is not None:
        assert (await served.ended()).code == mistake.code, served.output()
        lines = said()
        assert [line for line in lines if line.startswith("liveroom: ")] == lines[-1:], served.output()
        assert f"LIVEROOM_{mistake.store}_URL" in lines[-1]
    else:
        await eventually(said, what=f"{mistake.words}; {served.output()}")
        if mistake.command == "node":
            await assert_degraded(served, mistake.store)
        assert (await served.stop()).code == 0, served.output()
    assert "Traceback" not in served.stderr()
    assert "secret" not in served.stderr()


async def assert_degraded(node: Served, store: str) -> None:
    """The node is alive. Without its room store it is not ready, and without its wallet store it is degraded."""
    async with node.client() as client:
        async with asyncio.timeout(20):
            await eventually(lambda: _listens(node), what=f"a port; {node.output()}")
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
    assert ready.status_code == (503 if store == "ROOM" else 200)
    assert ready.json()[f"{store.lower()}_store"] is False
    assert "wallet" in ready.json()["degraded"] or store == "ROOM"


async def _listens(node: Served) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
    except OSError:
        return False
    writer.close()
    return True
