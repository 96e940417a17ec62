"""The commands: crowd (try a server), bench (measure one that is started for it)."""

import argparse
import sys

from loadtest import bench, crowd


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    _add_crowd(commands.add_parser("crowd", help="viewers in a room of a running server; checks order and sums"))
    bench.add_arguments(commands.add_parser("bench", help="the figures of loadtest/README.md"))
    return made


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.command == "bench":
        return bench.run(args)
    given = {name: value for name, value in vars(args).items() if name != "command"}
    given["givers"] = min(args.givers, args.viewers)
    return crowd.run(crowd.Plan(**given))


def _add_crowd(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--service-key", default="dev-service-key")
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--chats-per-s", type=float, default=20)
    parser.add_argument("--gifts-per-s", type=float, default=10)
    parser.add_argument("--givers", type=int, default=20, help="how many of the viewers give")
    parser.add_argument("--room", help="a live room that there is; without it the crowd makes one and checks its sums")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    sys.exit(main())
