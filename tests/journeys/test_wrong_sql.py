"""What an operator did wrong with SQL: one sentence says it, never a traceback, and chat goes on."""

import functools
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy

from server.bench.postgres import PostgresProcess
from server.journal import database
from server.store import embedded
from tests import strangers
from tests.conftest import Stores
from tests.program import Program, Served, eventually
from tests.torture import rounds

HBA = "local all guarded scram-sha-256\nlocal all all trust\n"  # one role needs its password
ROLES = """
CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'right';
CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader;
CREATE ROLE nobody LOGIN;
"""


class Mistake(NamedTuple):
    """An address of a database, in the words of `addresses`, and the words that the process must say about it.

    `shown` is what a node's readiness says of the journal.
    """

    name: str
    address: str
    words: tuple[str, ...]
    shown: str


TABLE = [
    Mistake("password", "postgresql://guarded:wrong@/whole?host={pg}", ("refuses our user or password",), "refuses us"),
    Mistake("no such role", "postgresql://who@/whole?host={pg}", ("refuses our user or password",), "refuses us"),
    Mistake(
        "no such database", "postgresql://postgres@/gone?host={pg}", ("no such database", "gone"), "no such database"
    ),
    Mistake("no right to create", "postgresql://nobody@/empty?host={pg}", ("lacks a right", "schema"), "is missing"),
    Mistake("no right to read", "postgresql://nobody@/whole?host={pg}", ("lacks a right",), "a right"),
    Mistake("a newer schema", "postgresql://postgres@/newer?host={pg}", ("9999_later, newer than 00",), "is newer"),
    Mistake("a web server", "postgresql://u@127.0.0.1:{http}/d", ("is not PostgreSQL",), "does not answer"),
    Mistake("another file", "sqlite:///{folder}/text", ("is not an SQLite database",), "does not answer"),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    """A server with four roles and three databases: `empty`, `whole`, and `newer` with a schema of a later program."""
    with tempfile.TemporaryDirectory(prefix="lr-hba-", dir="/tmp") as folder:
        hba = Path(folder) / "hba"
        hba.write_text(HBA)
        hba.chmod(0o644)
        Path(folder).chmod(0o755)
        server = PostgresProcess(
            {"hba_file": str(hba), "fsync": "off"}, functools.partial(embedded.die_with_parent, os.getpid())
        )
        try:
            server.start()
            for role in ROLES.strip().splitlines():
                server.run(role)
            for name in ("empty", "whole", "newer"):
                server.run(f"CREATE DATABASE {name}")
            for name in ("whole", "newer"):
                engine = database.connect(server.address(name))
                database.migrate(engine)
                if name == "newer":
                    with engine.begin() as connection:
                        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999_later'"))
                engine.dispose()
            yield server
        finally:
            server.stop()


@pytest.fixture
async def addresses(postgres: PostgresProcess, tmp_path: Path) -> AsyncIterator[dict[str, object]]:
    """Where the server is, a folder with a file of text, and a web server's port."""
    (tmp_path / "text").write_text("This is a letter, and no database at all. " * 100)
    async with strangers.serving(strangers.http) as http:
        yield {"pg": postgres.folder, "folder": tmp_path, "http": http}


@pytest.fixture
async def served(stores: Stores) -> AsyncIterator[Served]:
    """A process on the run's two stores, which is not started yet."""
    with tempfile.TemporaryDirectory(prefix="lr-", dir="/tmp") as folder:
        urls = {f"LIVEROOM_{s.kind.name.upper()}_URL": f"unix://{s.socket}" for s in (stores.wallet, stores.room)}
        made = Served(Path(folder), **urls)
        yield made
        await made.kill()


def by_name(some: Sequence[Mistake]) -> pytest.MarkDecorator:
    """A test of some mistakes; `make torture` has all of them."""
    made = rounds(some, TABLE)
    return pytest.mark.parametrize("mistake", made, ids=[each.name for each in made])


@by_name(TABLE[::2])
async def test_a_journal_process_ends(served: Served, addresses: dict[str, object], mistake: Mistake) -> None:
    """It says why in one line, and ends with code 2."""
    await assert_ends(served, "journal", mistake.address.format_map(addresses), mistake.words)


async def assert_ends(served: Served, command: str, address: str, words: tuple[str, ...]) -> None:
    """The command ends with code 2, and its one line for people has these words."""
    served.command, served.environ["LIVEROOM_JOURNAL_URL"] = command, address
    served.spawn()
    assert (await served.ended()).code == 2, served.output()
    said = [line for line in served.stderr().splitlines() if line.startswith("liveroom: ")]
    assert len(said) == 1, served.output()
    assert "LIVEROOM_JOURNAL_URL" in said[0]
    assert [word for word in words if word not in said[0]] == [], said
    assert "Traceback" not in served.stderr()


@pytest.mark.parametrize("command", ["migrate", "audit", "rebuild", "repair"])
async def test_a_command_ends(served: Served, addresses: dict[str, object], command: str) -> None:
    """So does every command that needs the database."""
    words = ("refuses our user or password",)
    await assert_ends(served, command, f"postgresql://guarded:wrong@/whole?host={addresses['pg']}", words)


async def test_a_command_without_a_schema(served: Served, addresses: dict[str, object]) -> None:
    """It says what makes the schema."""
    await assert_ends(
        served, "rebuild", f"postgresql://postgres@/empty?host={addresses['pg']}", ("schema", "`migrate`")
    )


@by_name(TABLE[::5])
async def test_a_node_goes_on(served: Served, addresses: dict[str, object], mistake: Mistake) -> None:
    """Rooms are served. Its log says what is wrong, and its readiness says so in a few words."""
    served.environ["LIVEROOM_JOURNAL_URL"] = mistake.address.format_map(addresses)
    await served.start()
    words = ("journal_unusable", *(mistake.words if "is missing" not in mistake.shown else ("is missing",)))
    await eventually(lambda: all(word in served.stderr() for word in words), what=f"{words}; {served.output()}")
    assert mistake.shown in (await served.get("/readyz"))["degraded"]["journal"]
    assert (await served.stop()).code == 0
    assert "Traceback" not in served.stderr()


async def test_a_journal_process_waits(served: Served, addresses: dict[str, object], stores: Stores) -> None:
    """A database that is away is waited for, and said."""
    served.command = "journal"
    served.environ["LIVEROOM_JOURNAL_URL"] = f"postgresql://postgres@/whole?host={addresses['folder']}"
    served.spawn()
    await eventually(lambda: "journal_waits" in served.stderr(), what=f"a line; {served.output()}")
    (Path(str(addresses["folder"])) / ".s.PGSQL.5432").symlink_to(Path(str(addresses["pg"])) / ".s.PGSQL.5432")
    await eventually(lambda: "journal_ready" in served.stderr(), what=f"the journal; {served.output()}")
    assert (await served.stop()).code == 0
    assert "Traceback" not in served.stderr()


async def test_the_supervisor_is_not_live(new_program: Callable[..., Program], addresses: dict[str, object]) -> None:
    """It ends with the journal process's sentence, and never says that it is live."""
    program = new_program(LIVEROOM_JOURNAL_URL=f"postgresql://guarded:wrong@/whole?host={addresses['pg']}")
    program.spawn()
    assert (await program.ended()).code == 2, program.output()
    said = [line for line in program.stderr().splitlines() if line.startswith("liveroom: ")]
    assert len(said) == 1
    assert "refuses our user or password" in said[0]
    assert "is live" not in program.stdout()
    assert "Traceback" not in program.stderr()
    assert not program.processes()


async def test_the_supervisor_waits(new_program: Callable[..., Program], addresses: dict[str, object]) -> None:
    """While the database is away the node serves rooms, but no broadcast begins. Nobody says that all is live."""
    program = new_program(LIVEROOM_JOURNAL_URL=f"postgresql://postgres@/whole?host={addresses['folder']}")
    await program.start()
    alice = await program.join("alice")
    assert (await alice.ask("chat.send", text="hello"))["reason"] == "room_not_live"
    assert "is live" not in program.stdout()
    (Path(str(addresses["folder"])) / ".s.PGSQL.5432").symlink_to(Path(str(addresses["pg"])) / ".s.PGSQL.5432")
    await eventually(lambda: "is live" in program.stdout(), what=f"live; {program.output()}")
    await alice.happened("room.updated", status="live")
    assert (await alice.ask("chat.send", text="hello"))["type"] == "ok"
    assert (await program.stop()).code == 0


async def test_a_part_that_fails_later(
    new_program: Callable[..., Program], postgres: PostgresProcess, addresses: dict[str, object]
) -> None:
    """Once everything is live, a journal process that says why it cannot run is started again, and chat goes on."""
    program = new_program(LIVEROOM_JOURNAL_URL=f"postgresql://guarded:right@/whole?host={addresses['pg']}")
    await program.start()
    await eventually(lambda: "is live" in program.stdout(), what=f"live; {program.output()}")
    alice = await program.join("alice")
    try:
        postgres.run("ALTER ROLE guarded PASSWORD 'another'")
        await program.kill_child("journal")
        await eventually(lambda: "refuses our user or password" in program.stderr(), what=f"why; {program.output()}")
        assert (await alice.ask("chat.send", text="still here"))["type"] == "ok"
        said = program.stderr().count("journal_ready")
    finally:
        postgres.run("ALTER ROLE guarded PASSWORD 'right'")
    await eventually(lambda: program.stderr().count("journal_ready") > said, what=f"the journal; {program.output()}")
    assert (await program.stop()).code == 0
    assert "Traceback" not in program.stderr()
