"""Emotes: catalogues over HTTP, who may use what, and what the room sees."""

from collections.abc import Awaitable, Callable

import pytest

from server import limits
from server.tokens import Facts
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
WAVE = {"id": "wave", "code": "wave", "url": "https://example.org/wave.png", "who": "everyone"}
CLUB = {"id": "club", "code": "club", "url": "/club.png", "who": "club"}


@pytest.fixture(autouse=True)
def _nodes_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTS_EVERY_S", 0.05)


async def test_a_rooms_emotes_and_the_sites(site: Site, another_site: MakeSite) -> None:
    """Everybody may read what a room has; its own go first, and before the site's of the same code."""
    there = await another_site()
    own = {**WAVE, "id": "own", "url": "/own.png"}
    assert (await site.http.put("/v1/emotes", json={"emotes": [WAVE, CLUB]})).status_code == 200
    assert (await site.http.put("/v1/rooms/demo/emotes", json={"emotes": [own]})).json() == {"emotes": [own]}
    for node in (site, there):
        shown = await node.http.get("/v1/rooms/demo/emotes", headers={"Authorization": ""})
        assert shown.json() == {"emotes": [own, CLUB]}
        assert (await node.http.get("/v1/emotes")).json() == {"emotes": [WAVE, CLUB]}
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")

    async def is_shown() -> bool:
        reply = await bob.ask("chat.send", text="hi :wave: :club:")
        event = await alice.happened("chat.sent", id=reply["id"])
        return bool(event.get("fragments"))

    await eventually(is_shown, what="an emote")
    assert alice.events("chat.sent")[-1]["fragments"] == [
        {"type": "text", "text": "hi "},
        {"type": "emote", "text": ":wave:", "emote": {"id": "own", "url": "/own.png"}},
        {"type": "text", "text": " :club:"},
    ]
    sign = site.node.tokens.sign
    token = sign(sub="carl", name="Carl", role="viewer", exp_s=4e9, facts=Facts(club_since_ms=1))
    reply = await (await site.join(token=token)).ask("chat.send", text=":club:")
    event = await alice.happened("chat.sent", id=reply["id"])
    assert event["fragments"] == [{"type": "emote", "text": ":club:", "emote": {"id": "club", "url": "/club.png"}}]


async def test_what_is_refused(site: Site) -> None:
    """Two of a kind, too many, a bad address or code, an unknown room, and who has not the key."""
    for wrong in (
        *([WAVE, {**CLUB, "code": "wave"}], [WAVE, {**CLUB, "id": "wave"}], [{**WAVE, "url": "javascript:x"}]),
        *([{**WAVE, "url": "http://x"}], [{**WAVE, "code": "a b"}], [{**WAVE, "id": ""}], [{**WAVE, "who": "me"}]),
        [{**WAVE, "id": f"e{n}", "code": f"e{n}"} for n in range(limits.EMOTES_MAX + 1)],
    ):
        refused = await site.http.put("/v1/rooms/demo/emotes", json={"emotes": wrong})
        assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "bad_request"), wrong[:2]
    many = [{**WAVE, "id": f"e{n}", "code": f"e{n}"} for n in range(limits.EMOTES_MAX)]
    assert (await site.http.put("/v1/emotes", json={"emotes": many})).status_code == 200
    assert (await site.http.get("/v1/rooms/nowhere/emotes")).status_code == 404
    assert (await site.http.put("/v1/rooms/nowhere/emotes", json={"emotes": []})).status_code == 404
    for path in ("/v1/emotes", "/v1/rooms/demo/emotes"):
        refused = await site.http.put(path, json={"emotes": []}, headers={"Authorization": ""})
        assert refused.status_code == 401
