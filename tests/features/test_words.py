"""Word lists: over HTTP, in chat, in names, on all nodes."""

from collections.abc import Awaitable, Callable

import pytest

from server import limits
from tests.program import eventually
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture(autouse=True)
def _nodes_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTS_EVERY_S", 0.05)


async def outcome(viewer: Viewer, text: str) -> str:
    reply = await viewer.ask("chat.send", text=text)
    return str(reply.get("reason", reply["type"]))


async def until_said(viewer: Viewer, text: str, wanted: str) -> None:
    async def is_so() -> bool:
        return await outcome(viewer, text) == wanted

    await eventually(is_so, what=f"{text} is {wanted}")


async def test_lists_of_site_host_and_room(site: Site, another_site: MakeSite) -> None:
    """All three hold at once, on every node, within seconds; staff may say everything."""
    there = await another_site()
    await site.put_room("demo", live=False, blocked_words=["roomword"])
    await site.put_room("hers")
    await site.http.put("/v1/rooms/other", json={"host": {"user_id": "bob", "name": "Bob"}, "title": "x"})
    await site.http.post("/v1/rooms/other/start")
    alice, far = await site.join("alice"), await there.join("carl", codec="msgpack")
    for path, word in (("/v1/words", "siteword"), ("/v1/hosts/creator/words", "hostword")):
        written = await site.http.put(path, json={"phrases": {"blocked": [word], "insult": ["fool"]}})
        assert written.json() == {"phrases": {"blocked": [word], "insult": ["fool"]}}
        assert (await there.http.get(path)).json() == written.json()
    for viewer in (alice, far):
        for word in ("siteword", "hostword", "roomword"):
            await until_said(viewer, f"a {word.upper()}!", "blocked_words")
        assert await outcome(viewer, "fool") == "ok"  # an insult is for the room's other settings
    assert await outcome(await site.join("alice", room="hers"), "hostword") == "blocked_words"
    other = await there.join("alice", room="other")
    assert [await outcome(other, word) for word in ("siteword", "hostword", "roomword")] == [
        "blocked_words",
        "ok",
        "ok",
    ]
    assert await outcome(await site.join("creator"), "siteword") == "ok"
    await there.http.patch("/v1/words", json={"add": {"spam": ["siteword"]}})
    for viewer in (alice, far):
        await until_said(viewer, "siteword", "ok")


async def test_a_list_holds_from_the_first_message(site: Site, another_site: MakeSite) -> None:
    """A node that starts, or opens a room, has the lists before anybody speaks there."""
    await site.http.put("/v1/words", json={"phrases": {"blocked": ["siteword"]}})
    await site.http.put("/v1/hosts/creator/words", json={"phrases": {"blocked": ["hostword"]}})
    viewer = await (await another_site()).join("alice")
    assert [await outcome(viewer, word) for word in ("siteword", "hostword")] == ["blocked_words"] * 2


async def test_a_name_with_a_blocked_phrase(site: Site) -> None:
    """Its owner is shown by their user id, to themselves, too."""
    await site.http.put("/v1/words", json={"phrases": {"blocked": ["alice"]}})
    alice, bob = await site.join("al1ce"), await site.join("bob")
    assert alice.welcome["you"]["name"] == "al1ce"
    await alice.ask("chat.send", text="hello")
    assert (await bob.happened("chat.sent"))["user"]["name"] == "al1ce"
    assert bob.welcome["you"]["name"] == "Bob"


async def test_changes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added moves to its category, what is removed goes; a list has a bound, and phrases something to find."""
    path = "/v1/hosts/bob/words"
    assert (await site.http.get(path)).json() == {"phrases": {}}
    await site.http.patch(path, json={"add": {"spam": ["b", "a", "a"], "insult": ["c"]}})
    changed = await site.http.patch(path, json={"add": {"insult": ["a"]}, "remove": ["c", "nothing"]})
    assert changed.json() == {"phrases": {"insult": ["a"], "spam": ["b"]}}
    for wrong in (
        {"add": {"spam": ["*"]}},
        {"add": {"spam": [""]}},
        {"add": {"spam": ["x" * 65]}},
        {"add": {"Spam": ["x"]}},
        {"add": {"spam": ["x"], "insult": ["x"]}},
        {"more": []},
    ):
        refused = await site.http.patch(path, json=wrong)
        assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "bad_request"), wrong
    for name, whose in (("WORDS_OF_HOST_MAX", path), ("WORDS_OF_SITE_MAX", "/v1/words")):
        monkeypatch.setattr(limits, name, 2)
        assert (await site.http.put(whose, json={"phrases": {"spam": ["x", "y"]}})).status_code == 200
        assert (await site.http.patch(whose, json={"add": {"insult": ["z"]}})).json()["error"][
            "reason"
        ] == "too_many_words"
    assert (await site.http.get("/v1/words", headers={"Authorization": ""})).status_code == 401
