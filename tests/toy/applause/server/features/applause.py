"""Applause: claps reach the store at once, where gifts and new broadcasts move the count as well."""

from protocol.applause import ApplauseCounted, ApplauseRefusal, Clap, ClapOk
from protocol.refusals import Refused
from protocol.wire import encode
from server.rooms.registry import handles, snapshot_part
from server.rooms.room import Member, Room
from server.store import hooks, keys, scripts
from server.store.scripts import hole

CLAPS_MAX = 120  # of one person in one broadcast: hands need a rest
WELCOME = 3  # a new broadcast begins with our own
CLAPS_PER_GIFT = 5  # in the house there is always somebody who claps

CLAP = scripts.load("applause_clap")
keys.of_room("clappers", "Hash: claps in this broadcast, by user.")
hooks.supply("applause_on_new_broadcast", welcome=WELCOME)
hooks.supply("applause_on_gift_shown", claps=CLAPS_PER_GIFT)
SCRIPTS = (CLAP,)


@handles(Clap)
async def clap(room: Room, member: Member, command: Clap) -> ClapOk:
    """Whoever is here may clap."""
    outcome = await room.services.history.change(
        room.id,
        CLAP,
        user_id=member.user_id,
        count=command.count,
        most=CLAPS_MAX,
        event=encode(ApplauseCounted(id=room.services.clock.new_id(), total=hole("total"))),
    )
    if outcome[0] == b"tired":
        raise Refused(ApplauseRefusal.HANDS_TIRED, most=CLAPS_MAX)
    return ClapOk(left=int(outcome[1]))


@snapshot_part("applause")
def applause(state: dict[str, str]) -> int:
    return int(state.get("applause:total", 0))
