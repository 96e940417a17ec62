"""How cost grows with viewers, events, rooms, nodes and primaries, and a model of what a million viewers need."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from loadtest import crowd, delivery, report, watch
from loadtest.audience import Audience
from loadtest.crowd import Target
from loadtest.processes import OTHER_CPU, ROOT, SERVICE_KEY, Served, cpu_s, pin
from loadtest.results import Second
from loadtest.scenarios import Plan

VIEWERS = (100, 300, 1000, 3000, 9000, 15_000)
VIEWERS_EVENTS_PER_S = 20.0
EVENTS_PER_S = (1.0, 5.0, 20.0, 60.0, 200.0, 600.0, 2000.0)
EVENTS_VIEWERS = 1000
ROOMS = (1, 10, 100, 500, 2000)
ROOMS_VIEWERS, ROOMS_CHATS_PER_S = 2000, 200.0
NODES = (1, 2)
NODES_VIEWERS, NODES_CHATS_PER_S = 1000, 100.0
PRIMARIES = (1, 3)
SETTLE_S = 1.0
MILLION = 1_000_000
SLOWEST_PER_S = 4.0  # flushes per second of a room at its longest tick: 250 ms
CORE_SHARE = 0.7  # part of a core that a node uses; the rest is for bursts


class Point(Struct, frozen=True, kw_only=True):
    """One measurement: its place `x` on the curve, and the cost there."""

    curve: str
    x: float
    viewers: int = 0
    events_per_s: float = 0.0
    delivered_per_s: float = 0.0
    writes_per_s: float = 0.0
    cores: float = 0.0  # of the nodes, or of the stores
    us_each: float = 0.0  # per delivery, or per gift
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class Model(Struct, frozen=True):
    """cores = idle + per_write_us x writes/s + per_event_us x events/s, fitted to the first two curves."""

    idle: float
    per_write_us: float
    per_event_us: float
    error: float  # root mean square error of the fit, in cores

    def million(self, events_per_s: float) -> tuple[float, int]:
        """Cores and one-core nodes for a million viewers, in rooms that flush four times a second."""
        writing = MILLION * SLOWEST_PER_S * self.per_write_us / 1e6
        each = CORE_SHARE - self.idle - events_per_s * self.per_event_us / 1e6
        nodes = writing / max(0.01, each)
        return nodes * CORE_SHARE, int(nodes) + 1


def run(args: argparse.Namespace) -> int:
    report.describe_machine()
    points: list[Point] = []
    wanted = set(args.only or _CURVES)
    for name, measure in _CURVES.items():
        if name in wanted:
            points += _print_points(measure(args))
    found: dict[str, Any] = {"machine": report.machine(), "points": msgspec.to_builtins(points)}
    if {"viewers", "events"} <= wanted:
        found["model"] = msgspec.to_builtins(_print_model(fit([p for p in points if p.curve in ("viewers", "events")])))
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "curves.json").write_text(json.dumps(found, indent=1))
    draw(points, args.output / "curves.svg")
    report.CONSOLE.print(f"written   {args.output / 'curves.json'}, {args.output / 'curves.svg'}")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=list(_CURVES), help="measure only these curves")
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement")
    parser.add_argument("--folder", type=Path, help="where the server writes")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for curves.json and curves.svg")


def _print_points(points: list[Point]) -> list[Point]:
    for point in points:
        latency = f"p50 {point.p50_ms:7.1f}  p99 {point.p99_ms:7.1f} ms"
        writes = f"{point.writes_per_s:8.0f} writes/s" if point.writes_per_s else ""  # only rooms count them
        rates = f"{point.delivered_per_s:10.0f} delivered/s  {writes:17}"
        cost = f"{point.us_each:7.2f} us  {point.cores:5.2f} cores"
        report.CONSOLE.print(f"{point.curve:10} {point.x:7g}  {cost} {rates}  {latency}")
    return points


# --- one room, heard by an audience ----------------------------------------------------------------------------------
def _room(args: argparse.Namespace, curve: str, x: float, viewers: int, per_s: float) -> Point:
    pin(os.getpid(), OTHER_CPU)
    with delivery.liveroom(args.folder) as program, tempfile.TemporaryDirectory() as folder:
        stays_s = args.seconds + 3 * SETTLE_S
        audience = Audience(program.url, program.viewer_path, viewers, stays_s, cpu=OTHER_CPU, folder=Path(folder))
        audience.wait_ready()
        time.sleep(SETTLE_S)
        writes, used_s = watch.counter(program.url, "liveroom_socket_writes_total"), cpu_s(program.node)
        uvloop.run(delivery.publish(program, per_s, args.seconds))
        used_s = cpu_s(program.node) - used_s
        writes = watch.counter(program.url, "liveroom_socket_writes_total") - writes
        heard = audience.heard()
    return Point(
        curve=curve,
        x=x,
        viewers=viewers,
        events_per_s=per_s,
        delivered_per_s=round(heard.messages / args.seconds),
        writes_per_s=round(writes / args.seconds),
        cores=round(used_s / args.seconds, 4),
        us_each=round(used_s / max(1, heard.messages) * 1e6, 3),
        p50_ms=heard.p50_ms,
        p99_ms=heard.p99_ms,
    )


def by_viewers(args: argparse.Namespace) -> list[Point]:
    return [_room(args, "viewers", viewers, viewers, VIEWERS_EVENTS_PER_S) for viewers in VIEWERS]


def by_events(args: argparse.Namespace) -> list[Point]:
    return [_room(args, "events", per_s, EVENTS_VIEWERS, per_s) for per_s in EVENTS_PER_S]


# --- many rooms and nodes, heard by a crowd --------------------------------------------------------------------------
class _Quiet:
    """A view that shows nothing."""

    def update(self, second: Second, phase: str, totals: dict[str, int], wrong: list[str]) -> None: ...


def _crowd(args: argparse.Namespace, curve: str, x: int, plan: Plan, workers: int = 1) -> Point:
    """Raises RuntimeError if a check fails, because the figures then mean nothing."""
    with Served(args.folder, workers) as served:
        target = Target(url=served.url, service_key=SERVICE_KEY, served=served)
        found = uvloop.run(crowd.hammer(plan, target, _Quiet()))
    wrong = [sentence for check in found.checks for sentence in check.wrong]
    if wrong:
        raise RuntimeError(f"{curve} {x}: {wrong[0]}")
    steady = [second for second in found.series if second.rates.get("chats", 0) > 0][1:-1]
    cores = sum(second.processes["node"].cores for second in steady) / len(steady)
    received = sum(second.rates.get("received", 0) for second in steady) / len(steady)
    latency = found.latencies["event to received"]
    return Point(
        curve=curve,
        x=x,
        viewers=plan.viewers,
        events_per_s=plan.chats_per_s,
        delivered_per_s=round(received),
        cores=round(cores, 3),
        us_each=round(cores / max(1, received) * 1e6, 3),
        p50_ms=latency.p50,
        p99_ms=latency.p99,
    )


def by_rooms(args: argparse.Namespace) -> list[Point]:
    """The same viewers and chats per second, in more and more rooms."""
    whole = Plan(scenario="rooms", viewers=ROOMS_VIEWERS, seconds=args.seconds + 2, chats_per_s=ROOMS_CHATS_PER_S)
    return [_crowd(args, "rooms", rooms, msgspec.structs.replace(whole, rooms=rooms)) for rooms in ROOMS]


def by_nodes(args: argparse.Namespace) -> list[Point]:
    plan = Plan(scenario="nodes", viewers=NODES_VIEWERS, seconds=args.seconds + 2, chats_per_s=NODES_CHATS_PER_S)
    return [_crowd(args, "nodes", nodes, plan, nodes) for nodes in NODES]


# --- gifts -----------------------------------------------------------------------------------------------------------
def by_primaries(args: argparse.Namespace) -> list[Point]:
    """Gifts through `Wallet.spend`: on one store, and on a cluster of three primaries that share its core."""
    points = []
    for number in PRIMARIES:
        more = ["--primaries", str(number)] if number > 1 else ["--alone"]
        command = [sys.executable, "-m", "server.bench", "spend", "--json", "--seconds", str(args.seconds), *more]
        output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout
        found = next(each for each in json.loads(output).values() if isinstance(each, dict))
        points.append(
            Point(
                curve="primaries",
                x=number,
                events_per_s=found["gifts_per_s"],
                cores=round(found["gifts_per_s"] * found["store_cpu_us_per_gift"] / 1e6, 3),
                us_each=found["store_cpu_us_per_gift"],
                p50_ms=found["p50_ms"],
                p99_ms=found["p99_ms"],
            )
        )
    return points


_CURVES = {
    "viewers": by_viewers,
    "events": by_events,
    "rooms": by_rooms,
    "nodes": by_nodes,
    "primaries": by_primaries,
}


# --- the model -------------------------------------------------------------------------------------------------------
def fit(points: list[Point]) -> Model:
    """Fit the model by least squares. A part whose cost would be negative is set to 0, and the rest is fitted again."""
    import numpy as np  # noqa: PLC0415  # only in the load test's group, and slow to import

    rows = np.array([[1.0, point.writes_per_s / 1e6, point.events_per_s / 1e6] for point in points])
    cores = np.array([point.cores for point in points])
    kept = [0, 1, 2]
    while True:
        found = np.zeros(3)
        found[kept] = np.linalg.lstsq(rows[:, kept], cores, rcond=None)[0]
        if (found >= 0).all():
            break
        kept.remove(int(found.argmin()))
    error = float(np.sqrt(np.mean((rows @ found - cores) ** 2)))
    idle, per_write, per_event = (round(float(each), 4) for each in found)
    return Model(idle, per_write, per_event, round(error, 4))


def _print_model(model: Model) -> Model:
    line = f"{model.idle} + {model.per_write_us} us x writes/s + {model.per_event_us} us x events/s"
    cores, nodes = model.million(EVENTS_PER_S[3])
    report.CONSOLE.print(f"model     cores of a node = {line}  (error {model.error} cores)")
    title = f"a million viewers, {EVENTS_PER_S[3]:g} events/s, {SLOWEST_PER_S:g} flushes a second"
    report.CONSOLE.print(f"          {title}: {cores:.0f} cores, {nodes} nodes with {CORE_SHARE:.0%} of a core in use")
    return model


def draw(points: list[Point], path: Path) -> None:
    """Draw a panel for each curve: cost per delivery or gift, and the 99th percentile."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "liveroom"
    from matplotlib import pyplot  # noqa: PLC0415

    curves = [name for name in _CURVES if any(point.curve == name for point in points)]
    figure, panels = pyplot.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.6), squeeze=False)
    for panel, name in zip(panels[0], curves, strict=True):
        own = [point for point in points if point.curve == name]
        xs = [point.x for point in own]
        panel.plot(xs, [point.us_each for point in own], marker="o", color="#d6336c", label="µs each")
        what = "gift" if name == "primaries" else "delivery"
        panel.set(xscale="log", xlabel=name, ylim=(0, None), ylabel=f"CPU µs per {what}")
        right = panel.twinx()
        right.plot(xs, [point.p99_ms for point in own], marker=".", linestyle="--", color="#1c7ed6")
        right.set(ylim=(0, None), ylabel="p99 ms (dashed)")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
