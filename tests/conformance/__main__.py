"""`make conformance`: Autobahn's test suite against our websocket class, on 127.0.0.1 alone."""

import argparse
import os
import sys
import time
from pathlib import Path

import uvloop

from tests.conformance import suite
from tests.conformance.argued import ARGUED
from tests.conformance.echo import serving
from tests.tree import ROOT


async def run(python: str, folder: Path, reports: Path, patterns: list[str]) -> int:
    """Run the cases, one pattern after the other, and print what they give. Returns the exit status."""
    total, well = 0, True
    async with serving() as port:
        for pattern in patterns:
            began = time.monotonic()
            found = await suite.run(python, folder, port, [pattern], reports / pattern.replace("*", "x"))
            lines, fine = suite.judged(found, ARGUED)
            print(f"section {pattern}: {len(found)} cases in {time.monotonic() - began:.0f} s", *lines, sep="\n  ")
            sys.stdout.flush()
            total, well = total + len(found), well and fine
    print(f"{total} cases, {'failures: none that is not argued above' if well else 'FAILED'}; the reports: {reports}")
    return 0 if well else 1


def main() -> int:
    """Returns 0 if all is well, 1 if a case failed, 2 if the suite cannot be run here."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(suite.CASES), help="such as '6.*' or 1.1.1; default: all")
    parser.add_argument("--python2", default=os.environ.get("PYTHON2"), help="a Python 2.7 with pip, for the suite")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "conformance", help="suite and reports")
    args = parser.parse_args()
    folder = args.folder.resolve()
    try:
        python = suite.python_2(args.python2)
        suite.install(python, folder / "suite")
        return uvloop.run(run(python, folder / "suite", folder / "reports", args.cases))
    except suite.Missing as why:
        print(suite.CANNOT.format(why=why), end="", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
