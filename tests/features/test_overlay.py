"""The overlay: what is set holds over restarts, and links open and end at once, on every node."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from protocol.overlay import OverlaySettings
from server.features import overlay as feature
from server.journal import catalogues
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]
OVERLAYS = "/v1/rooms/demo/overlays"
SETTINGS = {
    "widgets": [{"kind": "goal", "place": "top"}],
    "min_coins": 5,
    "variants": [{"gift": "rose", "sound": "pop"}],
}


async def overlay_of(site: Site, codec: str = "json") -> Viewer:
    return await site.join("screen", token=site.token("screen", "overlay", room="demo"), codec=codec)


async def enter(site: Site, key: str, room: str = "demo") -> tuple[int, str]:
    """The status, and the token that a key gets."""
    answer = await site.http.post(f"/v1/rooms/{room}/overlays/token", headers={"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.json().get("token", "")


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_the_host_sets_what_overlays_show(site: Site, another_site: MakeSite, codec: str) -> None:
    """Overlays and staff of every node get it, newcomers too, and viewers do not."""
    there = await another_site()
    host, screen, alice = await host_of(site), await overlay_of(there, codec), await there.join("alice")
    assert (await screen.happened("overlay.changed"))["settings"] == msgspec.json.decode(
        msgspec.json.encode(OverlaySettings())
    )
    assert (await alice.ask("overlay.set", settings=SETTINGS))["reason"] == "not_allowed"
    assert (await host.ask("overlay.set", settings=SETTINGS))["type"] == "ok"
    changed = await screen.until(lambda told: [m for m in told if m["type"] == "overlay.changed" and m["version"]])
    assert changed[-1]["settings"]["widgets"] == [{"kind": "goal", "place": "top", "scale": 100}]
    assert changed[-1]["settings"]["variants"] == [{"gift": "rose", "sound": "pop"}]
    later = await overlay_of(there)
    assert (await later.happened("overlay.changed"))["settings"]["min_coins"] == 5
    await host.until(lambda told: [m for m in told if m["type"] == "overlay.changed" and m["version"]])
    assert not [m for m in alice.told if m["type"] == "overlay.changed"]


async def test_what_is_set_outlives_nodes_and_the_room_store(another_site: MakeSite, stores: Stores) -> None:
    """Also when the room store has lost everything."""
    site = await another_site()
    host = await host_of(site)
    assert (await host.ask("overlay.set", settings=SETTINGS))["type"] == "ok"
    assert (await host.ask("alerts.control", verb="pause"))["type"] == "ok"
    assert (await host.ask("alerts.control", verb="mute"))["type"] == "ok"
    await site.stop()
    with stores.room.client() as store:
        store.flushall()
    again = await another_site()
    shown = await (await overlay_of(again)).happened("overlay.changed")
    assert (shown["paused"], shown["muted"], shown["settings"]["min_coins"]) == (True, True, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"widgets": [{"kind": "goal"}] * 9}, {"widgets": [{"kind": "clock"}]}, {"colour": "red"}, {"veil": 101}),
        *({"sound": "javascript:x"}, {"sound": "http://a.com/x.mp3"}, {"sound": "https://a b/x"}, {"sound": "/v1/x"}),
        *({"variants": [{"tier": 5}]}, {"variants": [{}] * 33}, {"duration_ms": 1}, {"age_s": 1e9}),
    ],
    ids=str,
)
async def test_settings_that_are_refused(site: Site, wrong: dict[str, object]) -> None:
    """What is unknown, or beyond its bounds."""
    assert (await (await host_of(site)).ask("overlay.set", settings=wrong))["reason"] == "bad_command"


async def test_media_come_from_allowed_origins(another_site: MakeSite) -> None:
    """Only the operator's; a user in the address, or another port, is another origin."""
    site = await another_site(LIVEROOM_MEDIA_ORIGINS="https://media.example.com")
    host = await host_of(site)
    for address in (
        *(
            "https://evil.example.com/a.webm",
            "https://media.example.com:8443/a",
            "https://media.example.com.evil.com/a",
        ),
    ):
        refused = await host.ask("overlay.set", settings={"variants": [{"media": address}]})
        assert (refused["reason"], refused["address"]) == ("media_not_allowed", address)
        assert (await host.ask("overlay.set", settings={"sound": address}))["reason"] == "media_not_allowed"
    good = {"sound": "https://media.example.com/a.mp3", "variants": [{"media": "/web/gifts/rose.svg"}]}
    assert (await host.ask("overlay.set", settings=good))["type"] == "ok"
    page = await site.http.get("/overlay/demo")
    policy = page.headers["content-security-policy"]
    assert "connect-src 'self' https://media.example.com" in policy
    assert "script" not in policy
    assert "media.example.com" not in (await site.http.get("/watch/demo")).headers["content-security-policy"]


async def test_a_link_opens_the_overlay_and_ends_at_once(site: Site, another_site: MakeSite) -> None:
    """On every node: its sockets close with 4503, and its key gets no token any more. Other links go on."""
    there = await another_site()
    made = await site.http.post(OVERLAYS, json={})
    assert made.status_code == 201
    link, other = made.json(), (await site.http.post(OVERLAYS, json={})).json()
    assert link["url"] == f"{site.url}/overlay/demo#key={link['key']}"
    status, token = await enter(there, link["key"])
    assert status == 200
    screen = await there.join(token=token)
    assert screen.welcome["you"]["role"] == "overlay"
    _, of_other = await enter(there, other["key"])
    second = await there.join(token=of_other)
    assert (await site.http.delete(f"{OVERLAYS}/{link['id']}")).status_code == 200
    assert await screen.closed() == 4503
    for node in (site, there):
        assert await enter(node, link["key"]) == (403, "")
    assert (await second.ask("ping"))["type"] == "ok"
    listed = (await site.http.get(OVERLAYS)).json()["overlays"]
    assert [each["id"] for each in listed] == [other["id"]]
    assert "key" not in str(listed)
    assert (await site.http.delete(f"{OVERLAYS}/{link['id']}")).json()["error"]["reason"] == "unknown_overlay"


