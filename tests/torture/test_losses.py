"""The command that measures what a crash costs: it agrees with the other tests here."""

import argparse
from pathlib import Path

import pytest

from tests.torture import losses

PLAN = argparse.Namespace(seconds=0.3, gifts_per_s=400)


@pytest.mark.parametrize(("level", "fault", "costs"), [("local", "power", False), ("everysec", "promoted", True)])
async def test_what_a_crash_costs(
    shim_library: Path, monkeypatch: pytest.MonkeyPatch, level: str, fault: str, costs: bool
) -> None:
    """A power cut takes no gift that is synced before its ack; a silent replica costs gifts."""
    monkeypatch.setattr(losses, "SILENT_S", 0.3)
    found = await losses.cost(shim_library, level, fault, plan=PLAN, journal=False)
    assert found.acked > 0
    assert (found.lost > 0) is costs
    assert found.lost < found.acked
