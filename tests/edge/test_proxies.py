"""Behind proxies: whose address counts, and that nobody can choose it."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog

from server import limits
from server.app import Node
from server.edge.proxies import Forwarded, Proxies, network_of
from server.processes.node import uvicorn_config
from server.settings import Unusable, load
from tests.edge.test_admission import join_from, refused
from tests.site import Site
from tests.stores import settings

MakeSite = Callable[..., Awaitable[Site]]
LOCAL = load({}).trusted_proxies
TRUSTED = load({"LIVEROOM_TRUSTED_PROXIES": "127.0.0.0/8, ::1, 10.0.0.0/8,2001:db8:aaaa::/48"}).trusted_proxies


async def seen(peer: Any, *forwarded: str, trusted: Any = TRUSTED) -> Any:
    """The client that the application sees behind `Forwarded`."""
    found: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope["client"])

    headers = [(b"x-forwarded-for", each.encode("latin-1")) for each in forwarded]
    client = None if peer is None else (peer, 40_000)
    await Forwarded(app, Proxies(trusted))({"type": "http", "client": client, "headers": headers}, None, None)  # type: ignore[arg-type]
    (client,) = found
    return None if client is None else client[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("127.9.9.9", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        (None, ["203.0.113.7"], "203.0.113.7"),
        (None, [], None),
        ("127.0.0.1", ["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["6.6.6.6", "203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["6.6.6.6, 203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7, 2001:db8:aaaa::9,::ffff:10.1.2.3"], "203.0.113.7"),
        ("127.0.0.1", ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        ("127.0.0.1", ["6.6.6.6, nobody, 10.0.0.9"], "10.0.0.9"),
        ("127.0.0.1", ["6.6.6.6, , 10.0.0.9"], "10.0.0.9"),
        ("127.0.0.1", ["6.6.6.6, unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, 1.2.3"], "127.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, \xb2.2.2.2"], "127.0.0.1"),
        ("127.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7:5678"], "203.0.113.7"),
        ("127.0.0.1", ["[2001:db8::7]:5678"], "2001:db8::7"),
        ("127.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("203.0.113.9", ["6.6.6.6"], "203.0.113.9"),
        ("203.0.113.9", ["127.0.0.1"], "203.0.113.9"),
        ("::ffff:203.0.113.9", ["6.6.6.6"], "::ffff:203.0.113.9"),
        ("2001:db8::1", ["6.6.6.6"], "2001:db8::1"),
        ("testclient", ["6.6.6.6"], "testclient"),
    ],
)
async def test_whose_address_counts(peer: str | None, forwarded: list[str], client: str | None) -> None:
    """The rightmost address that is not a trusted proxy's; what is left of an invalid entry could be anything."""
    assert await seen(peer, *forwarded) == client


async def test_only_trusted_peers_are_believed() -> None:
    """By default those of this machine. A proxy elsewhere is ignored, and the log says so once."""
    with structlog.testing.capture_logs() as logs:
        assert await seen("10.0.0.9", "6.6.6.6", trusted=LOCAL) == "10.0.0.9"
        assert await seen("127.0.0.1", "6.6.6.6", trusted=LOCAL) == "6.6.6.6"
        assert await seen("127.0.0.1", "6.6.6.6", trusted=()) == "127.0.0.1"
    assert [(each["event"], each["peer"]) for each in logs] == [
        ("forwarded_for_ignored", "10.0.0.9"),
        ("forwarded_for_ignored", "127.0.0.1"),
    ]


async def test_the_log_is_not_flooded() -> None:
    """One line per node, however many requests come from strangers."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None: ...

    forwarded = Forwarded(app, Proxies(LOCAL))
    scope = {"type": "websocket", "client": ("203.0.113.9", 1), "headers": [(b"x-forwarded-for", b"6.6.6.6")]}
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await forwarded(dict(scope), None, None)  # type: ignore[arg-type]
    assert len(logs) == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_networks(address: str, network: str) -> None:
    """Each IPv4 person counts alone, also where the node listens on `::`; IPv6 counts per /64."""
    assert network_of(address) == network


async def test_a_stranger_cannot_choose_an_address(another_site: MakeSite) -> None:
    """Where no proxy is trusted, three forged addresses are one person's, who has two places."""
    site = await another_site(LIVEROOM_CONNECTIONS_PER_ADDRESS="2", LIVEROOM_TRUSTED_PROXIES="203.0.113.0/24")
    await join_from(site, "a", "10.0.0.1")
    await join_from(site, "b", "10.0.0.2")
    await refused(site, "c", "10.0.0.3")


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "0.0.0.0/0", "::/0", "10.0.0.0/8;::1"])
def test_networks_that_are_none(wrong: str) -> None:
    """A wrong network is refused in one sentence. Who trusts everybody lets everybody forge an address."""
    with pytest.raises(Unusable, match="LIVEROOM_TRUSTED_PROXIES"):
        load({"LIVEROOM_TRUSTED_PROXIES": wrong})


def test_networks_by_default() -> None:
    """This machine's, unless others are named; an empty value trusts nobody but unix sockets."""
    assert tuple(map(str, LOCAL)) == ("127.0.0.0/8", "::1/128")
    assert load({"LIVEROOM_TRUSTED_PROXIES": ""}).trusted_proxies == LOCAL
    assert load({"LIVEROOM_TRUSTED_PROXIES": "none"}).trusted_proxies == ()
    assert load({"LIVEROOM_TRUSTED_PROXIES": "10.1.2.3"}).trusted_proxies == (ipaddress.ip_network("10.1.2.3"),)


def test_a_connection_outlives_those_of_proxies(tmp_path: Any) -> None:
    """nginx keeps an idle connection for 60 s: a node that closed first would lose the request just sent."""
    config = uvicorn_config(Node(settings(tmp_path)))
    assert config.timeout_keep_alive == limits.KEEP_ALIVE_S == 75
    assert not config.proxy_headers  # uvicorn would believe headers by rules of its own
