"""The commands: run (everything on one machine), node, journal, audit, repair, rebuild, report, migrate, token."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from server import lean as _lean  # noqa: F401  # first: for what it leaves out
from server import logs
from server import settings as configuration
from server.processes import signals
from server.settings import Settings, Unusable

_SERVING = ("run", "node", "journal")


def main(argv: list[str] | None = None) -> int:
    """Carry out one command. If it cannot start, print one sentence and return 2."""
    args = _parser().parse_args(argv)
    if args.command in _SERVING:
        signals.end_at_once()
    try:
        settings = configuration.load()
        logs.set_up(settings)
        if args.command != "token":
            from server.processes import preflight  # noqa: PLC0415  # a token needs no stores

            preflight.check(settings)
        return _COMMANDS[args.command](settings, args)
    except Unusable as unusable:
        logs.Lines(logs.STDERR).write(f"liveroom: {unusable}\n")
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as a shell reports it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="liveroom", description="A self-hosted live room.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="everything on this machine: stores, journal, a node")
    node = commands.add_parser("node", help="sockets and HTTP, on stores that already run")
    node.add_argument(
        "--worker",
        type=int,
        help="number of this node among several on this machine: they share the port, and each has its own, too",
    )
    journal = commands.add_parser("journal", help="the drain from the ledger log to SQL")
    journal.add_argument("--ready-fd", type=int, metavar="N", help="write a line to this open file once it drains")
    audit = commands.add_parser(
        "audit", help="check journal and store; if they differ, print the first differences and exit with 1"
    )
    audit.add_argument("--freeze", action="store_true", help="freeze the partitions that are wrong")
    audit.add_argument("--anchors", type=Path, metavar="FILE", help="compare the journal with a copy of anchors.log")
    audit.add_argument(
        "--accept", action="store_true", help="accept this database, for instance after a restore, if nothing is wrong"
    )
    repair = commands.add_parser("repair", help="say why partitions are frozen; with an option, correct or thaw them")
    _add_repair(repair)
    commands.add_parser("rebuild", help="compute creators' earnings again from the journal's entries")
    report = commands.add_parser("report", help="print a month's trial balance, income and liabilities")
    report.add_argument("--month", required=True, metavar="YYYY-MM", help="a month in UTC, as 2026-11")
    commands.add_parser("migrate", help="bring the journal's schema up to date")
    token = commands.add_parser("token", help="print a token")
    token.add_argument("user")
    token.add_argument("--name")
    token.add_argument("--role", default="viewer", choices=("viewer", "moderator", "host", "overlay", "bot"))
    token.add_argument("--room")
    token.add_argument("--ttl-s", type=int, default=3600)
    return parser


def _add_repair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--thaw", metavar="N", help="thaw partition N if nothing is wrong with it now; or `all`")
    parser.add_argument(
        "--rebuild",
        metavar="N",
        nargs="?",
        const="all",
        help="derive the journal of partition N, or of all, again from its entries",
    )
    parser.add_argument("--correct", metavar="N", help="set partition N of the wallet store to what the journal says")
    parser.add_argument(
        "--empty", metavar="N", help="delete all that the wallet store has of frozen partition N, to be filled again"
    )
    parser.add_argument(
        "--claims", action="store_true", help="remove claims on ids of top-ups that no order and no entry has"
    )
    parser.add_argument(
        "--import",
        metavar="FROM",
        dest="source",
        help="another journal, a file or an address, that has the missing or changed rows",
    )


def _run(settings: Settings, _args: argparse.Namespace) -> int:
    from server.processes import supervisor  # noqa: PLC0415  # each command imports only what it needs

    return supervisor.run(settings)


def _node(settings: Settings, args: argparse.Namespace) -> int:
    from server.processes import node  # noqa: PLC0415

    node.run(msgspec.structs.replace(settings, worker=args.worker))
    return 0


def _journal(settings: Settings, args: argparse.Namespace) -> int:
    from server.processes import journal as process  # noqa: PLC0415

    process.run(settings, args.ready_fd)
    return 0


def _audit(settings: Settings, args: argparse.Namespace) -> int:
    from server.processes import journal as process  # noqa: PLC0415

    if args.anchors is not None:
        return process.compare_anchors(settings, args.anchors)
    return process.audit(settings, freeze=args.freeze, accept=args.accept)


def _repair(settings: Settings, args: argparse.Namespace) -> int:
    from server.processes import repair  # noqa: PLC0415

    return repair.run(settings, repair.order_of(args))


def _rebuild(settings: Settings, _args: argparse.Namespace) -> int:
    from server.processes import journal as process  # noqa: PLC0415

    return process.rebuild(settings)


def _report(settings: Settings, args: argparse.Namespace) -> int:
    from server.processes import report  # noqa: PLC0415

    return report.run(settings, args.month)


def _migrate(settings: Settings, _args: argparse.Namespace) -> int:
    from server.processes import schema  # noqa: PLC0415

    return schema.migrate(settings)


def _token(settings: Settings, args: argparse.Namespace) -> int:
    from server.tokens import Tokens  # noqa: PLC0415

    exp_s = time.time() + args.ttl_s  # noqa: TID251
    name = args.name or args.user.capitalize()
    print(Tokens(settings.token_secret).sign(sub=args.user, name=name, role=args.role, exp_s=exp_s, room=args.room))
    return 0


_COMMANDS = {
    "run": _run,
    "node": _node,
    "journal": _journal,
    "audit": _audit,
    "repair": _repair,
    "rebuild": _rebuild,
    "report": _report,
    "migrate": _migrate,
    "token": _token,
}


def start() -> int:
    """Prepare this process, and carry out the command in its arguments."""
    logs.keep_numbers_taken()
    os.umask(0o077)  # journal, append-only files and anchors are for nobody else
    return main()


if __name__ == "__main__":
    sys.exit(start())