async def test_a_new_key_ends_the_old_one(site: Site) -> None:
    """The link stays; who has the old key is out at once, and the new key is good at once."""
    link = (await site.http.post(OVERLAYS, json={})).json()
    screen = await site.join(token=(await enter(site, link["key"]))[1])
    rotated = (await site.http.post(f"{OVERLAYS}/{link['id']}/rotate", json={})).json()
    assert rotated["id"] == link["id"]
    assert rotated["key"] != link["key"]
    assert await screen.closed() == 4503
    assert (await enter(site, link["key"]))[0] == 403
    _, token = await enter(site, rotated["key"])
    assert (await (await site.join(token=token)).ask("ping"))["type"] == "ok"


async def test_who_may_make_links(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform and the room's host; and only so many."""
    tokens = {
        "host": (site.token("creator", "host", room="demo"), 201),
        "creator": (site.token("creator", "viewer"), 201),  # whom the room names
        "moderator": (site.token("mona", "moderator"), 403),
        "viewer": (site.token("alice"), 403),
        "host of another room": (site.token("zoe", "host", room="other"), 403),
        "nobody": ("x", 401),
    }
    for who, (token, status) in tokens.items():
        headers = {"Authorization": f"Bearer {token}"}
        made = await site.http.post(OVERLAYS, json={}, headers=headers)
        assert made.status_code == status, who
        assert (await site.http.get(OVERLAYS, headers=headers)).status_code == (200 if status == 201 else status), who
        for path in (f"{OVERLAYS}/x", f"{OVERLAYS}/x/rotate"):
            method = "POST" if path.endswith("rotate") else "DELETE"
            asked = await site.http.request(method, path, json={}, headers=headers)
            assert asked.status_code == (409 if status == 201 else status), who
    assert (await site.http.post("/v1/rooms/nowhere/overlays", json={})).status_code == 404
    monkeypatch.setattr(feature, "LINKS_MAX", 2)
    assert (await site.http.post(OVERLAYS, json={})).json()["error"]["reason"] == "too_many_overlays"


async def test_a_banned_host_has_no_links(site: Site) -> None:
    """They may not see, make or end any, until the ban is over."""
    headers = {"Authorization": f"Bearer {site.token('creator', 'host', room='demo')}"}
    link = (await site.http.post(OVERLAYS, json={}, headers=headers)).json()
    (await site.http.post("/v1/rooms/demo/members/creator/ban", json={})).raise_for_status()
    for method, path in (("GET", OVERLAYS), ("POST", OVERLAYS), ("DELETE", f"{OVERLAYS}/{link['id']}")):
        refused = await site.http.request(method, path, json={}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "banned")
    (await site.http.post("/v1/rooms/demo/members/creator/unban", json={})).raise_for_status()
    assert (await site.http.get(OVERLAYS, headers=headers)).status_code == 200


@pytest.mark.parametrize("verb", ["rotate", "end"])
async def test_a_node_that_dies_while_a_link_ends(site: Site, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """Whatever it has still done, nobody goes on with a link that is no longer there."""
    link = (await site.http.post(OVERLAYS, json={})).json()
    _, token = await enter(site, link["key"])
    screen = await site.join(token=token)
    real, done = site.node.revocations.revoke, []

    async def dies_the_second_time(*args: str) -> None:
        if done:
            raise OperationalError("", {}, Exception("away"))
        done.append(args)
        await real(*args)

    monkeypatch.setattr(site.node.revocations, "revoke", dies_the_second_time)
    path = f"{OVERLAYS}/{link['id']}"
    ended = await (site.http.post(f"{path}/rotate", json={}) if verb == "rotate" else site.http.delete(path))
    assert ended.status_code == 503
    assert await screen.closed() == 4503
    assert (await enter(site, link["key"]))[0] == 403


async def test_keys_that_open_nothing(site: Site) -> None:
    """A wrong key, one of another room, and one that the room's former host has made."""
    link = (await site.http.post(OVERLAYS, json={})).json()
    await site.http.put("/v1/rooms/other", json={"host": {"user_id": "creator", "name": "Creator"}})
    for key, room in (("x", "demo"), (link["id"], "demo"), (link["key"] + "x", "demo"), (link["key"], "other")):
        assert await enter(site, key, room) == (403, "")
    assert (await enter(site, link["key"], "nowhere"))[0] == 404
    assert (await enter(site, link["key"]))[0] == 200
    await site.http.patch("/v1/rooms/demo", json={"host": {"user_id": "zoe", "name": "Zoe"}})
    assert (await enter(site, link["key"]))[0] == 403


async def test_without_sql_nothing_is_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is asked to try again; what lasts for a moment only goes on."""
    host, screen = await host_of(site), await overlay_of(site)

    def away(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(catalogues, "change", away)
    assert (await host.ask("overlay.set", settings=SETTINGS))["reason"] == "unavailable"
    assert (await host.ask("alerts.control", verb="pause"))["reason"] == "unavailable"
    assert (await host.ask("alerts.control", verb="skip"))["type"] == "ok"
    assert (await screen.happened("alerts.controlled"))["verb"] == "skip"
    assert (await site.http.post(OVERLAYS, json={})).json()["error"]["reason"] == "unavailable"
