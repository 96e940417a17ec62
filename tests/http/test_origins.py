"""Other sites' pages: what they may read, who may frame ours, and where ours may connect."""

import re
from collections.abc import Awaitable, Callable

import httpx
import pytest

from server.settings import Unusable, load
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
SHOP = "https://shop.example.com"
OPEN = (
    *("/v1/rooms", "/v1/rooms/demo", "/v1/rooms/nowhere", "/v1/gifts", "/v1/openapi.json", "/healthz"),
    *("/web/liveroom.js", "/web/liveroom/room.js", "/web/liveroom/folds.js", "/web/gifts/rose.svg"),
)


def allowed(response: httpx.Response) -> str | None:
    return response.headers.get("Access-Control-Allow-Origin")


async def test_open_reads_are_for_every_page(site: Site) -> None:
    """Any page may read what is open, and import the client."""
    for path in OPEN:
        response = await site.http.get(path, headers={"Authorization": "", "Origin": SHOP})
        assert allowed(response) == "*", path


async def test_nothing_with_a_key_is_for_other_pages(site: Site) -> None:
    """What needs the key, makes tokens or was asked for with an Authorization is for no other site's page."""
    for path in ("/v1/wallets/alice", "/v1/audit", "/metrics", "/v1/rooms/demo", "/v1/nothing"):
        assert allowed(await site.http.get(path, headers={"Origin": SHOP})) is None, path
    for path in ("/v1/wallets/alice", "/dev/token?user=alice", "/metrics", "/watch/demo"):
        assert allowed(await site.http.get(path, headers={"Authorization": "", "Origin": SHOP})) is None, path
    body = {"host": {"user_id": "creator", "name": "Creator"}}
    assert allowed(await site.http.put("/v1/rooms/demo", json=body, headers={"Origin": SHOP})) is None


async def test_named_origins(another_site: MakeSite) -> None:
    """Named origins may read, others may not, and caches keep them apart."""
    site = await another_site(LIVEROOM_ORIGINS=f"{SHOP}, http://localhost:3000")
    for path in OPEN:
        for origin, answer in ((SHOP, SHOP), ("http://localhost:3000",) * 2, ("https://shop.example.com.evil", None)):
            response = await site.http.get(path, headers={"Authorization": "", "Origin": origin})
            assert allowed(response) == answer, (path, origin)
            assert "Origin" in response.headers["Vary"]
    nobody = await another_site(LIVEROOM_ORIGINS="none")
    for path in OPEN:
        assert allowed(await nobody.http.get(path, headers={"Authorization": "", "Origin": SHOP})) is None


async def policy_of(site: Site, path: str = "/watch/demo", **headers: str) -> dict[str, str]:
    """A page's content security policy, by directive."""
    response = await site.http.get(path, headers=headers)
    assert response.status_code == 200
    parts = response.headers["Content-Security-Policy"].split("; ")
    return {name: sources for name, _, sources in (part.partition(" ") for part in parts)}


async def test_pages_connect_to_their_own_origin(site: Site) -> None:
    """Named in full, because older browsers do not count ws: as 'self'. A Host that is not one changes nothing."""
    own = f"'self' ws://127.0.0.1:{site.port} wss://127.0.0.1:{site.port}"
    for page in ("/watch/demo", "/overlay/demo"):
        assert (await policy_of(site, page))["connect-src"] == own
    assert (await policy_of(site, Host="live.example.com"))["connect-src"].endswith("wss://live.example.com")
    for host in ("evil.com; script-src *", "a b", "[::1]:80", "*", "x'y"):
        assert (await policy_of(site, Host=host))["connect-src"] == "'self'", host


async def test_who_may_frame_our_pages(another_site: MakeSite) -> None:
    """Their own origin, unless others are named."""
    assert (await policy_of(await another_site()))["frame-ancestors"] == "'self'"
    site = await another_site(LIVEROOM_FRAME_ANCESTORS="self, https://shop.example.com https://*.example.net:8443")
    for page in ("/watch/demo", "/overlay/demo"):
        ancestors = (await policy_of(site, page))["frame-ancestors"]
        assert ancestors == "'self' https://shop.example.com https://*.example.net:8443"
    assert load({"LIVEROOM_FRAME_ANCESTORS": "none"}).frame_ancestors == "'none'"
    assert load({"LIVEROOM_FRAME_ANCESTORS": "*"}).frame_ancestors == "*"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("LIVEROOM_ORIGINS", wrong) for wrong in ("shop.example.com", f"{SHOP}/", f"{SHOP}; *", "https://*.a.com")),
        *(("LIVEROOM_ORIGINS", wrong) for wrong in ("self", f"none,{SHOP}", f"*,{SHOP}", "null")),
        *(("LIVEROOM_FRAME_ANCESTORS", wrong) for wrong in ("'self'; x", "shop", f"{SHOP}/path", f"none {SHOP}")),
    ],
)
def test_origins_that_are_none(name: str, wrong: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(Unusable, match=re.escape(name)):
        load({name: wrong})
