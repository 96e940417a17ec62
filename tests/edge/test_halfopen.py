"""Connections without a welcome are counted by address: half handshakes, requests under way, kept alive."""

import asyncio
import ipaddress

import pytest

from server import limits
from server.edge import halfopen
from server.edge.halfopen import HalfOpen, TooManyOpen
from server.edge.proxies import network_of
from tests.journeys.raw import Peers, upgrade
from tests.site import Site


def test_who_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 customer's network is one; this machine and unix sockets are not counted; nothing is left behind."""
    monkeypatch.setattr(limits, "ADDRESS_HALF_OPEN_MAX", 2)
    table = HalfOpen()
    taken = [table.take(("2001:db8::1", 1)), table.take(("2001:db8::ffff", 2))]
    assert taken == [network_of("2001:db8::")] * 2
    with pytest.raises(TooManyOpen):
        table.take(("2001:db8::2", 3))
    assert table.take(("2001:db8:0:1::2", 3)) == "2001:db8:0:1::/64"
    for own in (("127.0.0.1", 1), ("127.9.9.9", 1), ("::1", 1, 0, 0), ("::ffff:127.0.0.1", 1), "", None, ("", 0)):
        assert [table.take(own) for _ in range(3)] == [None] * 3
    for address in (*taken, "2001:db8:0:1::/64"):
        table.leave(address)
    assert not table._open
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"


def test_who_leaves_frees_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of the address are still counted."""
    monkeypatch.setattr(limits, "ADDRESS_HALF_OPEN_MAX", 2)
    table = HalfOpen()
    taken = [table.take(("10.0.0.1", port)) for port in (1, 2)]
    table.leave(taken[0])
    table.take(("10.0.0.1", 3))
    with pytest.raises(TooManyOpen):
        table.take(("10.0.0.1", 4))


def test_proxies_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom the operator trusts to speak for many people has no bound here."""
    monkeypatch.setattr(limits, "ADDRESS_HALF_OPEN_MAX", 1)
    table = HalfOpen()
    table.exempt([ipaddress.ip_network("10.1.0.0/16")])
    assert [table.take((host, 1)) for host in ("10.1.2.3", "10.1.2.3", "::ffff:10.1.2.3", "10.2.0.1")] == [
        *(None, None, None),
        "10.2.0.1",
    ]


async def test_only_those_without_a_welcome_count(site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A welcomed socket has left; a refused one and one that hung up have, too."""
    monkeypatch.setattr(limits, "ADDRESS_HALF_OPEN_MAX", 2)
    monkeypatch.setattr(halfopen, "_is_own", lambda _address: False)
    viewers = [await site.join(f"viewer-{number}") for number in range(4)]
    for _ in range(3):
        refused = await peers.connect(site.port)
        await refused.send(upgrade("/v1/rooms/demo/ws?token=x"))
        assert await refused.status() == 401
        assert await refused.closed() is None
    table = HalfOpen.of(site.server.server_state)
    half = [await peers.connect(site.port) for _ in range(2)]
    async with asyncio.timeout(5):
        while table._open["127.0.0.1"] < 2:
            await asyncio.sleep(0)
    assert await (await peers.connect(site.port)).status() == 429
    await half[0].close()
    async with asyncio.timeout(5):
        while table._open["127.0.0.1"] > 1:
            await asyncio.sleep(0)
    assert (await (await site.join("late")).ask("ping"))["type"] == "ok"
    assert (await viewers[0].ask("ping"))["type"] == "ok"
