"""The HTTP API: who may call it, what it accepts and answers, and that a repeated write is done once."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from protocol.gifts import Gift
from server import limits
from server.http.api import DESCRIBED
from server.store import keys
from tests.conftest import Stores
from tests.program import eventually
from tests.site import Site, new_gift_id
from tests.stores import SECRETS, settings

AnotherSite = Callable[..., Awaitable[Site]]
HOST = {"user_id": "creator", "name": "Creator"}
NO_KEY = {"Authorization": ""}


def error_of(response: httpx.Response) -> str:
    """The reason of an error, which has the one shape that all have."""
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) >= {"reason", "message"}
    assert error["message"]
    return str(error["reason"])


async def topup(
    site: Site, user: str = "carol", key: str | None = None, headers: Any = None, **changed: Any
) -> httpx.Response:
    body = {"id": "order-1", "coins": 500, "source": "shop", **changed}
    headers = headers or ({} if key is None else {"Idempotency-Key": key})
    return await site.http.post(f"/v1/wallets/{user}/topups", json=body, headers=headers)


# --- access --------------------------------------------------------------------------------------------------------
async def test_what_needs_the_service_key(site: Site) -> None:
    """Without the key, with another one, with a viewer's token or in another scheme nothing is done."""
    guarded = sorted(at for at, described in DESCRIBED.items() if not (described.open or described.open_here))
    assert len(guarded) > 10
    for path, method in guarded:
        address = re.sub(r"\{\w+\}", "demo", path)
        response = await site.http.request(method, address, headers=NO_KEY, json={})
        assert (response.status_code, error_of(response)) == (401, "unauthorized"), address
    token = site.token("alice", "host")
    for wrong in (
        "Bearer",
        "Bearer x",
        "Bearer dev-service-keyx",
        "Basic dev-service-key",
        f"Bearer {token}",
        "Bearer é",
    ):
        response = await topup(site, headers={"Authorization": wrong.encode()})
        assert (response.status_code, error_of(response)) == (401, "unauthorized"), wrong
    response = await site.http.get("/v1/wallets/alice?token=dev-service-key", headers=NO_KEY)
    assert response.status_code == 401
    assert await site.coins("carol") == 0


async def test_what_is_open(site: Site) -> None:
    """Anybody may ask for health, rooms and the catalogue."""
    for path in ("/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/rooms", "/v1/rooms/demo", "/v1/gifts"):
        assert (await site.http.get(path, headers=NO_KEY)).status_code == 200
        assert (await site.http.post(path, headers=NO_KEY)).status_code == 405


async def test_figures_are_not_for_the_public(another_site: AnotherSite) -> None:
    """In production, metrics and the audit's sums need the service key."""
    site = await another_site(LIVEROOM_MODE="production", **SECRETS)
    for path in ("/metrics", "/v1/audit"):
        response = await site.http.get(path, headers=NO_KEY)
        assert (response.status_code, error_of(response)) == (401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await site.http.get("/metrics")).headers["content-type"].startswith("text/plain")
    assert not DESCRIBED[("/metrics", "GET")].open


async def test_what_is_not_there(site: Site) -> None:
    """Unknown paths and wrong methods are errors of the same shape."""
    for path in (
        "/v1/nothing",
        "/v1/rooms/demo/ws/x",
        "/v2/rooms",
        "/v1/rooms/",  # a redirect would name http, also behind a proxy with TLS
        "/v1/rooms/demo/",
        "/web",
        "/web/nothing.js",
        "/web/../app.py",
        "/web/%2e%2e/app.py",
    ):
        response = await site.http.get(path)
        assert (response.status_code, error_of(response)) == (404, "not_found")
    for path, allow in (
        ("/v1/rooms/demo", "DELETE, GET, HEAD, PATCH, PUT"),
        ("/v1/rooms/demo/start", "POST"),
        ("/web/liveroom.js", "GET, HEAD"),
        ("/watch/demo", "GET, HEAD"),
    ):
        response = await site.http.request("TRACE", path)
        assert (response.status_code, error_of(response)) == (405, "method_not_allowed")
        assert response.headers["Allow"] == allow


