"""What the HTTP API accepts: bodies and ids of the right shape and of a bounded size."""

import json
from typing import Any

import pytest
import websockets

from server import limits
from tests.http.test_http import HOST, error_of, topup
from tests.site import Site

PUT = ("PUT", "/v1/rooms/demo", {"host": HOST, "title": "T", "settings": {}})
TOPUP = ("POST", "/v1/wallets/carol/topups", {"id": "o", "coins": 5, "source": "shop"})
TOKEN = ("POST", "/v1/tokens", {"sub": "a", "name": "A", "role": "viewer"})

WRONG: list[tuple[tuple[str, str, dict[str, Any]], dict[str, Any]]] = [
    *((PUT, {"host": host}) for host in (None, "creator", {"user_id": "a b", "name": "x"}, {**HOST, "role": "host"})),
    *((PUT, {"title": title}) for title in (5, None, "x" * 201, "\u200b", " \n")),
    *((PUT, {"host": {**HOST, "name": name}}) for name in ("\u2800", " ", "x\0")),
    *((PUT, {"settings": {"blocked_words": [word]}}) for word in (" ", "\u00ad", "\u0301")),
    *((PUT, {"settings": {"slow_mode_s": seconds}}) for seconds in (-1, 121, 1.5, "5", None)),
    *((PUT, {"settings": settings}) for settings in (None, [], {"chat": "no"}, {"speed": 1})),
    *((PUT, {"settings": {"blocked_words": words}}) for words in ([""], ["x" * 65], ["x"] * 501, "x", [5])),
    *((PUT, {"status": "live"}),),
    *((TOPUP, {"coins": coins}) for coins in (0, -5, 1.5, "5", limits.TOPUP_COINS_MAX + 1, 2**64, True)),
    *((TOPUP, {"id": id}) for id in ("", "a b", "x" * 65, 5, None, "a\n", ".", "..")),
    *((TOPUP, {"source": source}) for source in ("", "x" * 65, None)),
    *((TOPUP, {"note": "x"}),),
    *((TOKEN, {"sub": sub}) for sub in ("", "a/b", "x" * 65, 5, "anonymous", "-a")),
    *((PUT, {"host": {**HOST, "user_id": "anonymous"}}),),
    *((TOKEN, {"name": name}) for name in ("", "x" * 41, None, "\u200b\u3164", "\0")),
    *((TOKEN, {"role": role}) for role in ("admin", "", None)),
    *((TOKEN, {"room": room}) for room in ("a b", "", 5, "..")),
    *((TOKEN, {"ttl_s": ttl_s}) for ttl_s in (0, -1, limits.TOKEN_TTL_S_MAX + 1, 1.5, "60")),
]


async def test_bodies_of_a_wrong_shape(site: Site) -> None:
    """Each is a bad request, and changes nothing."""
    for (method, path, body), changed in WRONG:
        response = await site.http.request(method, path, json={**body, **changed})
        assert (response.status_code, error_of(response)) == (400, "bad_request"), (path, changed)
    assert await site.coins("carol") == 0
    assert (await site.http.get("/v1/rooms/demo")).json()["title"] == "Welcome to Liveroom"
    for method, path, body in (PUT, TOPUP, TOKEN):
        assert (await site.http.request(method, path, json=body)).is_success


@pytest.mark.parametrize("coins", ["5.0", "5e0", "0.5e1", "50e-1"])
async def test_whole_numbers(site: Site, coins: str) -> None:
    """JSON has one kind of number: a whole one is an integer however it is written, as the OpenAPI document says."""
    content = f'{{"id":"o","coins":{coins},"source":"shop"}}'
    response = await site.http.post("/v1/wallets/carol/topups", content=content)
    assert (response.status_code, response.json()["coins"]) == (201, 5)
    for wrong in ("5.5", "1e400", "-5.0", "1e300", "9007199254740993.0"):
        response = await site.http.post("/v1/wallets/carol/topups", content=content.replace(coins, wrong))
        assert (response.status_code, error_of(response)) == (400, "bad_request"), wrong


async def test_names_and_titles_as_others_see_them(site: Site) -> None:
    """They are cleaned where they come in."""
    host = {"user_id": "creator", "name": "\u202eCre\u200bator\n"}
    body = {"host": host, "title": "Cafe\u0301 \u2067night\u2069", "settings": {}}
    room = (await site.http.put("/v1/rooms/demo", json=body)).json()
    assert (room["title"], room["host"]["name"]) == ("Café night", "Creator")
    answer = await site.http.post("/v1/tokens", json={"sub": "zoe", "name": " Zo\u00ade\u0308 ", "role": "viewer"})
    zoe = await site.join("zoe", token=answer.json()["token"])
    assert zoe.welcome["you"]["name"] == "Zoë"
    assert zoe.welcome["room"]["title"] == "Café night"


