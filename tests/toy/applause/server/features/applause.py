"""Applause: claps reach the store at once, where gifts and new broadcasts change the count as well."""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.applause import ApplauseCounted, ApplauseRefusal, Clap, ClapOk
from protocol.ids import UserId
from protocol.refusals import Refused
from protocol.wire import encode
from server.http.api import answer, body, room_id_of, route
from server.rooms.registry import handles, snapshot_part
from server.rooms.room import Member, Room, Services
from server.store import hooks, keys, scripts
from server.store.scripts import hole

CLAPS_MAX = 120  # per person and broadcast: hands need a rest
WELCOME = 3  # a new broadcast begins with the program's own claps
CLAPS_PER_GIFT = 5  # somebody always claps for a gift

CLAP = scripts.load("applause_clap")
keys.of_room("clappers", "Hash: claps in this broadcast, by user.")
hooks.supply("applause_on_new_broadcast", welcome=WELCOME)
hooks.supply("applause_on_gift_shown", claps=CLAPS_PER_GIFT)
SCRIPTS = (CLAP,)


@handles(Clap)
async def clap(room: Room, member: Member, command: Clap) -> ClapOk:
    """Everybody in the room may clap."""
    return ClapOk(left=await _clap(room.services, room.id, member.user_id, command.count))


async def _clap(services: Services, room_id: str, user_id: str, count: int) -> int:
    """Count the claps; return how many this person has left. Raises Refused, NoSuchRoom, StoreError."""
    outcome = await services.history.change(
        room_id,
        CLAP,
        user_id=user_id,
        count=count,
        most=CLAPS_MAX,
        event=encode(ApplauseCounted(id=services.clock.new_id(), total=hole("total"))),
    )
    if outcome[0] == b"tired":
        raise Refused(ApplauseRefusal.HANDS_TIRED, most=CLAPS_MAX)
    return int(outcome[1])


@snapshot_part("applause")
def applause(state: dict[str, str]) -> int:
    return int(state.get("applause:total", 0))


class ClapFor(Struct, frozen=True, forbid_unknown_fields=True):
    """Claps on behalf of somebody who is not connected."""

    user_id: UserId
    count: Annotated[int, Meta(ge=1, le=CLAPS_MAX)]


def routes(services: Services) -> list[Route]:
    """What a platform may ask about a room's applause."""

    async def show(request: Request) -> Response:
        raw = await services.history.snapshot(room_id_of(request))
        return answer({"applause": applause(raw.state)})

    async def clap_for(request: Request) -> Response:
        asked = await body(request, ClapFor)
        return answer({"left": await _clap(services, room_id_of(request), asked.user_id, asked.count)})

    path = "/v1/rooms/{room}/applause"
    return [
        route(path, show, summary="A room's applause", open=True),
        route(path, clap_for, method="POST", summary="Clap for somebody", body=ClapFor),
    ]
