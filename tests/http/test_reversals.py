"""Refunds, chargebacks and freezes over HTTP: what is answered, with which status, and to whom."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from server import limits
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.site import Site, new_gift_id

UNKNOWN = "019a0000-0000-7000-8000-000000000000"
ENDPOINTS = [
    (f"/v1/gifts/{UNKNOWN}/refund", {}),
    ("/v1/topups/t1/chargeback", {}),
    ("/v1/wallets/cleo/freeze", {"id": "f1"}),
    ("/v1/wallets/cleo/unfreeze", {"id": "f1"}),
]


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """The host platform's client; cleo bought t1 of 100 coins. After the test the books must be sound."""
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        await made.buy("cleo", 100, "t1")
        await made.journal()
        yield made


async def a_journaled_gift(desk: Desk, coins: int = 30, diamonds: int = 15) -> str:
    gift = await desk.give("cleo", coins, diamonds)
    await desk.journal()
    return gift


def error(response: httpx.Response) -> tuple[int, str]:
    """The status and reason of an error response; its body has the one shape."""
    body = response.json()
    assert list(body) == ["error"]
    assert body["error"]["message"]
    assert ("retry-after" in response.headers) == (response.status_code == 503)
    return response.status_code, body["error"]["reason"]


# --- what is answered ------------------------------------------------------------------------------------------------
async def test_refund(desk: Desk) -> None:
    """201 with what moved, and 200 with the same, marked as a duplicate, each time it is repeated."""
    gift = await a_journaled_gift(desk)
    first = await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={"reason": "by mistake"})
    told = {
        "id": gift,
        "duplicate": False,
        "user_id": "cleo",
        "coins": 30,
        "balance": 100,
        "diamonds": 15,
        "reversed": [{"gift_id": gift, "creator": "ann", "room": "demo", "coins": 30, "diamonds": 15}],
    }
    assert (first.status_code, first.json()) == (201, told)
    for _ in range(2):
        again = await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={"reason": "again"})
        assert (again.status_code, again.json()) == (200, told | {"duplicate": True})
        await desk.journal()


async def test_chargeback(desk: Desk) -> None:
    """The same for a chargeback; the wallet is frozen, and its entries show it."""
    gift = await a_journaled_gift(desk)
    async with desk.journaling():
        first = await desk.site.http.post("/v1/topups/t1/chargeback", json={"reason": "the card was stolen"})
        again = await desk.site.http.post("/v1/topups/t1/chargeback", json={})
    told = {
        "id": "t1",
        "duplicate": False,
        "user_id": "cleo",
        "coins": -70,
        "balance": 0,
        "diamonds": 15,
        "reversed": [{"gift_id": gift, "creator": "ann", "room": "demo", "coins": 30, "diamonds": 15}],
    }
    assert (first.status_code, first.json()) == (201, told)
    assert (again.status_code, again.json()) == (200, told | {"duplicate": True})
    wallet = (await desk.site.http.get("/v1/wallets/cleo")).json()
    assert wallet == {"user_id": "cleo", "coins": 0, "status": "frozen"}
    entries = (await desk.site.http.get("/v1/wallets/cleo/entries")).json()["entries"]
    of_coins = [(entry["kind"], entry["ref"], entry["coins"], entry["balance"]) for entry in entries if entry["coins"]]
    assert of_coins == [("chargeback", "t1", -70, 0), ("gift", gift, -30, 70), ("topup", "t1", 100, 100)]


async def test_freeze_and_unfreeze(desk: Desk) -> None:
    """201 with the wallet, 200 for the same order again; a gift is refused on the socket, and accepted afterwards."""
    viewer = await desk.site.join("cleo")
    for verb, status in (("freeze", "frozen"), ("unfreeze", "ok")):
        for code in (201, 200):
            done = await desk.site.http.post(f"/v1/wallets/cleo/{verb}", json={"id": "case-7"})
            assert (done.status_code, done.json()) == (code, {"user_id": "cleo", "coins": 100, "status": status})
            await desk.journal()
        reply = await viewer.gift("rose")
        assert (reply["type"], reply.get("reason")) == (
            ("refused", "wallet_frozen") if verb == "freeze" else ("ok", None)
        )


# (body of the request, its status)
BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{}", 201),
    (b'{"reason":""}', 201),
    (("ü" * limits.REASON_CHARS_MAX).join(['{"reason":"', '"}']).encode(), 201),
    (b'{"reason":"a\\u0000b"}', 400),
    (b'{"reason":"%s"}' % (b"x" * (limits.REASON_CHARS_MAX + 1)), 400),
    (b'{"reason":null}', 400),
    (b'{"reason":1}', 400),
    (b'{"because":"x"}', 400),
    (b"[]", 400),
    (b"null", 400),
    (b"{", 400),
    (b'{"reason":"\xff"}', 400),
    (b'{"reason":"%s"}' % (b"x" * limits.BODY_BYTES_MAX), 413),
]


