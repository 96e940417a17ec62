"""Builds what others install: liveroom.js for npm, and liveroom-client for PyPI (`make packages`)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import protocol

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "protocol"
MANIFESTS = SOURCE / "packages"
TARGET = ROOT / "build/packages"
IMPORTABLE = "liveroom_client"  # the package `protocol`, under a name that is free on other people's machines
BUILT_AT_S = "315532800"  # the first moment that a zip file can name: the same sources give the same bytes


def renamed(source: str) -> str:
    """A module of `protocol` as it is in the wheel: only its imports differ."""
    source = re.sub(r"^( *)from protocol( import|\.)", rf"\1from {IMPORTABLE}\2", source, flags=re.MULTILINE)
    return re.sub(r"^import protocol$", f"import {IMPORTABLE} as protocol", source, flags=re.MULTILINE)


def wheel(target: Path) -> Path:
    """Build liveroom-client. Returns the path of the wheel."""
    with tempfile.TemporaryDirectory(prefix="liveroom-wheel-") as made:
        stage = Path(made)
        for path in [*SOURCE.glob("*.py"), *SOURCE.glob("folds/*.py")]:
            to = stage / IMPORTABLE / path.relative_to(SOURCE)
            to.parent.mkdir(exist_ok=True)
            to.write_text(renamed(path.read_text()))
        shutil.copy(SOURCE / "py.typed", stage / IMPORTABLE)
        _copy(stage, *(MANIFESTS / "pypi").iterdir(), ROOT / "LICENSE")
        build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(target)!r}))"
        return target / _said([sys.executable, "-W", "ignore", "-c", build], stage)


def tarball(target: Path) -> Path:
    """Build liveroom.js. Returns the path of the file that npm installs."""
    with tempfile.TemporaryDirectory(prefix="liveroom-npm-") as made:
        stage = Path(made)
        _copy(stage, MANIFESTS / "npm/README.md", ROOT / "LICENSE", *(SOURCE / "web").glob("*.*s"))
        shutil.copytree(SOURCE / "web/liveroom", stage / "liveroom")
        manifest = json.loads((MANIFESTS / "npm/package.json").read_text())
        (stage / "package.json").write_text(json.dumps({**manifest, "version": protocol.__version__}, indent=2) + "\n")
        return target / _said(["npm", "pack", "--silent", "--offline", "--pack-destination", str(target)], stage)


def _copy(to: Path, *paths: Path) -> None:
    for path in paths:
        shutil.copy(path, to)


def _said(command: list[str], folder: Path) -> str:
    """Run this there. Returns the last line that it says."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": BUILT_AT_S}
    ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{ran.stdout}\n{ran.stderr}")
    return ran.stdout.strip().splitlines()[-1]


def main() -> None:
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    for built in (wheel(TARGET), tarball(TARGET)):
        print(built.relative_to(ROOT))


if __name__ == "__main__":
    main()
