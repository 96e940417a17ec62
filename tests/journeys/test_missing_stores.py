"""A node that starts while the wallet store or the journal is missing or wrong: chat goes on, and gifts are refused."""

from collections.abc import Callable

import pytest

from tests.program import Program, Served, free_port

STARTS_S = 20.0  # it waits five seconds for the stores, in a process that takes some to start


MISSING = {
    "no wallet store": lambda: {"LIVEROOM_WALLET_URL": f"redis://127.0.0.1:{free_port()}/0"},
    "no socket of a wallet store": lambda: {"LIVEROOM_WALLET_URL": "unix:///no/such/wallet.sock"},
    "no journal": lambda: {"LIVEROOM_JOURNAL_URL": f"postgresql://u:secret-word@127.0.0.1:{free_port()}/d"},
}


@pytest.mark.parametrize("missing", MISSING)
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
