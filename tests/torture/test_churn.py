"""People come and go for a while: the node then holds what it held before, and nothing more."""

import os
from pathlib import Path

import pytest

from tests.conftest import Stores
from tests.torture import rounds
from tests.torture.churn import Crowd, Held, churned_node

SOAK_S = float(os.environ.get("LIVEROOM_SOAK_S") or rounds(2, 120))  # an hour: LIVEROOM_SOAK_S=3600
WARM_UP_S = min(SOAK_S / 2, 60)  # caches and rings fill
RSS_KIB_MORE = rounds(16, 6) * 1024
# As many as a ring holds, however long the churn.
BOUNDED = {"server.rooms.history.Recorded", "weakref.ReferenceType to a NoneType"}  # dead ones go with the next change


@pytest.mark.timeout(SOAK_S + WARM_UP_S + 90)
async def test_a_churned_node_holds_what_it_held_before(stores: Stores, journal: str, tmp_path: Path) -> None:
    """No socket, person, room, task or open file stays, no type of object piles up, and memory does not grow."""
    async with churned_node(tmp_path, stores, journal) as node, Crowd(node) as crowd:
        await crowd.churn(WARM_UP_S)
        before = await node.settled(_left)
        assert _left(before), before.things
        first, gave = crowd.joins, crowd.given

        somebody = crowd.person("somebody", "demo")  # would be noticed
        await somebody.come()
        noticed = await node.held()
        assert {"sockets", "people with a balance", "people in rooms", "members", "connections"} <= set(
            noticed.more_than(before)
        )
        await somebody.leave(politely=True)

        await crowd.churn(SOAK_S)
        least = (crowd.joins - first) // 4
        after = await node.settled(lambda held: not held.more_than(before) and not _piled_up(held, before, least))
    assert crowd.given > gave
    assert after.more_than(before) == {}
    assert _piled_up(after, before, least) == {}
    assert after.rss_kib - before.rss_kib <= RSS_KIB_MORE


def _piled_up(after: Held, before: Held, least: int) -> dict[str, int]:
    return {kind: more for kind, more in after.piled_up(before, least).items() if kind not in BOUNDED}


def _left(held: Held) -> bool:
    """Everybody has left."""
    return not any(held.things[name] for name in ("sockets", "people in rooms", "presence"))
