"""Many commands at a time, as fast as the server accepts them."""

import asyncio
from typing import Any

import websockets

from server import limits
from tests.site import Viewer

BITE = 16  # commands of one frame; 500 characters each still fit into it
WAIT_S = 40.0
assert BITE <= limits.COMMANDS_PER_FRAME_MAX
assert BITE * 600 <= limits.FRAME_BYTES_MAX


def connected(viewer: Viewer) -> bool:
    return viewer.connection.close_code is None


async def ask_together(viewer: Viewer, frame: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Send commands, each with its ref, in one frame; return their replies by ref, fewer when the socket is lost."""
    refs = {command["ref"] for command in frame}
    seen, found = len(viewer.told), dict[str, dict[str, Any]]()
    try:
        await viewer.tell(frame)
    except websockets.ConnectionClosed:
        assert not connected(viewer)

    def answered(told: list[dict[str, Any]]) -> bool:
        nonlocal seen
        for message in told[seen:]:
            if message["type"] in ("ok", "refused") and message.get("ref") in refs:
                found[message["ref"]] = message
        seen = len(told)
        return len(found) == len(refs) or not connected(viewer)

    await viewer.until(answered, WAIT_S)
    return found


async def chat(viewer: Viewer, count: int, *, size: int = 20) -> int:
    """Send this many messages of this many characters from a bot, a batch at a time; return the seq of the last."""
    last = 0
    for first in range(0, count, BITE):
        lines = {f"line {last} {first} {n}": "x" * (size - 20) for n in range(min(BITE, count - first))}
        frame = [{"type": "chat.send", "ref": ref, "text": ref + text} for ref, text in lines.items()]
        said = await ask_together(viewer, frame)
        while late := {ref: reply for ref, reply in said.items() if reply["type"] == "refused"}:
            assert {reply["reason"] for reply in late.values()} == {"rate_limited"}, late
            await asyncio.sleep(max(reply["retry_after_ms"] for reply in late.values()) / 1000)  # as it is asked to
            said |= await ask_together(viewer, [command for command in frame if command["ref"] in late])
        last = max(reply["seq"] for reply in said.values())
    return last
