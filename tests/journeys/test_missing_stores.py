"""A node that starts while the wallet store or the journal is missing or wrong: chat goes on, and gifts are refused."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Stores
from tests.program import Program, Served, eventually, free_port
from tests.torture import rounds

STARTS_S = 20.0  # it waits five seconds for the stores, in a process that takes some to start


MISSING = {
    "no wallet store": lambda: {"LIVEROOM_WALLET_URL": f"redis://127.0.0.1:{free_port()}/0"},
    "no socket of a wallet store": lambda: {"LIVEROOM_WALLET_URL": "unix:///no/such/wallet.sock"},
    "no journal": lambda: {"LIVEROOM_JOURNAL_URL": f"postgresql://u:secret-word@127.0.0.1:{free_port()}/d"},
}


@pytest.mark.parametrize("missing", rounds(list(MISSING)[::2], list(MISSING)))
async def test_chat_goes_on(new_program: Callable[..., Program], missing: str) -> None:
    """The node is ready soon and says what is degraded. Gifts are refused as unavailable."""
    program = new_program()
    await program.start()
    node = Served(
        program.folder,
        program.root,
        **{
            "LIVEROOM_WALLET_URL": f"unix://{program.data / 'wallet.sock'}",
            "LIVEROOM_ROOM_URL": f"unix://{program.data / 'room.sock'}",
            "LIVEROOM_JOURNAL_URL": f"sqlite:///{program.data / 'journal.sqlite3'}",
            "LIVEROOM_DATA": str(program.folder / "no-data"),
            "LIVEROOM_METRICS_PORT": "0",
            **MISSING[missing](),
        },
    )
    try:
        assert await node.start() < STARTS_S
        alice, bob = await program.join("alice"), await program.join("bob", node=node)
        assert (await bob.ask("chat.send", text="still here"))["type"] == "ok"
        await alice.happened("chat.sent", text="still here")
        if "wallet" in missing:
            refused = await bob.gift("rose")
            assert (refused["type"], refused["reason"]) == ("refused", "wallet_unavailable")
        degraded = (await node.get("/readyz"))["degraded"]
        assert degraded.keys() & {"wallet", "journal", "sql", "closed"}, degraded
        assert "Traceback" not in node.stderr()
        assert "secret-word" not in node.stderr()
        ended = await node.stop()
        assert ended.code == 0
    finally:
        await node.kill()


@pytest.mark.parametrize("missing", ["room", "wallet"])
async def test_it_is_whole_when_the_store_comes(stores: Stores, journal: str, tmp_path: Path, missing: str) -> None:
    """A node comes up without a store, says so, and needs no restart once the store is there."""
    urls = {f"LIVEROOM_{each.kind.name.upper()}_URL": f"unix://{each.socket}" for each in (stores.room, stores.wallet)}
    later = tmp_path / "later.sock"
    urls[f"LIVEROOM_{missing.upper()}_URL"] = f"unix://{later}"
    with tempfile.TemporaryDirectory(prefix="lr-", dir="/tmp") as folder:
        node = Served(Path(folder), LIVEROOM_JOURNAL_URL=journal, **urls)
        node.spawn()
        try:
            words = {"room": "node_starts_without_rooms", "wallet": "node_starts_without_gifts"}[missing]
            await eventually(lambda: words in node.stderr(), what=f"{words}; {node.output()}")
            async with node.client() as client:
                assert (await client.get("/healthz")).status_code == 200
                ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()[f"{missing}_store"]) == (503 if missing == "room" else 200, False)
            later.symlink_to((stores.room if missing == "room" else stores.wallet).socket)
            await node.until_ready()
            await eventually(lambda: has_coins(node, "bob"), what=f"the demo; {node.output()}")
            alice = await node.join("alice")
            assert (await alice.gift("rose"))["type"] == "ok"
            await alice.happened("gifts.sent")
            await node.everybody_leaves()
            assert (await node.stop()).code == 0
            assert "Traceback" not in node.stderr()
        finally:
            await node.kill()


async def has_coins(node: Served, user: str) -> bool:
    """Whether the demo is made: it gives coins last to bob."""
    async with node.client() as client:
        answer = await client.get(f"/v1/wallets/{user}")
    return answer.status_code == 200 and answer.json()["coins"] > 0