async def test_a_websocket_without_its_upgrade(site: Site) -> None:
    """What a proxy sends that passes no Upgrade on gets told what is missing."""
    for method in ("GET", "HEAD"):
        response = await site.http.request(method, "/v1/rooms/demo/ws?token=x", headers=NO_KEY)
        assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
        assert response.headers["connection"].lower() == "upgrade"
    error = (await site.http.get("/v1/rooms/demo/ws", headers=NO_KEY)).json()["error"]
    assert error["reason"] == "upgrade_required"
    assert "Upgrade and Connection" in error["message"]
    response = await site.http.put("/v1/rooms/demo/ws")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


# --- repeated writes -----------------------------------------------------------------------------------------------
async def test_a_top_up_repeated_by_its_id(site: Site) -> None:
    """The first is 201, the same again 200 and a duplicate, something else under that id a conflict."""
    first = await topup(site)
    assert (first.status_code, first.json()) == (201, {"id": "order-1", "duplicate": False, "coins": 500})
    again = await topup(site)
    assert (again.status_code, again.json()) == (200, {"id": "order-1", "duplicate": True, "coins": 500})
    for user, changed in (("carol", {"coins": 501}), ("carol", {"source": "x"}), ("dave", {})):
        conflict = await topup(site, user, **changed)
        assert (conflict.status_code, error_of(conflict)) == (409, "conflict")
    assert await site.coins("carol") == 500


async def test_a_write_repeated_by_its_key(site: Site, another_site: AnotherSite) -> None:
    """The same key gets the first answer again, on every node; for another request it is a conflict."""
    first = await topup(site, key="k-1")
    again = await topup(await another_site(), key="k-1")
    assert (again.status_code, again.content) == (first.status_code, first.content) == (201, first.content)
    assert (again.headers.get("idempotency-replayed"), first.headers.get("idempotency-replayed")) == ("true", None)
    for request in (
        topup(site, key="k-1", coins=501),
        topup(site, "dave", key="k-1"),
        topup(site, key="k-1", id="order-2"),
    ):
        conflict = await request
        assert (conflict.status_code, error_of(conflict)) == (409, "conflict")
    room = await site.http.put("/v1/rooms/demo", json={"host": HOST}, headers={"Idempotency-Key": "k-1"})
    assert room.status_code == 409
    assert await site.coins("carol") == 500


async def test_a_key_at_once(site: Site) -> None:
    """Of many at the same time one is carried out; the others get its answer, or learn that it is under way."""
    responses = await asyncio.gather(*(topup(site, key="k-1") for _ in range(20)))
    assert {(r.status_code, r.json().get("error", {}).get("reason")) for r in responses} <= {
        (201, None),
        (409, "in_progress"),
    }
    assert sum("idempotency-replayed" not in r.headers and r.status_code == 201 for r in responses) == 1
    assert await site.coins("carol") == 500


async def test_a_key_after_an_error(site: Site) -> None:
    """An error decides nothing: the same key may try again, with a corrected body too."""
    assert (await topup(site, key="k-1", coins=-1)).status_code == 400
    assert (await topup(site, key="k-1")).status_code == 201


async def test_a_key_whose_request_was_never_finished(site: Site, stores: Stores) -> None:
    """A node that dies in the middle blocks its key for a moment, not for a day; an answer is kept for a day."""
    await topup(site, key="done")
    with site.node.engine.begin(), stores.room.client() as look:  # the journal is locked: a top-up waits in its middle
        request = asyncio.create_task(topup(site, key="begun", id="order-2"))
        await eventually(lambda: look.exists(keys.idempotency("begun")), 5, "the beginning")
        assert limits.IDEMPOTENCY_S - 600 < look.ttl(keys.idempotency("done")) <= limits.IDEMPOTENCY_S
        assert 0 < look.ttl(keys.idempotency("begun")) <= 120
        assert error_of(await topup(site, key="begun", id="order-2")) == "in_progress"
    assert (await request).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_malformed_keys(site: Site, key: str) -> None:
    """An empty or overlong key is refused before anything is done."""
    response = await topup(site, key=key)
    assert (response.status_code, error_of(response)) == (400, "bad_request")
    assert await site.coins("carol") == 0


