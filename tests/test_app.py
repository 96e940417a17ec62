"""A node that starts."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server import limits
from server.app import Node
from tests.stores import settings


async def test_it_says_what_it_starts_without(journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the wait for a store ends in the same moment as that for all."""
    nowhere = f"unix://{tmp_path}/nobody.sock"
    node = Node(
        settings(
            tmp_path,
            LIVEROOM_WALLET_URL=nowhere,
            LIVEROOM_ROOM_URL=nowhere,
            LIVEROOM_JOURNAL_URL=journal,
        )
    )

    async def longer(_wait_s: float) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(limits, "STORES_START_S", 0.1)
    monkeypatch.setattr(node.room_store, "wait_up", longer)
    with capture_logs() as logged:
        await node.start()
        await node.stop()
    said = {entry["event"]: entry["why"] for entry in logged if entry["event"].startswith("node_starts_without_")}
    assert said.keys() == {"node_starts_without_rooms", "node_starts_without_gifts"}
    assert said["node_starts_without_rooms"] == "it did not come in time"
