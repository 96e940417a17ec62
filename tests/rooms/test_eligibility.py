"""Whether a host may begin: asked once at the start, on every way to it, and never while the room is live."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from protocol.rooms import RoomsRefusal
from server.requirements import Missing
from server.rooms.eligibility import everybody
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


AGE, AGREEMENT = Missing("age", 17, 18), Missing("agreement", None, "2026")
SHOWN = [{"name": "age", "value": 17, "needed": 18}, {"name": "agreement", "value": None, "needed": "2026"}]


def asking(site: Site, missing: dict[str, tuple[Missing, ...]]) -> list[str]:
    """Let this node's hosts miss something. Returns whom it asks about, from now on."""
    asked: list[str] = []

    async def look(user_id: str) -> tuple[Missing, ...]:
        asked.append(user_id)
        return missing.get(user_id, ())

    msgspec.structs.force_setattr(site.node.services, "eligibility", look)
    site.node.rooms_admin._eligibility = look
    return asked


async def test_by_default_everybody_may(site: Site) -> None:
    """Without requirements and suspensions nothing is missing."""
    assert await site.node.services.eligibility("creator") == await everybody("creator") == ()


async def test_a_host_who_misses_something_cannot_start(site: Site, another_site: MakeSite) -> None:
    """Refused with what is missing, over the socket and over HTTP; the room stays as it is, and others may."""
    there = await another_site()
    await site.put_room("r", live=False)
    host, watcher = await there.join("creator", room="r"), await site.join("obs", "overlay", room="r", codec="msgpack")
    missing = {"creator": (AGE, AGREEMENT)}
    asked = [asking(site, missing), asking(there, missing)]
    refused = await host.ask("room.start")
    assert (refused["reason"], refused["missing"]) == ("not_eligible", SHOWN)
    assert refused["message"] == RoomsRefusal.NOT_ELIGIBLE.sentence
    answer = await site.http.post("/v1/rooms/r/start")
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["reason"], error["missing"]) == (409, "not_eligible", SHOWN)
    assert asked == [["creator"], ["creator"]]
    assert watcher.events("room.updated") == []
    missing.clear()
    assert (await host.ask("room.start"))["type"] == "ok"
    missing["creator"] = (AGE,)
    for verb in ("start", "pause", "resume", "end"):  # only who begins is asked
        assert (await site.http.post(f"/v1/rooms/r/{verb}")).status_code == 200, verb
    assert asked == [["creator"], ["creator", "creator"]]