# --- rooms, tokens, wallets, gifts ---------------------------------------------------------------------------------
async def test_rooms(site: Site) -> None:
    """A room is created, changed, listed and read; a step that it is not ready for is a conflict."""
    body = {"host": HOST, "title": "Mine", "settings": {"slow_mode_s": 5}}
    made = await site.http.put("/v1/rooms/mine", json=body)
    assert made.status_code == 201
    assert (await site.http.put("/v1/rooms/mine", json=body)).status_code == 200
    room = (await site.http.get("/v1/rooms/mine")).json()
    assert {name: room[name] for name in ("room_id", "title", "status", "host", "likes", "coins")} == {
        "room_id": "mine",
        "title": "Mine",
        "status": "offline",
        "host": HOST,
        "likes": 0,
        "coins": 0,
    }
    assert room["settings"]["slow_mode_s"] == 5
    assert [each["room_id"] for each in (await site.http.get("/v1/rooms")).json()["rooms"]] == ["demo", "mine"]
    for verb, status, is_now in (
        ("pause", 409, "offline"),
        ("start", 200, "live"),
        ("start", 200, "live"),
        ("resume", 200, "live"),
        ("pause", 200, "paused"),
        ("start", 409, "paused"),
        ("end", 200, "ended"),
        ("pause", 409, "ended"),
        ("suspend", 200, "suspended"),
        ("start", 200, "live"),
    ):
        response = await site.http.post(f"/v1/rooms/mine/{verb}")
        assert response.status_code == status, verb
        assert status == 200 or error_of(response) == "wrong_status"
        assert (await site.http.get("/v1/rooms/mine")).json()["status"] == is_now
    for method, path in (
        ("GET", "/v1/rooms/none"),
        ("POST", "/v1/rooms/none/start"),
        ("POST", "/v1/rooms/mine/explode"),
    ):
        assert (await site.http.request(method, path)).status_code == 404


async def test_tokens(site: Site) -> None:
    """A token admits its person with name and role, only into its room, and only for its time."""
    body = {"sub": "zoe", "name": "Zoë", "role": "moderator", "room": "demo", "ttl_s": 60}
    token = (await site.http.post("/v1/tokens", json=body)).json()["token"]
    zoe = await site.join("zoe", token=token)
    assert {n: zoe.welcome["you"][n] for n in ("user_id", "name", "role")} == {
        "user_id": "zoe",
        "name": "Zoë",
        "role": "moderator",
    }
    claims = site.node.tokens.check(token, 0)
    assert 0 < claims.exp - site.node.clock.now_ms() / 1000 <= 60


async def test_development_tokens(site: Site, journal: str, stores: Stores, tmp_path: Any) -> None:
    """In development anybody gets a token without a key; in production there is no such address, and no demo."""
    response = await site.http.get("/dev/token", params={"user": "zoe", "role": "host", "room": "demo"}, headers=NO_KEY)
    assert (await site.join("zoe", token=response.json()["token"])).welcome["you"]["role"] == "host"
    assert (await site.http.get("/dev/token", params={"user": "a b"}, headers=NO_KEY)).status_code == 400
    assert (await site.http.get("/dev/token", params={"user": "a", "admin": "1"}, headers=NO_KEY)).status_code == 400
    stores.empty()
    addresses = {
        "LIVEROOM_WALLET_URL": f"unix://{stores.wallet.socket}",
        "LIVEROOM_ROOM_URL": f"unix://{stores.room.socket}",
    }
    serious = Site(settings(tmp_path, LIVEROOM_MODE="production", LIVEROOM_JOURNAL_URL=journal, **SECRETS, **addresses))
    await serious.start()
    try:
        assert (await serious.http.get("/dev/token", params={"user": "zoe"})).status_code == 404
        assert (await serious.http.get("/")).status_code == 404
        assert (await serious.http.get("/v1/rooms")).json() == {"rooms": [], "next": None}
        assert await serious.coins("alice") == 0
        assert (
            await serious.http.get("/v1/wallets/alice", headers={"Authorization": "Bearer dev-service-key"})
        ).status_code == 401
    finally:
        await serious.stop()