async def test_a_key_twice(site: Site) -> None:
    """Nobody knows which of the two was meant."""
    content = b'{"id":"o","coins":5,"coins":5000,"source":"shop"}'
    response = await site.http.post("/v1/wallets/carol/topups", content=content)
    assert (response.status_code, error_of(response)) == (400, "bad_request")
    assert await site.coins("carol") == 0


async def test_a_key_of_the_query_twice(site: Site) -> None:
    """Nobody knows which of the two was meant, here either; it is so for a socket, too."""
    for path in ("/v1/rooms?limit=1&limit=2", "/v1/rooms?limit=1&limit=1", "/v1/wallets/carol/entries?limit=1&limit="):
        response = await site.http.get(path)
        assert (response.status_code, error_of(response)) == (400, "bad_request"), path
    alice, bob = site.token("alice"), site.token("bob")
    for more in (f"&token={bob}", "&since=a:1&since=a:2", "&chats=1&chats=1", "&refusals=no&refusals=no"):
        with pytest.raises(websockets.InvalidStatus) as no:
            await websockets.connect(site.address(token=alice) + more, proxy=None)
        assert (no.value.response.status_code, json.loads(no.value.response.body)["error"]["reason"]) == (
            400,
            "bad_request",
        )


async def test_a_header_twice(site: Site) -> None:
    """Two keys are refused; the same key twice is one."""
    path, body = "/v1/wallets/carol/topups", {"id": "o", "coins": 5, "source": "shop"}
    two = await site.http.post(path, json=body, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert (two.status_code, error_of(two)) == (400, "bad_request")
    one = await site.http.post(path, json=body, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    assert one.status_code == 201
    key = site.http.headers["authorization"]
    bad = await site.http.get("/v1/wallets/carol", headers=[("Authorization", key), ("Authorization", "Bearer x")])
    assert (bad.status_code, error_of(bad)) == (401, "unauthorized")
    tokens = [("Authorization", f"Bearer {site.token(user)}") for user in ("alice", "bob")]
    with pytest.raises(websockets.InvalidStatus) as no:
        await websockets.connect(site.address(), additional_headers=tokens, proxy=None)
    assert no.value.response.status_code == 401


@pytest.mark.parametrize("key", [None, "k"])
async def test_malformed_bodies(site: Site, key: str | None) -> None:
    """A body that is not JSON, not an object, or nested without end is a bad request, with an Idempotency-Key too."""
    headers = {} if key is None else {"Idempotency-Key": key}
    for content in (b"", b"{", b"[]", b"null", b"\xff", b'{"id":NaN}', b"[" * 20_000, b'{"a":' * 5_000, b"{}" * 9):
        response = await site.http.post("/v1/wallets/carol/topups", content=content, headers=headers)
        assert (response.status_code, error_of(response)) == (400, "bad_request"), content[:20]
    assert (await topup(site, key=key)).status_code == 201


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_that_are_too_large(site: Site, key: str | None, chunked: bool) -> None:
    """A body above the bound is refused whether or not its size was declared; one at the bound is read."""
    headers = {} if key is None else {"Idempotency-Key": key}
    body = json.dumps({"id": "order-1", "coins": 5, "source": "shop"}).encode()

    async def pieces(size: int) -> Any:
        padded = body.ljust(size)
        for at in range(0, size, 10_000):
            yield padded[at : at + 10_000]

    most = limits.BODY_BYTES_MAX
    for size, status in ((most + 1, 413), (10 * most, 413), (most, 201)):
        content: Any = pieces(size) if chunked else body.ljust(size)
        response = await site.http.post("/v1/wallets/carol/topups", content=content, headers=headers)
        assert response.status_code == status
        assert status == 201 or error_of(response) == "too_large"


async def test_ids_in_the_path(site: Site) -> None:
    """A malformed id is a bad request or not found, never a key in a store."""
    for id in ("a b", "x" * 65, "a%2Fb", "%C3%A9", "a%0A", "%00", "{a}", "a:b", "*", "%2E", "%2E%2E"):
        for method, path, body in (
            ("GET", f"/v1/rooms/{id}", None),
            ("PUT", f"/v1/rooms/{id}", PUT[2]),
            ("POST", f"/v1/rooms/{id}/start", None),
            ("GET", f"/v1/wallets/{id}", None),
            ("GET", f"/v1/wallets/{id}/entries", None),
            ("POST", f"/v1/wallets/{id}/topups", TOPUP[2]),
        ):
            response = await site.http.request(method, path, json=body)
            assert response.status_code in (400, 404, 405), path
            error_of(response)
    assert [room["room_id"] for room in (await site.http.get("/v1/rooms")).json()["rooms"]] == ["demo"]
