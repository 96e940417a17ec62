"""A procedure of `docs/operations.md`: its commands, which a test runs one by one, exactly as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from server.bench.postgres import _programs
from server.store import keys
from tests.torture.bank import Bank
from tests.tree import ROOT

DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
CHANGED = "viewer0"
N = keys.partition_of(CHANGED)


class Procedure:
    """A section of the document: its commands, in order. A test runs each of them once."""

    def __init__(self, title: str, bank: Bank, address: str | None) -> None:
        self.bank = bank
        self.kind = "SQLite" if address is None else "PostgreSQL"
        self.left = commands(title, self.kind)
        path = f"{Path(sys.executable).parent}:{_programs()}:{os.environ['PATH']}"
        self.environ = {**os.environ, **bank.environ, "LIVEROOM_DATA": str(bank.folder), "PATH": path}
        self.environ["PYTHONPATH"] = str(ROOT)
        self.environ["LIVEROOM_JOURNAL_URL"] = bank.settings.journal_address
        (bank.folder / "backup").mkdir(exist_ok=True)
        if not (bank.folder / "data").exists():
            (bank.folder / "data").symlink_to(bank.folder)

    def step(self, begins: str, code: int = 0, **environ: str) -> str:
        """Run the next command, which begins so. Returns what it printed."""
        command = self.left.pop(0)
        assert command.startswith(begins), (command, self.left)
        line = re.sub(r"(--(?:thaw|rebuild|correct|empty)) N\b", rf"\1 {N}", command)
        return self._run(line, code, environ)

    def _run(self, line: str, code: int, environ: dict[str, str]) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.bank.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def skip(self, begins: str) -> None:
        """Pass over a command that is for another case."""
        assert self.left.pop(0).startswith(begins)


def commands(title: str, kind: str) -> list[str]:
    """The commands of a section, those for the other kind of database left out."""
    [section] = [part for part in DOCUMENT.split("\n## ") if part.startswith(f"{title}\n")]
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        of = kind
        for line in block.splitlines():
            if line.startswith("# "):
                of = line.removeprefix("# ")
            elif of == kind:
                found.append(line)
    return found
