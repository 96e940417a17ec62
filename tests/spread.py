"""How many source files a commit changes: `python -m tests.spread [RANGE]`. Wide changes mean misplaced walls.

It counts files of server/, protocol/ and loadtest/; tests and documents change with them. Merges are left out.
"""

import statistics
import subprocess
import sys

SOURCE = ("server/", "protocol/", "loadtest/")
COMMITS_MAX = 200  # without a range: the newest


def main() -> None:
    span = sys.argv[1:] or [f"-{COMMITS_MAX}"]
    counts = [files for files in _files_of_commits(span) if files]
    if not counts:
        sys.exit("spread: no commit of this range changes source")
    quarter = statistics.quantiles(counts, n=4)[2] if len(counts) > 1 else counts[0]
    print(f"{len(counts)} commits change source; files per commit: median {statistics.median(counts):g}, ", end="")
    print(f"three quarters change at most {quarter:g}, most {max(counts)}")


def _files_of_commits(span: list[str]) -> list[int]:
    command = ["git", "log", "--no-merges", "--format=%x00", "--name-only", *span, "--"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [sum(line.startswith(SOURCE) for line in commit.splitlines()) for commit in said.split("\0")[1:]]


if __name__ == "__main__":
    main()
