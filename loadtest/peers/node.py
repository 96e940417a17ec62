"""Peers that run on Node.js: the package-lock.json of a folder pins their packages, installed on first use."""

import json
import subprocess
from pathlib import Path
from typing import ClassVar

from loadtest.peers.peer import Peer, first_line, missing

INSTALL_S = 180


class NodePeer(Peer):
    """A server.js in a folder of its own, with what it needs."""

    home: ClassVar[Path]  # the folder of its server.js and package.json

    def prepare(self) -> None:
        """Install what package-lock.json pins, once."""
        if missing("node", "npm") is None and not (self.home / "node_modules").is_dir():
            npm = ["npm", "ci", "--loglevel=error", "--no-progress"]
            subprocess.run(npm, cwd=self.home, check=False, timeout=INSTALL_S, stdout=subprocess.DEVNULL)

    def why_not(self) -> str | None:
        if gone := missing("node", "npm"):
            return gone
        if not all((self.home / "node_modules" / name).is_dir() for name in self._packages):
            return f"its packages are not installed: run `npm ci` in loadtest/peers/{self.home.name}"
        return None

    def version(self) -> str:
        names = " ".join(f"{name.rpartition('/')[2]} {version}" for name, version in self._packages.items())
        return f"{names}, node {first_line('node', '--version')}"

    @property
    def _packages(self) -> dict[str, str]:
        asked: dict[str, str] = json.loads((self.home / "package.json").read_text())["dependencies"]
        return asked
