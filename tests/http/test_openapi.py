"""The OpenAPI document is true: every operation is described, and hostile requests get only what it promises."""

import json
import random
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from server.http.docs import document, operation_id
from tests.schemas import ODD, Schemas
from tests.site import Site, new_gift_id

ROUNDS = 12  # requests of each kind for each operation: some two seconds in all
SEED = 1  # the same requests each time; another one finds other faults
NAMES = {
    "room": ("demo", "mine"),
    "user": ("alice", "creator"),
    "verb": ("start", "pause", "end"),
    "topup": ("t-1",),
    "broadcast": ("0a-1",),
    "goal": ("g-1", "a"),
    "version": ("1", "2"),
    "suspension": ("s-1",),
    "payout": ("p-1",),
    "act": ("approve", "cancel"),
    "name": ("files",),
    "overlay": ("0a-1",),
}
ODD_NAMES = ("nobody", "a b", "x" * 65, "..", "%00", "é", "{demo}", "alice\n", "1;2", "-")


class Fuzz:
    """Makes requests from the document, and checks each answer against it."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._document = document(development=True)
        self._random = random.Random(seed)
        self._schemas = Schemas(self._document, seed)

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            (path, method, operation)
            for path, methods in self._document["paths"].items()
            for method, operation in sorted(methods.items(), key=lambda each: each[0] == "delete")  # last: all is gone
        ]

    def _name(self, name: str, odd: bool) -> str:
        if odd and self._random.random() < 0.5:
            return quote(self._random.choice(ODD_NAMES), safe="%")
        return new_gift_id() if name == "gift" else self._random.choice(NAMES[name])

    def _query(self, operation: dict[str, Any], odd: bool) -> dict[str, str]:
        asked = [each for each in operation["parameters"] if each["in"] == "query"]
        found: dict[str, str] = {}
        for each in asked:
            if each["required"] or self._random.random() < 0.3:
                schema = each["schema"]
                value = self._random.choice(ODD) if odd else self._schemas.fitting(schema)
                found |= {} if value is None else {each["name"]: str(value)}
        return found

    async def ask(self, path: str, method: str, operation: dict[str, Any], *, odd: bool) -> httpx.Response:
        """One request, whose parts fit the document, or partly do not."""
        address = re.sub(r"\{(\w+)\}", lambda found: self._name(found[1], odd), path)
        content, body = None, operation.get("requestBody")
        if body is not None:
            schema = body["content"]["application/json"]["schema"]
            content = json.dumps(self._schemas.odd(schema) if odd else self._schemas.fitting(schema))
            if odd and self._random.random() < 0.2:
                content = self._random.choice(("", "{", "[" * 2_000, '{"a":NaN}', "\x00"))
        headers = {}
        if odd and self._random.random() < 0.2:
            headers["Idempotency-Key"] = self._random.choice(("x" * 201, "k", ""))
        return await self._site.http.request(
            method.upper(), address, params=self._query(operation, odd), content=content, headers=headers
        )

    def check(self, operation: dict[str, Any], response: httpx.Response) -> None:
        """The status, the type and the body are among those that are described."""
        told = f"{operation['operationId']}: {response.request.url} {response.status_code} {response.text[:300]}"
        assert response.status_code < 500, told
        described = operation["responses"].get(str(response.status_code))
        assert described is not None, told
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in described["content"], told
        if kind == "application/json":
            schema = described["content"][kind]["schema"]
            assert list(self._schemas.faults(response.json(), schema)) == [], told


@pytest.fixture
async def fuzz(site: Site) -> Fuzz:
    await site.put_room("mine")
    return Fuzz(site, SEED)


async def test_fitting_requests_get_what_is_described(fuzz: Fuzz) -> None:
    """A request that fits is never malformed to the server."""
    for path, method, operation in fuzz.operations():
        for _ in range(ROUNDS):
            response = await fuzz.ask(path, method, operation, odd=False)
            fuzz.check(operation, response)
            assert response.status_code != 400, f"{response.url} {response.text}"


async def test_odd_requests_get_what_is_described(fuzz: Fuzz) -> None:
    """Whatever comes, the answer is one that the document has, and never a 5xx."""
    for path, method, operation in fuzz.operations():
        for _ in range(ROUNDS):
            response = await fuzz.ask(path, method, operation, odd=True)
            moved = response.url.path.count("/") != path.count("/")
            if moved or (response.status_code == 404 and response.json()["error"]["reason"] == "not_found"):
                continue  # an odd name made it another address
            if response.status_code != 405:
                fuzz.check(operation, response)


async def test_other_methods_are_named(site: Site) -> None:
    """A method that an address does not have gets 405, and `Allow` has exactly those of the document."""
    for path, methods in document(development=True)["paths"].items():
        response = await site.http.request("TRACE", re.sub(r"\{\w+\}", "demo", path))
        assert response.status_code == 405, path
        has = {method.upper() for method in methods}
        assert set(response.headers["Allow"].split(", ")) >= has
        assert set(response.headers["Allow"].split(", ")) - {"HEAD"} == has, path


def test_texts_of_requests_have_no_nul() -> None:
    """The schema of each text that a body may have says so, because the server refuses them."""
    found = document(development=True)["components"]["schemas"]
    for name, field in (("PutRoom", "title"), ("Host", "name"), ("NewToken", "name"), ("RefundOrder", "reason")):
        pattern = found[name]["properties"][field]["pattern"]
        assert re.search(pattern, "a\nb"), (name, field)
        assert not re.search(pattern, "a\0b"), (name, field)
    assert re.search(found["Settings"]["properties"]["blocked_words"]["items"]["pattern"], "a\0b") is None
    assert "pattern" not in found["ErrorShown"]["properties"]["message"]


def test_every_operation_is_described() -> None:
    """A name of its own, a type for each answer and parameter, errors with a body; writes name Idempotency-Key."""
    assert document(development=True)["paths"]["/metrics"]["get"]["security"] == [{"serviceKey": []}, {}]
    found = document(development=False)
    operations = [each for methods in found["paths"].values() for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] == operation_id(path, method.upper())
            assert any(status.startswith("2") for status in operation["responses"])
            assert all("content" in each or "$ref" in each for each in operation["responses"].values())
            assert all(each["schema"] for each in operation["parameters"])
            heads = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
            writes = method in ("post", "put", "patch", "delete") and operation["security"]
            assert heads == ({"Idempotency-Key"} if writes else set())
            assert ("401" in operation["responses"]) == bool(operation["security"])
    assert {"getRooms", "getRoom", "putRoom", "patchRoom", "postRoomVerb", "postWalletTopups"} <= set(names)
    queries = {
        name: {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        for name, operation in zip(names, operations, strict=True)
    }
    assert queries["getWalletEntries"] == {"before", "limit"}
    assert queries["getRooms"] == {"status", "category", "hashtag", "language", "sort", "limit", "after"}
