"""A node loads only what it uses: each megabyte counts once per core of a machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOADED = """
import sys, json
sys.argv = ["server", {command!r}]
import server.__main__, server.processes.{module}, structlog
print(json.dumps(sorted({{name.partition(".")[0] for name, module in sys.modules.items() if module is not None}})))
"""
NOT_NEEDED = {"rich", "pygments", "alembic", "mako", "hdrh", "matplotlib", "pytest"}


def loaded(command: str, module: str) -> set[str]:
    """The packages that this command loads."""
    code = LOADED.format(command=command, module=module)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(("command", "module"), [("node", "node"), ("journal", "journal")])
def test_what_a_process_leaves_out(command: str, module: str) -> None:
    """What only commands and tests use stays on the disk."""
    assert not NOT_NEEDED & loaded(command, module)


def test_others_have_it() -> None:
    """The supervisor prints with rich."""
    assert "rich" in loaded("run", "supervisor")
