"""The commands: scenarios (load a server and judge it), bench, curves and peers (figures), --compare (two runs)."""

import argparse
import contextlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from loadtest import bench, crowd, curves, keys, page, report, results, scenarios
from loadtest.crowd import Target
from loadtest.limits import Limits
from loadtest.live import LiveView
from loadtest.peers import __main__ as peers
from loadtest.processes import SERVICE_KEY, Served
from loadtest.report import CONSOLE
from loadtest.results import Result

RATES = (
    "chats_per_s",
    "gifts_per_s",
    "likes_per_s",
    "churn_per_s",
    "ramp_s",
    "slow",
    "hostile",
    "trolls",
    "moderators",
    "rooms",
    "think_s",
    "talkers",
)

LIMITS = {  # each replaces the scenario's value; a run beyond one has failed
    "max_p99_ms": "of each latency, in milliseconds (default: 1000; more for scenarios that break connections)",
    "max_refused": "percent of the commands that may be refused, or lost with a connection (default: 1)",
    "max_closed": "percent of the joins that the server may close or refuse (default: 1)",
    "max_pause_s": "seconds in which things are sent and nothing arrives (default: 5)",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    made.add_argument("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="show two runs on one page")
    made.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="--compare: the page to write")
    commands = made.add_subparsers(dest="command")
    for name, scenario in scenarios.ALL.items():
        _add_scenario(commands.add_parser(name, help=scenario.__doc__))
    curves.add_arguments(
        commands.add_parser("curves", help="how cost grows with load, and what a million viewers need")
    )
    peers.add_arguments(commands.add_parser("peers", help="other servers under the same load"))
    bench.add_arguments(commands.add_parser("bench", help="the measurements of loadtest/README.md"))
    return made


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        type=keys.address,
        help=f"the server; without it, one is started here for the run. Its key comes from {keys.NAME} or {keys.FILE}",
    )
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=1, help="processes that the crowd runs in")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same load")
    parser.add_argument("--kill-node", metavar="COMMAND", help="kills a node of that server")
    parser.add_argument("--kill-store", metavar="COMMAND", help="kills its wallet store")
    parser.add_argument("--folder", type=Path, help="where a server started here writes")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for the report (default: here)")
    for name, about in LIMITS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=_limit, metavar="N", help=about)
    for name in RATES:
        kind = int if name in ("rooms", "hostile", "talkers", "trolls", "moderators") else float
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="replaces the scenario's value")


def main(argv: list[str] | None = None) -> int:
    command_line = parser()
    argv = sys.argv[1:] if argv is None else argv
    keys.refuse_keys(argv, command_line)
    args = command_line.parse_args(argv)
    measuring = {"bench": bench.run, "curves": curves.run, "peers": peers.run}
    if args.command in measuring:
        return measuring[args.command](args)
    if args.compare:
        return page.main([*map(str, args.compare), "--output", str(args.output)])
    if args.command is None:
        command_line.error("name a scenario, bench, curves or peers, or give --compare A.json B.json")
    return run(args)


def run(args: argparse.Namespace) -> int:
    """Returns 0 if every check holds, 1 if one does not, 2 if the run could not start."""
    plan = plan_of(args)
    report.describe_machine()
    try:
        with _target(args) as target:
            missing = [phase.kill for phase in plan.phases if phase.kill and target.means(phase.kill) is None]
            if missing:
                CONSOLE.print(f"{plan.scenario} kills a {missing[0]}: give --kill-{missing[0]}, or leave out --url")
                return 2
            with LiveView((0 if plan.drift else plan.ramp_s) + plan.seconds) as view:
                found = uvloop.run(crowd.hammer(plan, target, view))
    except (RuntimeError, OSError, ValueError) as error:
        CONSOLE.print(f"[red]cannot run:[/red] {error}")
        return 2
    return tell(found, args.output)


def plan_of(args: argparse.Namespace) -> scenarios.Plan:
    plan = scenarios.ALL[args.command](args.viewers, args.seconds)
    given = {name: getattr(args, name) for name in RATES if getattr(args, name) is not None}
    limits = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    allowed = msgspec.structs.replace(plan.limits or Limits(), **limits)
    return msgspec.structs.replace(plan, seed=args.seed, processes=args.processes, limits=allowed, **given)


def _limit(text: str) -> float:
    """A limit that is a number from 0. Raises ValueError."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


@contextlib.contextmanager
def _target(args: argparse.Namespace) -> Iterator[Target]:
    kills = {"kill_node": args.kill_node, "kill_store": args.kill_store}
    if args.url:
        yield Target(url=args.url, service_key=keys.service_key(os.environ), **kills)
        return
    with Served(args.folder) as served:
        yield Target(url=served.url, service_key=SERVICE_KEY, served=served, **kills)


def tell(found: Result, folder: Path) -> int:
    """Print the figures and the verdict, and write the JSON file and the page."""
    rows: dict[str, object] = {
        name: f"p50 {q.p50:.1f}  p90 {q.p90:.1f}  p99 {q.p99:.1f}  p99.9 {q.p999:.1f}  max {q.max:.0f} ms of {q.count}"
        for name, q in found.latencies.items()
    }
    report.table(f"{found.scenario}: {found.plan['viewers']} viewers, {found.seconds:g} s", rows | dict(found.totals))
    for name, said in found.server.items():
        CONSOLE.print(f"the server's {name}: {said}", markup=False)
    for check in found.checks:
        verdict = "[red]WRONG[/red]" if check.wrong else "[green]holds[/green]"
        CONSOLE.print(f"{verdict}  {check.name}: {check.found}")
        for sentence in check.wrong:
            CONSOLE.print(f"       {sentence}", markup=False)
    _write(found, folder)
    CONSOLE.print("passed" if found.passed else "FAILED")
    return 0 if found.passed else 1


def _write(found: Result, folder: Path) -> None:
    """Write both files; into a new folder for temporary files if theirs cannot be written."""
    name = f"{found.scenario}-{time.strftime('%H%M%S', time.gmtime(found.began_ms / 1000))}.json"
    try:
        results.write(found, folder / name)
    except OSError as error:
        CONSOLE.print(f"[red]cannot write[/red] into {folder}: {error.strerror or error}")
        folder = Path(tempfile.mkdtemp(prefix="liveroom-load-"))
        results.write(found, folder / name)
    file = folder / name
    CONSOLE.print(f"written   {file}")
    page.write_page([found], file.with_suffix(".html"))
    CONSOLE.print(f"written   {file.with_suffix('.html')}: the same with plots, and what each word means")
