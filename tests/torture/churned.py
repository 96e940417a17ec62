"""A node in a process of its own, which says what it holds. A line on its standard input asks; a line of JSON answers.

Arguments: a folder, and the addresses of wallet store, room store and journal. Its first line is its port.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
import uvloop

from loadtest.processes import rss_kib
from server import limits
from server.app import Node
from tests.site import Site
from tests.stores import settings

RING_BYTES = 64 * 1024  # a ring of 4 MiB would fill all through the test, and look like a leak


def held(node: Node) -> dict[str, Any]:
    """How many of each thing there are, all objects by their type, and the process's memory."""
    gc.collect()
    kinds = Counter(map(_kind, gc.get_objects()))
    presences = [presence for room in node.rooms.here() if (presence := room._memory.get("viewers"))]
    things = {
        "sockets": len(node.sessions.connections),
        "rooms": len(node.rooms.here()),
        "people with a balance": len(node.balances._by_user),
        "people without a balance": len(node.balances.waiting),
        "people in rooms": sum(len(room.members) for room in node.rooms.here()),
        "presence": sum(len(each.sockets) + len(each.counted) + len(each.changed) for each in presences),
        "tasks": len(asyncio.all_tasks()),
        "open files": sum("sqlite" not in where for where in _open_files()),  # those of its pool have a bound
        "members": kinds["server.rooms.room.Member"],
        "connections": kinds["server.edge.socket.Connection"],
        "room objects": kinds["server.rooms.room.Room"],
    }
    return {"things": things, "kinds": kinds, "rss_kib": rss_kib(os.getpid())}


def _open_files() -> Iterator[str]:
    """Where the process's open files and sockets are."""
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            yield str(each.readlink())


def _kind(each: object) -> str:
    """The object's type. A weak reference also says of what, or nobody finds out where it is from."""
    kind = f"{type(each).__module__}.{type(each).__qualname__}"
    return f"{kind} to a {type(each()).__qualname__}" if isinstance(each, weakref.ReferenceType) else kind


async def serve(folder: str, wallet: str, room: str, journal: str) -> None:
    """Until the standard input ends."""
    limits.RING_BYTES_MAX = RING_BYTES
    environ = {"LIVEROOM_WALLET_URL": wallet, "LIVEROOM_ROOM_URL": room, "LIVEROOM_JOURNAL_URL": journal}
    site = Site(settings(Path(folder), **environ))
    await site.start()
    asked = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    print(site.port, flush=True)
    while await asked.readline():
        print(json.dumps(held(site.node)), flush=True)
    await site.stop()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # stdout is for answers
    uvloop.run(serve(*sys.argv[1:5]))
