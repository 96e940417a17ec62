"""A node or the room store is killed while people give: goals, levels and summary lose nothing and double nothing."""

from collections import Counter

import pytest

from tests.journeys.givers import Giver
from tests.program import Program, eventually

GIVEN = 30  # roses of each giver: level 2 at 10 coins, and no higher one
LEVELS = [1, 2]


async def settled_goal(program: Program, room: str, current: int) -> None:
    """Wait until the room's one goal has this much: never more."""

    async def there() -> bool:
        [goal] = (await program.get(f"/v1/rooms/{room}/goals"))["goals"]
        assert goal["current"] <= current
        return bool(goal["current"] == current)

    await eventually(there, what="the goal's coins")


def levels_in(events: list[dict]) -> dict[str, list[int]]:
    """The levels of each person that a room's history has, in order."""
    told = [event for event in events if event["type"] == "levels.reached"]
    return {
        user: [e["level"] for e in told if e["user"]["user_id"] == user]
        for user in {e["user"]["user_id"] for e in told}
    }


@pytest.mark.parametrize("child", ["node", "room store"])
async def test_what_people_reach_outlives_a_kill(program: Program, child: str) -> None:
    """Two nodes have the room: the goal has each coin once, nobody's level comes twice, and one summary has it all."""
    room = f"reach-{child.replace(' ', '-')}"
    await program.put_room(room)
    there = await program.second_node()
    await program.post(f"/v1/rooms/{room}/goals/all", {"kind": "coins", "title": "All", "target": 50}, put=True)
    here, far = [Giver(program, f"{room}-{n}", room) for n in range(2)]
    for giver in (here, far):
        await program.give_coins(giver.user, giver.start)
        await giver.join()
    await program.join("watcher", "overlay", room=room, codec="msgpack", node=there)
    await here.give(GIVEN // 2)
    await far.give(GIVEN // 2)
    old = await program.kill_child(child)
    await program.child_again(child, old)
    await program.until_ready()
    await here.give_again()
    for giver in (here, far):
        if not giver.connected:
            await giver.join()
        await giver.give(GIVEN - len(giver.sent))
        await giver.give_again()
    await settled_goal(program, room, 2 * GIVEN)

    async def history() -> list[dict]:
        return list((await program.get(f"/v1/rooms/{room}/events?limit=500"))["events"])

    async def told() -> bool:
        found = levels_in(await history())
        return all(found.get(giver.user, [0])[-1] == LEVELS[-1] for giver in (here, far))

    await eventually(told, what="everybody's level")
    await program.post(f"/v1/rooms/{room}/end")

    async def summed() -> bool:
        return bool((await program.get(f"/v1/rooms/{room}/broadcasts"))["broadcasts"])

    await eventually(summed, what="the summary")
    [summary] = (await program.get(f"/v1/rooms/{room}/broadcasts"))["broadcasts"]
    assert (summary["gifts"], summary["coins"]) == (2 * GIVEN, 2 * GIVEN)
    events = await history()
    types = Counter(event["type"] for event in events)
    assert types["room.summed"] <= 1
    assert types["goals.reached"] == 1
    for levels in levels_in(events).values():
        assert levels == sorted(set(levels))
    await there.kill()


async def test_viewers_of_a_killed_node_in_an_empty_room(program: Program) -> None:
    """Nobody else is there, and they stop counting."""
    await program.put_room("deserted")
    doomed = await program.second_node()
    alice = await program.join("alice", room="deserted", node=doomed)
    await alice.happened("viewers.counted", now=1)
    await doomed.kill()

    async def nobody() -> bool:
        return bool((await program.get("/v1/rooms/deserted"))["viewers"]["now"] == 0)

    await eventually(nobody, 60, "an empty room")
