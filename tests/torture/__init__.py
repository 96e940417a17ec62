"""The money path under kills, power cuts, failovers and false data; LIVEROOM_TORTURE=1 runs it for minutes."""

import os
from typing import TypeVar

LONG = os.environ.get("LIVEROOM_TORTURE") == "1"

T = TypeVar("T")


def rounds(short: T, long: T) -> T:
    """How often, how many or how long: `short` in normal test runs, `long` with LIVEROOM_TORTURE=1."""
    return long if LONG else short
