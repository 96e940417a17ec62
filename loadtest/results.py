"""The result of a run, as stored in its JSON file. The report draws one, `--compare` two."""

from pathlib import Path

import msgspec
from msgspec import Struct


class Quantiles(Struct, frozen=True, kw_only=True):
    """Latencies in ms. `hdr` is the whole histogram of microseconds (HdrHistogram V2, compressed, base64)."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    hdr: str = ""


class Usage(Struct, frozen=True):
    """One server process in one second: cores it used, resident memory."""

    cores: float
    rss_mib: float


class Second(Struct, frozen=True, kw_only=True):
    """One second of the run. `rates` counts what happened in it (received, chats, gifts, joins, ...)."""

    at_s: float
    rates: dict[str, float]
    open: int  # sockets
    latencies: dict[str, Quantiles] = {}  # without `hdr`
    processes: dict[str, Usage] = {}  # node, journal, wallet store, room store, if they run on this machine
    loop_lag_p99_ms: float | None = None
    phase: str = ""  # the page marks where each begins


class Check(Struct, frozen=True):
    """One check of the verdict. `wrong` holds the first violations, as sentences."""

    name: str
    found: str  # what was compared, in numbers
    wrong: list[str]


class Result(Struct, frozen=True, kw_only=True):
    """A run. Latencies are named `command to reply`, `gift to shown`, `event to received`."""

    scenario: str
    plan: dict[str, object]
    machine: dict[str, str]
    began_ms: int
    seconds: float
    totals: dict[str, int]
    latencies: dict[str, Quantiles]
    series: list[Second]
    checks: list[Check]
    server: dict[str, str] = {}  # its address and version

    @property
    def passed(self) -> bool:
        return not any(check.wrong for check in self.checks)


def write(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


def read(path: Path) -> Result:
    """Raises OSError, msgspec.DecodeError, msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Result)
