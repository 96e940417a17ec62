"""A program that cannot start says so in one sentence that names the cause, and ends with code 2."""

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from server import rates
from server.journal.database import connect, migrate
from server.journal.rates import register
from server.settings import DEV_SECRET, DEV_SERVICE_KEY
from tests.program import Program, free_port
from tests.stores import EMBEDDED, SECRETS
from tests.test_rates import CARD

LONG = "a-secret-of-one's-own-that-is-long-enough-to-be-one"
LOW_PORT = 7
# It takes CAP_NET_BIND_SERVICE from root: prctl's PR_CAPBSET_DROP.
WITHOUT_RIGHT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 10, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
MakeProgram = Callable[..., Program]


class Refusal(NamedTuple):
    """An invalid environment, and the words that the sentence must have."""

    name: str
    environ: dict[str, str]
    words: tuple[str, ...]


PRODUCTION = {"LIVEROOM_MODE": "production", **EMBEDDED}
TABLE = [
    Refusal("mode", {"LIVEROOM_MODE": "staging"}, ("LIVEROOM_MODE", "staging")),
    Refusal("no secret", PRODUCTION | {"LIVEROOM_SERVICE_KEY": LONG}, ("LIVEROOM_TOKEN_SECRET",)),
    Refusal("no key", PRODUCTION | {"LIVEROOM_TOKEN_SECRET": LONG}, ("LIVEROOM_SERVICE_KEY",)),
    Refusal(
        "development secret",
        PRODUCTION | {"LIVEROOM_TOKEN_SECRET": DEV_SECRET, "LIVEROOM_SERVICE_KEY": LONG},
        ("LIVEROOM_TOKEN_SECRET", "development"),
    ),
    Refusal(
        "development key",
        PRODUCTION | {"LIVEROOM_TOKEN_SECRET": LONG, "LIVEROOM_SERVICE_KEY": DEV_SERVICE_KEY},
        ("LIVEROOM_SERVICE_KEY", "development"),
    ),
    Refusal(
        "short secret",
        PRODUCTION | {"LIVEROOM_TOKEN_SECRET": "x" * 31, "LIVEROOM_SERVICE_KEY": LONG},
        ("LIVEROOM_TOKEN_SECRET", "32"),
    ),
    Refusal("guessable secret", PRODUCTION | SECRETS | {"LIVEROOM_SERVICE_KEY": "change" * 9}, ("easy to guess",)),
    Refusal("no wallet", PRODUCTION | SECRETS | {"LIVEROOM_WALLET_URL": ""}, ("LIVEROOM_WALLET_URL", "not set")),
    Refusal("no journal", PRODUCTION | SECRETS | {"LIVEROOM_JOURNAL_URL": ""}, ("LIVEROOM_JOURNAL_URL", "not set")),
    Refusal(
        "a typing error",
        PRODUCTION | SECRETS | {"LIVEROOM_JOURNL_URL": "postgresql://h/db"},
        ("LIVEROOM_JOURNL_URL is not a setting", "LIVEROOM_JOURNAL_URL is"),
    ),
    *(
        Refusal(f"port {port!r}", {"LIVEROOM_PORT": port}, ("LIVEROOM_PORT", repr(port)))
        for port in ("http", "0", "-1", "65536", "80.5", "")
    ),
    Refusal("host", {"LIVEROOM_HOST": "no.such.host.invalid"}, ("no.such.host.invalid",)),
    Refusal("foreign host", {"LIVEROOM_HOST": "192.0.2.1"}, ("192.0.2.1",)),
    Refusal("log level", {"LIVEROOM_LOG": "loud"}, ("LIVEROOM_LOG", "loud")),
    Refusal("no catalogue", {"LIVEROOM_CATALOGUE": "/no/such/catalogue.json"}, ("/no/such/catalogue.json",)),
    Refusal("no rate card", {"LIVEROOM_RATES": "/no/such/rates.toml"}, ("/no/such/rates.toml",)),
    Refusal("no providers", {"LIVEROOM_PROVIDERS": "/no/such/providers.toml"}, ("/no/such/providers.toml",)),
    Refusal("journal of nothing", {"LIVEROOM_JOURNAL_URL": "what is this"}, ("LIVEROOM_JOURNAL_URL",)),
    Refusal("journal of another kind", {"LIVEROOM_JOURNAL_URL": "mysql://h/db"}, ("LIVEROOM_JOURNAL_URL", "mysql")),
    Refusal(
        "journal in no folder",
        {"LIVEROOM_JOURNAL_URL": "sqlite:////no/such/folder/j.sqlite3"},
        ("LIVEROOM_JOURNAL_URL",),
    ),
    Refusal("wallet of nothing", {"LIVEROOM_WALLET_URL": "http://h"}, ("LIVEROOM_WALLET_URL",)),
    Refusal("room store of nothing", {"LIVEROOM_ROOM_URL": "what is this"}, ("LIVEROOM_ROOM_URL",)),
    Refusal("room store's port", {"LIVEROOM_ROOM_URL": "redis://h:port/0"}, ("LIVEROOM_ROOM_URL",)),
    Refusal(
        "one store for both",
        {"LIVEROOM_WALLET_URL": "redis://h:7000/0", "LIVEROOM_ROOM_URL": "redis://h:7000/1"},
        ("LIVEROOM_WALLET_URL", "LIVEROOM_ROOM_URL", "the same store"),
    ),
    Refusal("a second host", {"LIVEROOM_WALLET_URL": "cluster://h:7000,h:port"}, ("LIVEROOM_WALLET_URL",)),
]


