"""Who may open a socket, and how many: per address, per person, on one node."""

from collections.abc import Awaitable, Callable

import pytest
import websockets

from server import settings
from server.edge.admission import Places
from server.edge.refusing import NotAdmitted
from tests.site import Site, Viewer
from tests.stores import SECRETS

MakeSite = Callable[..., Awaitable[Site]]


async def join_from(site: Site, user: str, address: str) -> Viewer:
    """Open a socket through a proxy that reports this client address."""
    connection = await websockets.connect(
        site.address(token=site.token(user)), additional_headers={"X-Forwarded-For": address}, proxy=None
    )
    viewer = Viewer(connection, "json")
    site.viewers.append(viewer)
    await viewer.happened("welcome")
    return viewer


async def refused(site: Site, user: str, address: str) -> websockets.InvalidStatus:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await join_from(site, user, address)
    assert refusal.value.response.status_code == 429
    assert int(refusal.value.response.headers["Retry-After"]) > 0
    assert b"too_many_connections" in (refusal.value.response.body or b"")
    return refusal.value


async def test_sockets_per_person(another_site: MakeSite) -> None:
    """A person's socket above the bound gets 429.

    Another person still gets in, and a socket that closes frees its place.
    """
    site = await another_site(LIVEROOM_CONNECTIONS_PER_USER="2")
    first, second = await site.join("alice"), await site.join("alice")
    await refused(site, "alice", "10.0.0.1")
    await site.join("bob")
    await first.leave()
    await site.join("alice")
    await refused(site, "alice", "10.0.0.1")
    assert (await second.ask("ping"))["type"] == "ok"


async def test_sockets_per_address(another_site: MakeSite) -> None:
    """The address is the one that a trusted proxy reports; IPv6 counts by its /64 network."""
    site = await another_site(LIVEROOM_CONNECTIONS_PER_ADDRESS="2")
    for user, address in (("a", "10.0.0.1"), ("b", "10.0.0.1"), ("c", "10.0.0.2"), ("d", "2001:db8::1")):
        await join_from(site, user, address)
    await refused(site, "e", "10.0.0.1")
    await join_from(site, "e", "2001:db8::ffff")
    await refused(site, "f", "2001:db8::2")
    await join_from(site, "f", "2001:db8:0:1::2")


async def test_refused_upgrades_keep_no_place(another_site: MakeSite) -> None:
    """Upgrades that are refused for another reason leave the places to others."""
    site = await another_site(LIVEROOM_CONNECTIONS_PER_USER="1")
    for address in (site.address(token="x.y.z"), site.address("nowhere", token=site.token("alice"))):
        for _ in range(3):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(address, proxy=None)
    await site.join("alice")


def test_places() -> None:
    """A place is freed once; a bound of 0 means unbounded; nothing is left in memory when everybody has left."""
    places = Places(per_address=2, per_user=0)
    first, second = places.take("x", "alice"), places.take("x", "alice")
    with pytest.raises(NotAdmitted):
        places.take("x", "bob")
    first.leave()
    first.leave()
    third = places.take("x", "bob")
    with pytest.raises(NotAdmitted):
        places.take("x", "bob")
    second.leave()
    third.leave()
    assert not places._taken


def test_bounds_by_mode() -> None:
    """Production has bounds. Development has none, because a load test comes from one address."""
    production = settings.load({"LIVEROOM_MODE": "production", **SECRETS})
    assert production.connections_per_address > production.connections_per_user > 0
    development = settings.load({})
    assert (development.connections_per_address, development.connections_per_user) == (0, 0)
