"""`bench ruled`: what a chat costs a room under the shield, with slow mode and 300 mutes, and what without."""

import argparse
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from loadtest import report
from loadtest.api import Api
from loadtest.audience import Audience
from loadtest.processes import NODE_CPU, OTHER_CPU, SERVICE_KEY, Served, pin, socket_path
from loadtest.talking import ROOM, Cost, talk

MUTES = 300
SLOW_S = 30
PER_S = 10.0  # messages to everybody in the room
RULES: dict[str, Any] = {"shield": True, "slow_mode_s": SLOW_S, "reports_hold": 5, "blocked_words": ["forbidden"]}


def ruled(args: argparse.Namespace) -> None:
    """CPU of the node and of the room store per chat, without rules and with them, in turn."""
    found: dict[str, list[Cost]] = {"without rules": [], "with rules": []}
    for _ in range(args.rounds):
        found["without rules"].append(measure(args, {}))
        found["with rules"].append(measure(args, RULES))
    rows: dict[str, object] = {
        f"{name}, round {n}": _row(cost) for name, costs in found.items() for n, cost in enumerate(costs, 1)
    }
    plain, strict = (min(each.node_us for each in costs) for costs in found.values())
    rows["the node's CPU with rules, of that without"] = f"{strict / plain:.2f} (the least of each)"
    report.table(f"chats at {PER_S:g}/s to {args.viewers} viewers; rules: shield, slow mode, {MUTES} mutes", rows)


def _row(cost: Cost) -> str:
    return f"node {cost.node_us:.0f} us, room store {cost.store_us:.0f} us; {cost.sent} sent, {cost.refused} refused"


def measure(args: argparse.Namespace, rules: dict[str, Any]) -> Cost:
    """The cost of chats in a room with these rules, on a server of its own."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served, tempfile.TemporaryDirectory() as name:
        api, paths = Api(served.url, SERVICE_KEY), Path(name) / "paths"
        api.open_room(ROOM)
        if rules:
            api.call("PATCH", f"/v1/rooms/{ROOM}", {"settings": rules})
            for number in range(MUTES):
                api.call("POST", f"/v1/rooms/{ROOM}/members/muted-{number}/mute", {})
        served.spread(NODE_CPU, OTHER_CPU)
        paths.write_text("\n".join(socket_path(ROOM, f"viewer-{number}") for number in range(args.viewers)))
        audience = Audience(served.url, paths, args.viewers, 3600, cpu=OTHER_CPU, folder=Path(name))
        try:
            audience.wait_ready()
            # In turn, so each waits for longer than slow mode asks for.
            args = argparse.Namespace(**{**vars(args), "talkers": math.ceil(PER_S * (SLOW_S + 15))})
            return uvloop.run(talk(served, api.address, args, PER_S))
        finally:
            audience.end()
