"""The crowd on a real node, and that it would say so if order or sums were wrong."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from loadtest.audience import Audience, Counted
from loadtest.crowd import Crowd, Plan, run
from loadtest.naive import BOT_PATH, PATH, WAYS, Naive
from loadtest.person import mark
from loadtest.wire import Address, NotAdmitted, Socket
from protocol.client import Frame, RoomClient
from tests.site import WAIT_S, Site


def plan(site: Site, **changed: object) -> Plan:
    """A small crowd for a moment."""
    given = {
        "url": site.url,
        "service_key": site.settings.service_key,
        "viewers": 8,
        "seconds": 0.5,
        "chats_per_s": 40,
        "gifts_per_s": 40,
        "givers": 3,
        "room": None,
        "seed": 1,
    }
    return Plan(**{**given, **changed})  # type: ignore[arg-type]


async def ran(site: Site) -> Crowd:
    """A crowd that has been there and left."""
    crowd = Crowd(plan(site))
    await crowd.join(await asyncio.to_thread(crowd.prepare))
    await crowd.run()
    await crowd.settle()
    crowd.leave()
    return crowd


async def test_a_crowd_finds_order_and_sums(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 0 and tells what everybody saw."""
    assert await asyncio.to_thread(run, plan(site)) == 0
    said = capsys.readouterr().out
    assert "order and sums hold" in said
    assert "crowd of 8" in said


async def test_a_crowd_tells_what_is_wrong(site: Site) -> None:
    """Each account that differs from the others' becomes a sentence."""
    crowd = await ran(site)
    assert crowd.paid
    assert await asyncio.to_thread(crowd.check) == []
    first, second, *_ = crowd.people
    first.client.gift_coins += 1  # somebody saw a gift twice
    second.seen[0], second.seen[1] = second.seen[1], second.seen[0]  # and somebody another order
    crowd.people[2].seen[0] = (*crowd.people[2].seen[0][:2], "another", False)
    chats = [n for n, (*_, latest) in enumerate(crowd.people[3].seen) if not latest]
    del crowd.people[3].seen[chats[len(chats) // 2]]  # one event was lost on its way
    crowd.spent[0] = crowd.spent.get(0, 0) + 7  # a giver paid other than what was acknowledged
    wrong = await asyncio.to_thread(crowd.check)
    crowd.api.close()
    for said in ("viewer 0 saw", "viewer 1 saw seq", "saw another event", "viewer 3 was not told 1", "giver 0 holds"):
        assert any(said in sentence for sentence in wrong), said


async def test_a_socket_reads_frames_however_they_are_cut(site: Site) -> None:
    """Bytes that come one at a time are the same frames; a ping among them is answered."""
    heard: list[Frame] = []
    path = "/" + site.address(token=site.token("alice")).split("/", 3)[3]
    opened = await Socket.connect(Address.of(site.url), path, heard.append)
    long = "x" * 70_000
    frames = b"\x81\x02hi" + b"\x89\x00" + b"\x82\x7e" + (300).to_bytes(2) + b"y" * 300
    frames += b"\x81\x7f" + len(long).to_bytes(8) + long.encode()
    heard.clear()
    for byte in frames:
        opened.data_received(bytes((byte,)))
    assert heard[:3] == ["hi", b"y" * 300, long]
    opened.close()
    assert await asyncio.wait_for(opened.closed, WAIT_S) == 1000


async def test_a_refused_socket_says_with_what_status(site: Site) -> None:
    """Who is not let in gets the HTTP status and what the server said."""
    with pytest.raises(NotAdmitted, match="bad_token") as no:
        await Socket.connect(Address.of(site.url), "/v1/rooms/demo/ws?token=x", lambda _frame: None)
    assert no.value.status == 401


@pytest.mark.parametrize("way", WAYS)
async def test_the_plain_ways_tell_everybody(way: str) -> None:
    """Each event reaches every viewer of the servers that ours is measured beside, and whoever said it has a reply."""
    with Naive(way) as naive:
        address, bot = Address.of(naive.url), RoomClient(lambda: 0)
        heard: asyncio.Queue[Frame] = asyncio.Queue()
        replies: asyncio.Queue[Frame] = asyncio.Queue()
        viewers = [await Socket.connect(address, PATH, heard.put_nowait) for _ in range(3)]
        speaker = await Socket.connect(address, BOT_PATH, replies.put_nowait)
        speaker.send(bot.chat("to all"))
        async with asyncio.timeout(WAIT_S):
            events = [msgspec.json.decode(await heard.get())[0] for _ in viewers]
            assert bot.receive(await replies.get())
        assert [(event["type"], event["seq"], event["text"]) for event in events] == [("chat.sent", 1, "to all")] * 3
        for socket in (*viewers, speaker):
            socket.abort()


async def test_slow_readers_of_an_audience_count_nothing(site: Site, tmp_path: Path) -> None:
    """Who never reads is there and hears nothing; the others' messages are counted."""
    path = "/" + site.address(token=site.token("fan")).split("/", 3)[3]
    audience = Audience(site.url, path, 5, 1.5, cpu=0, folder=tmp_path, slow=2)
    try:
        await asyncio.to_thread(audience.wait_ready)
        bot = await site.join("bot", "bot")
        for _ in range(4):
            await bot.ask("chat.send", text=mark())
        heard = await asyncio.to_thread(audience.heard)
    finally:
        audience.end()
    assert (heard.conns, heard.messages, heard.closed) == (5, 4 * 3, 0)


def test_an_audience_counts_a_mark_that_is_cut_in_two() -> None:
    """Marks are found in whatever pieces the bytes come, each once."""
    text = f"[{mark()},{mark()}]@ and @T is none, @{mark()}".encode()
    for cut in range(len(text) + 1):
        counted = Counted()
        counted.read(counted.read(text[:cut]) + text[cut:])
        assert counted.messages == 3, cut