async def test_bodies(desk: Desk) -> None:
    """The reason is optional. The body is not, because it may have been lost. A malformed order moves nothing."""
    for body, status in BODIES:
        gift = await a_journaled_gift(desk, 2, 1)
        done = await desk.site.http.post(f"/v1/gifts/{gift}/refund", content=body)
        assert done.status_code == status, (body[:40], done.text)
        if status != 201:
            error(done)
            assert (await desk.refund(gift)).duplicate is False
        assert await desk.holds("cleo") == 100


async def test_a_refund_with_an_offer_of_h2c(desk: Desk) -> None:
    """The JDK's client offers h2c with its first request.

    The gift of the viewer in the body is refunded, and no other.
    """
    gift = await desk.give("alice", 30)
    await desk.give("bob", 30, id=gift)
    await desk.journal()
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    done = await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={"user_id": "bob"}, headers=offer)
    assert (done.status_code, done.json()["user_id"]) == (201, "bob")
    assert [await desk.holds(user) for user in ("alice", "bob")] == [9_970, 10_000]


async def test_freezes_without_an_id(desk: Desk) -> None:
    """An order to freeze or unfreeze must have an id."""
    for body in ({}, {"id": ""}, {"id": "a b"}, {"id": "x" * 65}, {"id": 1}, {"id": "f", "why": "?"}):
        for verb in ("freeze", "unfreeze"):
            refused = await desk.site.http.post(f"/v1/wallets/cleo/{verb}", json=body)
            assert error(refused) == (400, "bad_request"), body
    assert await desk.status("cleo") == "ok"


# --- what is refused -------------------------------------------------------------------------------------------------
MALFORMED_IDS = [
    "/v1/gifts/x/refund",
    f"/v1/gifts/{UNKNOWN.upper()}/refund",
    "/v1/gifts/019a0000-0000-4000-8000-000000000000/refund",
    "/v1/gifts/019a0000-0000-7000-c000-000000000000/refund",
    f"/v1/gifts/{UNKNOWN}%0A/refund",
    f"/v1/gifts/{UNKNOWN}0/refund",
    f"/v1/gifts/%00{UNKNOWN[1:]}/refund",
    "/v1/topups/a%20b/chargeback",
    "/v1/topups/t1%0A/chargeback",
    "/v1/topups/%C3%BC/chargeback",
    f"/v1/topups/{'x' * 65}/chargeback",
    "/v1/wallets/a%20b/freeze",
    f"/v1/wallets/{'x' * 65}/unfreeze",
]


async def test_malformed_ids(desk: Desk) -> None:
    """A malformed id is a bad request, never a look-up; without an id there is no such address."""
    for path in MALFORMED_IDS:
        refused = await desk.site.http.post(path, json={"id": "f1"} if "wallets" in path else {})
        assert error(refused) == (400, "bad_request"), path
    for path in ("/v1/gifts//refund", "/v1/gifts/a/b/refund", "/v1/topups//chargeback"):
        assert error(await desk.site.http.post(path, json={})) == (404, "not_found"), path
    assert desk.orders() == {}


async def test_not_found(desk: Desk) -> None:
    """A gift or top-up that the journal does not have (yet) is not found; once it has it, it is."""
    gift = await desk.give("cleo", 30)
    assert error(await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={})) == (404, "not_found")
    assert error(await desk.site.http.post("/v1/topups/t2/chargeback", json={})) == (404, "not_found")
    await desk.journal()
    assert (await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={})).status_code == 201


async def test_conflict(desk: Desk) -> None:
    """A gift that was charged back cannot be refunded."""
    gift = await a_journaled_gift(desk)
    await desk.charge_back("t1")
    await desk.journal()
    assert error(await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={})) == (409, "conflict")


async def test_a_gift_id_of_two_viewers(desk: Desk) -> None:
    """409 until the order says which viewer's gift is meant; the other's stays as it is."""
    gift = await desk.give("cleo", 30)
    await desk.buy("dan", 100)
    await desk.give("dan", 20, id=gift)
    await desk.journal()
    path = f"/v1/gifts/{gift}/refund"
    assert error(await desk.site.http.post(path, json={})) == (409, "conflict")
    assert error(await desk.site.http.post(path, json={"user_id": "a b"})) == (400, "bad_request")
    assert error(await desk.site.http.post(path, json={"user_id": "eve"})) == (404, "not_found")
    done = await desk.site.http.post(path, json={"user_id": "dan"})
    assert (done.status_code, done.json()["user_id"], done.json()["coins"]) == (201, "dan", 20)
    assert (await desk.holds("cleo"), await desk.holds("dan")) == (70, 100)