async def assert_cannot_start(program: Program, *words: str) -> None:
    """The program ends on its own with code 2 and one line, and leaves no process behind."""
    program.spawn()
    ended = await program.ended()
    lines = program.stderr().splitlines()
    assert (ended.code, len(lines)) == (2, 1), (ended.code, lines)
    assert lines[0].startswith("liveroom: ")
    for word in words:
        assert word in lines[0], lines[0]
    assert "is live" not in program.stdout()
    assert not program.processes()


@pytest.mark.parametrize("refusal", TABLE, ids=[refusal.name for refusal in TABLE])
async def test_bad_environment(new_program: MakeProgram, refusal: Refusal) -> None:
    """The one line names each setting that cannot be used."""
    await assert_cannot_start(new_program(**{"LIVEROOM_PORT": str(free_port()), **refusal.environ}), *refusal.words)


async def test_changed_rate_card(new_program: MakeProgram, tmp_path: Path) -> None:
    """A version of a rate card that had other rates before is named."""
    database, card = f"sqlite:///{tmp_path / 'journal.sqlite3'}", tmp_path / "rates.toml"
    card.write_text(CARD)
    engine = connect(database)
    migrate(engine)
    register(engine, rates.load(card), 0)
    engine.dispose()
    card.write_text(CARD.replace("minor = 90", "minor = 91"))
    program = new_program(LIVEROOM_JOURNAL_URL=database, LIVEROOM_RATES=str(card))
    program.spawn()
    ended = await program.ended()
    [said] = {line for line in program.stderr().splitlines() if line.startswith("liveroom: ")}  # journal and node
    assert ended.code == 2
    assert said.endswith("UTC; give the changed card a new version.")
    assert "version 2026-01 has other rates" in said
    assert not program.processes()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[{}",
        '{"rose": 1}',
        '[{"id": "rose"}]',
        b"\xff\xfe",
        '[{"id":"a","name":"A","coins":0,"diamonds":1,"tier":1,"streakable":true,'
        '"animation":{"kind":"float","url":"/a","duration_ms":1000}}]',
    ],
    ids=["empty", "cut off", "no list", "no coins", "no text", "free of charge"],
)
async def test_bad_catalogue(new_program: MakeProgram, content: str | bytes) -> None:
    """An invalid catalogue is named with its path."""
    program = new_program()
    file = program.folder / "catalogue.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    program.environ["LIVEROOM_CATALOGUE"] = str(file)
    await assert_cannot_start(program, "catalogue", str(file))


async def test_port_in_use(new_program: MakeProgram) -> None:
    """A taken port is reported before anything is started."""
    program = new_program()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", program.port))
        listener.listen()
        await assert_cannot_start(program, str(program.port))
    assert not list(program.data.glob("*/appendonlydir"))


async def test_a_port_without_the_right_to_it(new_program: MakeProgram) -> None:
    """The line says what a low port needs."""
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if first.exists() and int(first.read_text()) <= LOW_PORT:
        pytest.skip("everybody may use low ports here")
    program = new_program(LIVEROOM_PORT=str(LOW_PORT))
    program.prefix = (sys.executable, "-c", WITHOUT_RIGHT)
    await assert_cannot_start(program, str(LOW_PORT), "Permission denied", "CAP_NET_BIND_SERVICE")


async def test_one_port_for_two(new_program: MakeProgram) -> None:
    """The journal process cannot have its metrics on a node's port."""
    port = str(free_port())
    await assert_cannot_start(
        new_program(LIVEROOM_PORT=port, LIVEROOM_METRICS_PORT=port), "LIVEROOM_METRICS_PORT", port
    )


async def test_data_folder_in_use(program: Program, new_program: MakeProgram) -> None:
    """A second program on the same folder is refused, and the first goes on undisturbed."""
    alice = await program.join("alice")
    second = new_program(LIVEROOM_DATA=str(program.data))
    before = program.processes()
    second.spawn()
    ended = await second.ended()
    lines = second.stderr().splitlines()
    assert (ended.code, len(lines)) == (2, 1), lines
    assert str(program.data) in lines[0]
    assert "use" in lines[0]
    assert program.processes() == before
    assert (await alice.gift("rose"))["type"] == "ok"
    second.environ["LIVEROOM_DATA"] = str(second.folder / "data")  # nothing of the first program may be discarded
    second.data = second.folder / "data"


@pytest.mark.parametrize("below", ["", "/data"])
async def test_bad_data_folder(new_program: MakeProgram, below: str) -> None:
    """A data folder that is a file, or would be below one, is named."""
    program = new_program()
    (program.folder / "file").write_text("I am a file.")
    program.data = program.folder / f"file{below}"
    program.environ["LIVEROOM_DATA"] = str(program.data)
    await assert_cannot_start(program, str(program.data))


async def test_production_with_secrets_starts(new_program: MakeProgram) -> None:
    """With its own secrets production mode serves, without the demo room and without tokens for everybody."""
    environ = PRODUCTION | SECRETS
    program = new_program(**environ)
    await program.start()
    async with program.client() as client:
        answers = await asyncio.gather(
            *(client.get(path) for path in ("/v1/rooms/demo", "/dev/token?user=alice", "/v1/wallets/alice"))
        )
    assert [answer.status_code for answer in answers] == [404, 404, 401]
    assert (await program.stop()).code == 0
