"""Who may do what: each command of staff, by each role, on two nodes and in both codecs."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.features.members import VERBS
from tests.features.test_members import host_of
from tests.site import Site, Viewer, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]
# The roles, each of which may do what those before it may.
VIEWERS, MODERATORS, HOSTS, SITE = range(4)
ROLES = {"alice": VIEWERS, "robot": VIEWERS, "obs": VIEWERS, "roommod": MODERATORS, "creator": HOSTS, "sitemod": SITE}
LEAST: dict[str, tuple[int, dict[str, Any]]] = {
    "members.list": (MODERATORS, {}),
    "chat.delete": (MODERATORS, {"ids": ["nothing"]}),
    "chat.pin": (MODERATORS, {"id": "nothing"}),
    "chat.unpin": (MODERATORS, {"id": "nothing"}),
    "chat.approve": (MODERATORS, {"id": "nothing"}),
    "chat.deny": (MODERATORS, {"id": "nothing"}),
    "room.set": (MODERATORS, {"title": "t"}),
    "room.start": (HOSTS, {}),
    "room.pause": (HOSTS, {}),
    "room.resume": (HOSTS, {}),
    "goals.set": (HOSTS, {"id": "g", "kind": "likes", "title": "t", "target": 5}),
    "goals.remove": (HOSTS, {"id": "g"}),
    "alerts.control": (MODERATORS, {"verb": "pause"}),
    "overlay.set": (HOSTS, {"settings": {}}),
    "gifts.test": (HOSTS, {"gift": "rose"}),
    "gifts.thank": (HOSTS, {"gift_id": new_gift_id()}),
}
for _verb in VERBS:
    _fields = {"user_id": "target", **({"text": "no"} if _verb == "warn" else {})}
    LEAST[f"members.{_verb}"] = (HOSTS if _verb in ("promote", "demote") else MODERATORS, _fields)


async def join_as(site: Site, user: str, codec: str) -> Viewer:
    """Somebody of one of the ROLES."""
    granted = {"robot": "bot", "obs": "overlay", "sitemod": "moderator"}.get(user, "viewer")
    token = site.token("creator", "host", room="demo") if user == "creator" else None
    return await site.join(user, granted, token=token, codec=codec)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("user", ROLES)
async def test_the_map(site: Site, another_site: MakeSite, user: str, codec: str) -> None:
    """Who may not is refused with `not_allowed` on every node; who may is never."""
    there = await another_site()
    host, watcher = await host_of(site), await there.join("watcher")
    if user == "roommod":
        await host.ask("members.promote", user_id=user)
        await watcher.happened("members.promoted", user_id=user)
    for node in (site, there):
        person = await join_as(node, user, codec)
        said = {tag: await person.ask(tag, **fields) for tag, (_, fields) in LEAST.items()}
        refused = {tag for tag, reply in said.items() if reply.get("reason") == "not_allowed"}
        assert refused == {tag for tag, (least, _) in LEAST.items() if ROLES[user] < least}
        done = {tag for tag, reply in said.items() if reply["type"] == "ok"}
        assert done == set() or ROLES[user] > VIEWERS


async def test_nothing_is_missing_in_the_map() -> None:
    """Commands that are not here are for everybody, or their own tests have them."""
    from server.rooms.registry import HANDLERS  # noqa: PLC0415  # complete once every feature is imported

    known = {str(command.__struct_config__.tag) for command in HANDLERS}
    others = {"chat.send", "chat.report", "gifts.send", "likes.send", "ping", "session.refresh"}
    others |= {"board.get", "members.acknowledge", "room.end", "alerts.ack"}
    assert known - others == LEAST.keys()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_what_ends_the_room(site: Site, another_site: MakeSite, codec: str) -> None:
    """`room.end` is the host's and the site's."""
    there = await another_site()
    people = {user: await join_as(there, user, codec) for user in ROLES}
    await people["creator"].ask("members.promote", user_id="roommod")
    await people["roommod"].happened("members.promoted")
    for user, person in people.items():
        if ROLES[user] < HOSTS:
            assert (await person.ask("room.end"))["reason"] == "not_allowed"
    assert (await people["sitemod"].ask("room.end"))["type"] == "ok"


PLATFORM: list[tuple[str, str, dict[str, Any]]] = [
    *[("POST", f"/members/target/{verb}", {"text": "no"} if verb == "warn" else {}) for verb in VERBS],
    ("PUT", "/goals/g", {"kind": "likes", "title": "t", "target": 5}),
    ("DELETE", "/goals/g", {}),
    ("PUT", "/rules", {"rules": []}),
    ("PATCH", "", {"title": "t"}),
    ("POST", "/publish", {"name": "x"}),
    ("POST", "/pause", {}),
    ("POST", "/resume", {}),
    ("GET", "/members", {}),
    ("GET", "/moderation", {}),
    ("GET", "/rules", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), PLATFORM, ids=lambda part: str(part)[:30])
async def test_the_platform_alone_over_http(
    site: Site, another_site: MakeSite, method: str, path: str, body: dict[str, Any]
) -> None:
    """Each on both nodes: with the key it is done, with nobody's or somebody's own token it is not."""
    there = await another_site()
    sent: dict[str, Any] = {} if method == "GET" else {"json": body}
    for node in (site, there):
        address = f"/v1/rooms/demo{path}"
        for authorization in ("", "Bearer wrong", f"Bearer {node.token('sitemod', 'moderator')}"):
            refused = await node.http.request(method, address, headers={"Authorization": authorization}, **sent)
            assert refused.status_code == 401, authorization
        done = await node.http.request(method, address, **sent)
        assert done.status_code == 200 or (method, done.status_code) == ("DELETE", 404), done.text


async def test_gift_ids_are_nobodys_permission(site: Site) -> None:
    """Who knows the id of a gift may not thank for it."""
    alice = await site.join("alice")
    gift = await alice.gift("rose", id=new_gift_id())
    assert (await alice.ask("gifts.thank", gift_id=gift["id"]))["reason"] == "not_allowed"