async def test_not_yet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is journaled the wallet is frozen, and the order must be repeated; then it is carried out."""
    monkeypatch.setattr(limits, "JOURNALED_POLLS", 1)
    for _ in range(2):
        waiting = await desk.site.http.post("/v1/topups/t1/chargeback", json={})
        assert error(waiting) == (503, "not_yet")
    thawing = await desk.site.http.post("/v1/wallets/cleo/unfreeze", json={"id": "u1"})
    assert error(thawing) == (503, "not_yet")
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (100, "frozen")
    monkeypatch.undo()
    async with desk.journaling():
        assert (await desk.site.http.post("/v1/topups/t1/chargeback", json={})).status_code == 201


@pytest.mark.parametrize(("verb", "newer", "status"), [("unfreeze", "freeze", "frozen"), ("freeze", "unfreeze", "ok")])
async def test_a_newer_order_is_quicker(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: str, newer: str, status: str
) -> None:
    """The older one is refused as a conflict, and changes nothing. Ordered once more, it is the newest."""
    freezes = desk.site.node.freezes
    carry_out = freezes._carry_out

    async def late(*order: Any) -> Any:
        monkeypatch.undo()
        await getattr(freezes, newer)("cleo", "n1")
        return await carry_out(*order)

    monkeypatch.setattr(freezes, "_carry_out", late)
    path, order = f"/v1/wallets/cleo/{verb}", {"id": "o1"}
    assert error(await desk.site.http.post(path, json=order)) == (409, "conflict")
    assert await desk.status("cleo") == status
    again = await desk.site.http.post(path, json=order)
    assert (again.status_code, await desk.status("cleo") == status) == (201, False)


async def test_journal_away(desk: Desk) -> None:
    """While the order cannot be written down nothing moves; the answer says so, and the order works once it can."""
    gift = await a_journaled_gift(desk)
    with desk.site.node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE reversals RENAME TO elsewhere"))
    for path in (f"/v1/gifts/{gift}/refund", "/v1/topups/t1/chargeback"):
        assert error(await desk.site.http.post(path, json={})) == (503, "unavailable")
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (70, "ok")
    with desk.site.node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO reversals"))
    assert (await desk.site.http.post(f"/v1/gifts/{gift}/refund", json={})).status_code == 201


async def test_service_key(desk: Desk) -> None:
    """Only callers with the service key may order: not a viewer, not the host of a room."""
    viewer, key = desk.site.token("cleo", "host"), desk.site.settings.service_key
    headers = ["", "Bearer", f"Bearer {viewer}", f"Bearer {key}x", f"Bearer {key[:-1]}", f"Basic {key}", key]
    async with httpx.AsyncClient(base_url=desk.site.url) as stranger:
        for path, body in ENDPOINTS:
            for header in headers:
                denied = await stranger.post(path, json=body, headers={"Authorization": header})
                assert error(denied) == (401, "unauthorized"), (path, header)
            assert error(await stranger.post(path, json=body)) == (401, "unauthorized"), path
            assert error(await stranger.post(f"{path}?token={viewer}", json=body)) == (401, "unauthorized"), path
            assert error(await desk.site.http.get(path)) == (405, "method_not_allowed"), path
    assert (await desk.holds("cleo"), await desk.status("cleo"), desk.orders()) == (100, "ok", {})


async def test_idempotency_key(desk: Desk) -> None:
    """A repeated Idempotency-Key gets the first answer again, except errors; another order under it is a conflict."""
    gift, key = await desk.give("cleo", 30), {"Idempotency-Key": new_gift_id()}
    path = f"/v1/gifts/{gift}/refund"
    assert error(await desk.site.http.post(path, json={}, headers=key)) == (404, "not_found")
    await desk.journal()
    first = await desk.site.http.post(path, json={}, headers=key)
    again = await desk.site.http.post(path, json={}, headers=key)
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    for other, body in ((path, {"reason": "another"}), ("/v1/topups/t1/chargeback", {})):
        assert error(await desk.site.http.post(other, json=body, headers=key)) == (409, "conflict")
    assert (await desk.holds("cleo"), await desk.status("cleo")) == (100, "ok")


async def test_described(site: Site) -> None:
    """Every one of these orders is in the OpenAPI document."""
    paths = (await site.http.get("/v1/openapi.json")).json()["paths"]
    for path in (
        "gifts/{gift}/refund",
        "topups/{topup}/chargeback",
        "wallets/{user}/freeze",
        "wallets/{user}/unfreeze",
    ):
        assert paths[f"/v1/{path}"]["post"]["security"] == [{"serviceKey": []}]