async def test_wallets(site: Site) -> None:
    """A wallet shows its coins; an unknown user's wallet is empty, not missing."""
    alice = await site.join("alice")
    await alice.gift("coffee", 2)
    wallet = (await site.http.get("/v1/wallets/alice")).json()
    assert {name: wallet[name] for name in ("user_id", "coins", "status")} == {
        "user_id": "alice",
        "coins": 9_980,
        "status": "ok",
    }
    assert (await site.http.get("/v1/wallets/nobody")).json()["coins"] == 0
    assert (await site.http.get("/v1/wallets/alice/entries")).json()["entries"] == []
    async with site.draining() as drain:
        await drain.drain_once()
    entries = (await site.http.get("/v1/wallets/alice/entries")).json()["entries"]
    assert [(entry["kind"], entry["coins"], entry["balance"]) for entry in entries] == [
        ("gift", -20, 9_980),
        ("topup", 10_000, 10_000),
    ]
    for before in ("x", "-1", "1.5", "9" * 17):
        assert (await site.http.get(f"/v1/wallets/alice/entries?before={before}")).status_code == 400


async def test_the_catalogue(site: Site) -> None:
    """Every gift that can be sent is in it, at the price that is charged."""
    gifts = (await site.http.get("/v1/gifts", headers=NO_KEY)).json()
    assert [set(gift) for gift in gifts] == [set(Gift.__struct_fields__)] * len(gifts)
    alice = await site.join("alice")
    await site.give_coins("alice", sum(gift["coins"] for gift in gifts))
    before = await site.coins("alice")
    for gift in gifts:
        reply = await alice.gift(gift["id"], 1, id=new_gift_id())
        assert reply["coins"] == before - gift["coins"]
        before = reply["coins"]
        assert (await site.http.get(gift["animation"]["url"])).status_code == 200


# --- about itself --------------------------------------------------------------------------------------------------
async def test_the_openapi_document_names_every_route(site: Site) -> None:
    """Each route of the API is in it with its parameters; it marks what needs the key; every reference resolves."""
    document = (await site.http.get("/v1/openapi.json", headers=NO_KEY)).json()
    assert document["openapi"].startswith("3.1")
    app: Any = site.server.config.app
    routes = {
        (route.path, method)
        for route in app.routes
        if isinstance(route, Route)
        and not route.path.startswith(("/watch", "/overlay", "/streamer", "/web", "/studio"))
        and route.path not in ("/", "/v1/rooms/{room}/ws")  # the second only says what a websocket needs
        for method in route.methods or ()
        if method != "HEAD"
    }
    named = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert named >= routes
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            assert [p["name"] for p in operation["parameters"] if p["in"] == "path"] == re.findall(r"\{(\w+)\}", path)
            assert bool(operation["security"]) != DESCRIBED[(path, method.upper())].open
    for reference in re.findall(r'"\$ref":\s*"([^"]+)"', json.dumps(document)):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


async def test_metrics(site: Site) -> None:
    """Prometheus can read how many people are here and how much was done."""
    alice = await site.join("alice")
    await alice.gift()
    await alice.ask("chat.send", text="hi")
    response = await site.http.get("/metrics", headers=NO_KEY)
    assert response.headers["content-type"].startswith("text/plain")
    found = dict(re.findall(r"^(liveroom_\w+) (\S+)$", response.text, re.M))
    assert float(found["liveroom_connections"]) == 1
    assert float(found["liveroom_gifts_total"]) == 1
    assert float(found["liveroom_commands_total"]) == 2
    assert float(found["liveroom_joins_total"]) == 1
    assert float(found["liveroom_wallet_up"]) == 1
    assert 'liveroom_loop_lag_seconds_bucket{le="0.02"}' in response.text
    assert all(
        line.startswith("#") or re.match(r"^\w+(\{.*\})? [-+.\deE]+(nan|inf)?$", line)
        for line in response.text.splitlines()
    )


async def test_health(site: Site) -> None:
    """Ready means that newcomers are admitted; a draining node is alive and not ready."""
    assert (await site.http.get("/healthz")).json() == {"status": "ok"}
    ready = (await site.http.get("/readyz")).json()
    assert (ready["status"], ready["room_store"], ready["bus"], ready["wallet_store"]) == ("ready", True, True, True)
    site.node.sessions.draining = True
    response = await site.http.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "draining")
    assert (await site.http.get("/healthz")).status_code == 200
