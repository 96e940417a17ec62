"""The money path under kills, power cuts, failovers and lies; LIVEROOM_TORTURE=1 runs the long form, minutes of it."""

import os
from typing import TypeVar

LONG = os.environ.get("LIVEROOM_TORTURE") == "1"

T = TypeVar("T")


def rounds(short: T, long: T) -> T:
    """How often, how many or how long: `short` in normal test runs, `long` with LIVEROOM_TORTURE=1."""
    return long if LONG else short
