"""A room that gets twice the chat that it may: nobody is closed, and everybody hears how much they did not see.

`python -m loadtest bench overload` is the long form, with a crowd and a clock.
"""

import asyncio
import json
import socket
from typing import Any

import pytest

from server import limits
from tests.edge.test_large_writes import connection_of, raw
from tests.journeys.raw import Peers
from tests.program import eventually
from tests.site import Site

LIMIT, TIMES, FRAME = 400, 2, 20


async def test_twice_the_limit_closes_nobody(site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer who reads gets every message or its count; so does one who has fallen out of the ring.

    But what was over the limit while a socket took nothing is not told to it.
    """
    monkeypatch.setattr(limits, "RING_EVENTS_MAX", 100)
    monkeypatch.setattr(limits, "FLUSH_EVENTS_MAX", 40)
    site.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.KERNEL_SEND_BYTES // 4)
    await site.put_room("demo", chat_per_s=LIMIT)
    alice, bots = await site.join("alice"), [await site.join(f"bot-{n}", "bot") for n in range(2)]
    slow = await raw(site, peers, "slow")
    await eventually(lambda: connection_of(site, "slow"), what="joining")
    total = TIMES * LIMIT
    for start in range(0, total, FRAME):
        bot = bots[start // FRAME % 2]
        await bot.tell([{"type": "chat.send", "ref": f"{n}", "text": "x" * 450} for n in range(start, start + FRAME)])
        await bot.until(lambda _, bot=bot, last=start + FRAME - 1: any(m.get("ref") == f"{last}" for m in bot.told))
    await asyncio.gather(*(bot.until(lambda _, bot=bot: len(replies(bot.told)) == total / 2) for bot in bots))
    over = sum("hidden" in reply for bot in bots for reply in replies(bot.told))
    assert {reply["type"] for bot in bots for reply in replies(bot.told)} == {"ok"}
    await alice.until(lambda told: known(told) == total)
    assert len(alice.events("chat.sent")) >= total - over
    connection = connection_of(site, "slow")
    assert connection is not None
    assert connection.paused
    told: list[dict[str, Any]] = []
    last = alice.events("chat.sent")[-1]["seq"]
    async with asyncio.timeout(20):
        while not any(message.get("seq", 0) >= last and message["type"] != "welcome" for message in told):
            _, payload = await slow.read_frame()
            told += json.loads(payload)
    assert total - over <= known(told) <= total
    assert sum(message["type"] == "chat.sent" for message in told) < total - over
    assert not connection.closing


def replies(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in told if message["type"] in ("ok", "refused")]


def known(told: list[dict[str, Any]]) -> int:
    """The messages that somebody has seen, or heard the number of."""
    hidden = sum(message["count"] for message in told if message["type"] == "notice")
    return hidden + sum(message["type"] == "chat.sent" for message in told)
