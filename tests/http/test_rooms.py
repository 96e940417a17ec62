"""Rooms over HTTP: changing only what is named, and reading all settings back."""

import asyncio
from typing import Any

import pytest

from protocol.rooms import Settings, ShownSettings
from server.store import keys
from tests.conftest import Stores
from tests.site import Site

HOST = {"user_id": "creator", "name": "Creator"}
SETTINGS = {
    "chat": True,
    "gifts": False,
    "slow_mode_s": 5,
    "unique_chat_s": 30,
    "chat_for": "followers",
    "followers_min_age_s": 600,
    "links": False,
    "emotes_only": True,
    "chat_per_s": 100,
    "gift_min_coins_message": 10,
    "likes": False,
    "joins": False,
    "spotlight_level": 20,
    "blocked_words": ["spam", "eggs"],
    "automod": 2,
    "reports_hold": 3,
    "shield": True,
}
ROOM = "/v1/rooms/mine"


async def put(site: Site) -> None:
    assert set(SETTINGS) == set(Settings.__struct_fields__)
    body = {"host": HOST, "title": "Mine", "settings": SETTINGS}
    made = await site.http.put(ROOM, json=body)
    assert (made.status_code, made.json()["settings"]) == (201, SETTINGS)


async def read(site: Site, token: str | None = None) -> dict[str, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}" if token else ""}
    response = await site.http.get(ROOM, headers=headers)
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


async def test_settings_are_read_back_whole(site: Site) -> None:
    """With the service key or a token of the room's host; everybody else sees what viewers see."""
    await put(site)
    assert (await read(site))["settings"] == SETTINGS
    in_force = {**SETTINGS, "slow_mode_s": 30, "unique_chat_s": 60}
    public = {name: in_force[name] for name in ShownSettings.__struct_fields__}
    for token, sees in (
        ("", public),
        ("wrong", public),
        (site.token("alice"), public),
        (site.token("alice", "host"), public),
        (site.token("alice", "host", room="other"), public),
        (site.token("alice", "moderator"), public),
        (site.token("creator", room="other"), public),
        (site.token("creator", ttl_s=-1), public),
        (site.token("alice", "host", room="mine"), SETTINGS),
        (site.token("creator"), SETTINGS),
    ):
        assert (await read(site, token))["settings"] == sees, token


@pytest.mark.parametrize(
    ("change", "title", "host", "settings"),
    [
        ({}, "Mine", HOST, {}),
        ({"title": "New"}, "New", HOST, {}),
        ({"title": ""}, "", HOST, {}),
        ({"host": {"user_id": "dora", "name": "Dora"}}, "Mine", {"user_id": "dora", "name": "Dora"}, {}),
        ({"settings": {}}, "Mine", HOST, {}),
        ({"settings": {"chat": False}}, "Mine", HOST, {"chat": False}),
        ({"settings": {"blocked_words": []}, "title": "New"}, "New", HOST, {"blocked_words": []}),
    ],
)
async def test_a_patch_changes_what_it_names(
    site: Site, change: dict[str, Any], title: str, host: dict[str, Any], settings: dict[str, Any]
) -> None:
    """And nothing else; the answer is the whole room."""
    await put(site)
    response = await site.http.patch(ROOM, json=change)
    assert response.status_code == 200
    assert response.json() == await read(site)
    found = response.json()
    assert (found["title"], found["host"], found["settings"]) == (title, host, {**SETTINGS, **settings})


async def test_viewers_see_a_patch(site: Site) -> None:
    """The event names only what has changed; a patch that changes nothing shows nothing."""
    viewer = await site.join("alice")
    await site.http.patch("/v1/rooms/demo", json={})
    await site.http.patch("/v1/rooms/demo", json={"title": "Patched", "settings": {"blocked_words": ["spam"]}})
    event = await viewer.happened("room.updated")
    assert event["title"] == "Patched"
    assert not {"host", "settings", "status"} & set(event)


@pytest.mark.parametrize(
    "change",
    [
        *([], {"titel": "x"}, {"title": None}, {"title": "x" * 201}, {"host": {"user_id": "a"}}, {"settings": None}),
        *(
            {"title": "\u200b"},
            {"settings": {"blocked_words": ["ok", "\u200b"]}},
            {"host": {"user_id": "a", "name": " "}},
        ),
        *({"settings": {"slow_mode_s": 121}}, {"settings": {"sword": True}}, {"settings": {"chat": None}}),
    ],
)
async def test_malformed_patches(site: Site, change: Any) -> None:
    """Refused as a whole."""
    await put(site)
    response = await site.http.patch(ROOM, json=change)
    assert (response.status_code, response.json()["error"]["reason"]) == (400, "bad_request")
    assert (await read(site))["settings"] == SETTINGS


async def test_a_patch_needs_a_room_and_the_key(site: Site, stores: Stores) -> None:
    """It creates nothing. Repeated with its Idempotency-Key, it gets the first answer again."""
    response = await site.http.patch("/v1/rooms/none", json={"title": "x"})
    assert (response.status_code, response.json()["error"]["reason"]) == (404, "no_such_room")
    assert (await site.http.patch("/v1/rooms/demo", json={}, headers={"Authorization": ""})).status_code == 401
    with stores.room.client() as store:
        assert not store.exists(keys.room("none", keys.META))
    once = {"Idempotency-Key": "patch-1"}
    first = await site.http.patch("/v1/rooms/demo", json={"title": "One"}, headers=once)
    await site.http.patch("/v1/rooms/demo", json={"title": "Two"})
    again = await site.http.patch("/v1/rooms/demo", json={"title": "One"}, headers=once)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert (await read_title(site)) == "Two"


async def read_title(site: Site) -> str:
    return str((await site.http.get("/v1/rooms/demo")).json()["title"])


async def test_patches_at_once(site: Site) -> None:
    """Each changes its own field: none is lost."""
    await put(site)
    changes: list[dict[str, Any]] = [
        {"title": "New"},
        {"settings": {"slow_mode_s": 7}},
        {"settings": {"chat_per_s": 7}},
        {"settings": {"gifts": True}},
    ]
    answers = await asyncio.gather(*(site.http.patch(ROOM, json=change) for change in changes))
    assert [each.status_code for each in answers] == [200] * 4
    found = await read(site)
    assert found["title"] == "New"
    assert found["settings"] == {**SETTINGS, "slow_mode_s": 7, "chat_per_s": 7, "gifts": True}
