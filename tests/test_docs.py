"""The documents are true: examples are decoded and run, tables match the code, links lead somewhere."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from playwright.async_api import async_playwright

import protocol
import server.rooms.admin
from loadtest.command_line import parser as loadtest_parser
from protocol.closes import Close, comes_back
from protocol.gifts import Gift
from protocol.rules import Rules
from protocol.session import Refuse, Welcome
from protocol.wire import SnapshotPart
from server import limits, settings
from server.__main__ import main
from server.http.api import DESCRIBED
from server.payouts.asking import Asked
from server.store import guard
from tests import browser
from tests.site import WAIT_S, Site

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs/decisions"
PAGES = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "protocol/README.md", "loadtest/README.md"),
    *("protocol/packages/npm/README.md", "protocol/packages/pypi/README.md"),
    *(f"docs/decisions/{name}" for name in ("README.md", *PAGES)),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "protocol/docs").glob("*.md"))),
)
README = (ROOT / "README.md").read_text()
# What features add to the wire; each has its own page.
FEATURES = "\n".join(path.read_text() for path in sorted((ROOT / "protocol/docs").glob("*.md")))
WIRE = (ROOT / "protocol/README.md").read_text() + "\n" + FEATURES


class Example(NamedTuple):
    """A fenced block: its language, the words after it, and its text."""

    language: str
    about: str
    text: str

    @property
    def value(self) -> Any:
        return msgspec.json.decode(self.text)


def examples(document: str) -> list[Example]:
    found = re.findall(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [Example(*each) for each in found]


def as_sent(value: Any) -> Any:
    """A struct as it looks in JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))


def of_wire(kind: str) -> list[Example]:
    return [each for each in examples(WIRE) if each.language == "json" and each.about.split(" ")[0] == kind]


def rows(document: str, head: str) -> list[list[str]]:
    """The cells of the tables whose first column has this heading."""
    tables = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", document, re.MULTILINE)
    assert tables, head
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in "".join(tables).splitlines()]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- the wire ---------------------------------------------------------------------------------------------------------
def test_every_example_is_of_a_known_kind() -> None:
    """The tests below cover every json block of the wire's document."""
    kinds = {each.about.split(" ")[0] for each in examples(WIRE) if each.language == "json"}
    assert kinds - {"part"} == {"command", "event", "message", "frame", "reply", "refusal", "error", "body", "gift"}


@pytest.mark.parametrize("example", of_wire("command"), ids=lambda e: e.text.strip()[:40])
def test_commands_are_what_the_server_takes(example: Example) -> None:
    """Both codecs accept each example command with all its fields."""
    for codec, data in (("json", example.text.encode()), ("msgpack", msgspec.msgpack.encode(example.value))):
        commands = protocol.decode_commands(codec, data)  # type: ignore[arg-type]
        assert not [each for each in commands if isinstance(each, protocol.BadCommand)]
        given = example.value if isinstance(example.value, list) else [example.value]
        for command, fields in zip(commands, given, strict=True):
            assert {**as_sent(command), **fields} == as_sent(command)


@pytest.mark.parametrize("example", of_wire("event"), ids=lambda e: e.value["type"])
def test_events_are_what_the_server_sends(example: Example) -> None:
    """Decoded and encoded again, each example event stays the same: no field is missing or invented."""
    assert as_sent(protocol.decode_event(example.text.encode())) == example.value


@pytest.mark.parametrize("example", of_wire("message"), ids=lambda e: e.value["type"])
def test_messages_are_what_the_server_sends(example: Example) -> None:
    """The same for messages to one socket; the welcome's room is a snapshot."""
    cls = protocol.MESSAGES[example.value["type"]]
    if cls is Welcome:
        parts = {name for part in of_wire("part") for name in part.value}
        snapshot = as_sent(msgspec.convert(example.value["room"], protocol.SNAPSHOT))
        assert {name: value for name, value in snapshot.items() if name not in parts} == example.value["room"]
        message = as_sent(msgspec.json.decode(example.text, type=Welcome))
        assert {**message, "room": None} == {**example.value, "room": None}
        return
    assert as_sent(msgspec.json.decode(example.text, type=cls)) == example.value


def test_parts_are_what_the_server_sends() -> None:
    """The fields that a feature's page adds to the snapshot are exactly those of its part."""
    for example in of_wire("part"):
        (part,) = (each for each in SnapshotPart.__subclasses__() if set(each.__struct_fields__) & set(example.value))
        assert as_sent(msgspec.convert(example.value, part)) == example.value


@pytest.mark.parametrize("example", of_wire("reply"), ids=lambda e: e.about)
def test_replies_are_what_the_server_sends(example: Example) -> None:
    """The ok of each command has the fields of its type."""
    command = protocol.COMMANDS[example.about.split(" ")[1]]
    assert as_sent(msgspec.json.decode(example.text, type=protocol.ok_of(command))) == example.value


def test_refusals_and_frames_are_what_the_server_sends() -> None:
    """A refusal has the common fields and its own; a frame is an array of messages."""
    for example in of_wire("refusal"):
        decoded = msgspec.json.decode(example.text, type=Refuse)
        assert decoded.message == protocol.REASONS[decoded.reason].sentence
        assert set(example.value) > set(Refuse.__struct_fields__)
    for example in of_wire("frame"):
        assert isinstance(example.value, list)
        protocol.decode_event(msgspec.json.encode(example.value[0]))


def test_every_message_has_an_example() -> None:
    """The document has everything that can be on the wire."""

    def types(kind: str) -> set[str]:
        return {value["type"] for e in of_wire(kind) for value in (e.value if isinstance(e.value, list) else [e.value])}

    assert types("command") == set(protocol.COMMANDS)
    assert types("event") == set(protocol.EVENTS)
    assert types("message") == set(protocol.MESSAGES)
    assert {example.about.split(" ")[1] for example in of_wire("reply")} == set(protocol.COMMANDS)


def test_every_refusal_and_close_code_is_explained() -> None:
    """The tables list all of them, and say correctly whether to come back."""
    assert {code_in(row[0])[0] for row in rows(WIRE, "`reason`")} == set(protocol.REASONS)
    closes = rows(WIRE, "code")
    assert [int(row[0]) for row in closes] == [int(code) for code in Close]
    for code, _, back in closes:
        assert back.startswith("yes") == comes_back(int(code))


async def test_a_refused_upgrade_is_answered_as_the_document_says(site: Site) -> None:
    """The example error is the exact answer for an unknown room; the statuses are those of the table."""
    (example,) = of_wire("error")
    token = site.token("alice")
    answers = {
        "404": f"/v1/rooms/nowhere/ws?token={token}",
        "403": f"/v1/rooms/demo/ws?token={site.token('alice', room='other')}",
        "401": "/v1/rooms/demo/ws",
        "400": f"/v1/rooms/demo/ws?token={token}&since=x",
    }
    of_status = {row[0]: code_in(row[1]) for row in rows(WIRE, "status")}
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Authorization": "",
    }
    for status, path in answers.items():
        answer = await site.http.get(path, headers=upgrade)
        assert str(answer.status_code) == status
        assert answer.json()["error"]["reason"] in of_status[status]
        if status == "404":
            assert answer.json() == example.value


def test_bodies_are_what_the_server_takes() -> None:
    """The endpoints' types decode the example bodies and the catalogue's entry."""
    for example in of_wire("body"):
        kinds = {
            "body rooms.PutRoom": server.rooms.admin.PutRoom,
            "body rules.Rules": Rules,
            "body payouts.Asked": Asked,
        }
        kind = kinds[example.about]
        msgspec.json.decode(example.text, type=kind)
    for example in of_wire("gift"):
        assert as_sent(msgspec.json.decode(example.text, type=Gift)) == example.value


def test_the_numbers_of_the_wire_are_the_bounds() -> None:
    """The document's numbers are those of limits.py."""
    for said, bound in (
        ("array of up to 32", limits.COMMANDS_PER_FRAME_MAX == 32),
        ("at most 16 KiB", limits.FRAME_BYTES_MAX == 16 * 1024),
        ("for 70 seconds", limits.UNRESPONSIVE_S == 70),
        ("50 commands a second", limits.COMMANDS_PER_S == 50),
        ("(200 at once)", limits.COMMANDS_BURST == 200),
        ("64 may be under way", limits.COMMANDS_IN_FLIGHT_MAX == 64),
        ("(a thousand events)", limits.REPLAY_EVENTS_MAX == 1000),
        ("50 a second count (200 at once)", limits.LIKES_PER_USER_PER_S == 50 and limits.LIKES_PER_USER_BURST == 200),
        ("four seconds after its last gift", limits.COMBO_GAP_MS == 4000),
        ("older than two hours", limits.GIFT_ID_LIFE_MS == 2 * 3600 * 1000),
        ("ten minutes ahead", limits.GIFT_ID_AHEAD_MS == 10 * 60 * 1000),
        ("(up to 200 characters)", limits.IDEMPOTENCY_KEY_CHARS_MAX == 200),
        ("for a day", limits.IDEMPOTENCY_S == 86_400),
    ):
        assert said in " ".join(WIRE.split()), said
        assert bound, said


# --- HTTP -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("document", [f"{README}\n{FEATURES}", WIRE], ids=["README.md", "protocol/README.md"])
async def test_every_endpoint_is_documented(document: str, site: Site) -> None:
    """The table lists exactly the server's endpoints, and marks the open ones."""
    assert site.node.settings.development
    told: dict[tuple[str, str], bool] = {}
    for row in rows(document, "endpoint"):
        for code in code_in(row[0]):
            method, _, path = code.partition(" ")
            told[(path, method)] = "(open)" in " ".join(row)
    real = {key: described.open for key, described in DESCRIBED.items() if key != ("/dev/token", "GET")}
    assert told == real
    assert "GET /dev/token" in document or "`/dev/token`" in document


# --- the front page ---------------------------------------------------------------------------------------------------
def test_the_configuration_table_is_what_the_program_reads() -> None:
    """The table has exactly the variables that the program reads, with their defaults."""
    told = {code_in(row[0])[0]: row[1] for row in rows(README, "variable")}
    assert set(told) == set(re.findall(r"LIVEROOM_[A-Z_]+", Path(settings.__file__).read_text()))
    default = settings.load({})
    for name, value in {
        "LIVEROOM_MODE": default.mode,
        "LIVEROOM_HOST": default.host,
        "LIVEROOM_PORT": default.port,
        "LIVEROOM_METRICS_PORT": default.metrics_port,
        "LIVEROOM_DATA": default.data,
        "LIVEROOM_SERVICE_KEY": default.service_key,
        "LIVEROOM_DURABILITY": default.durability,
        "LIVEROOM_WALLET_GUARD": default.guard,
        "LIVEROOM_LOG_ENTRIES_MAX": default.log_entries_max,
        "LIVEROOM_DAILY_SPEND_MAX": default.daily_spend_max,
        "LIVEROOM_CONNECTIONS_PER_ADDRESS": default.connections_per_address,
        "LIVEROOM_CONNECTIONS_PER_USER": default.connections_per_user,
        "LIVEROOM_LOG": default.log_level,
    }.items():
        assert told[name] == f"`{value}`", name


def test_the_required_settings_are_those_of_the_guard() -> None:
    """The settings that the document requires are those that the guard checks."""
    assert {code_in(row[0])[0]: code_in(row[1])[0] for row in rows(README, "setting")} == guard.WANTED


async def test_the_python_example_gives(site: Site) -> None:
    """Its fifteen lines run as they are, except for the address: five roses are paid and shown."""
    (example,) = (each for each in examples(README) if each.language == "python")
    assert len(example.text.strip().splitlines()) <= 15
    bob = await site.join("bob")
    code = example.text.replace("127.0.0.1:8000", f"127.0.0.1:{site.port}")
    ran = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        code,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(ran.communicate(), WAIT_S)
    assert ran.returncode == 0, wrong.decode()
    assert "coins left: 9995" in said.decode().splitlines()
    gift = await bob.happened("gifts.sent", message="Hello!")
    assert (gift["from"]["user_id"], gift["count"]) == ("alice", 5)


async def test_the_javascript_example_gives(site: Site) -> None:
    """Its fifteen lines run in a page of the node: five roses are paid, and the balance is shown."""
    (example,) = (each for each in examples(README) if each.language == "js")
    assert len(example.text.strip().splitlines()) <= 15
    body = re.sub(r'^import (\{.*\}) from (".*");', r"const \1 = await import(\2);", example.text, flags=re.MULTILINE)
    body = body.replace("export const give", "const give")
    # The client uses the page's own address; click once it is connected.
    code = (
        f"async () => {{ {body}\n"
        "while (!client.room) await new Promise((done) => setTimeout(done, 10));\n"
        "const said = []; console.log = (...words) => said.push(words.join(' '));\n"
        "await give(); return said.join('\\n'); }"
    )
    bob = await site.join("bob")
    path = browser.system_chromium() or browser.playwright_chromium()
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=browser.ARGS)
        page = await launched.new_page()
        await page.goto(f"{site.url}/overlay/demo")
        said = await page.evaluate(code)
        await launched.close()
    assert "coins left: 9995" in said
    gift = await bob.happened("gifts.sent", message="Hello!")
    assert (gift["from"]["user_id"], gift["count"]) == ("alice", 5)


def test_the_commands_of_the_documents_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Every `make` target, `python -m server` command and `python -m loadtest` line exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = "\n".join((ROOT / name).read_text() for name in DOCUMENTS)
    assert set(re.findall(r"`make ([a-z-]+)`", said)) <= targets
    commands = set(re.findall(r"python -m server ([a-z]+)", said))
    assert {"node", "journal", "audit"} <= commands
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    lines = re.findall(r"python -m loadtest ([^`\n#]+)", said)
    assert len(lines) >= 3
    for line in lines:
        loadtest_parser().parse_args(line.split())
    capsys.readouterr()


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link is a file, and every anchor one of its headings."""
    document = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = document.parent / file if file else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


# --- decisions --------------------------------------------------------------------------------------------------------
WORDS_MAX = 30  # words in a sentence


def test_every_decision_is_in_the_index() -> None:
    """The index lists every page by number and title, in order and without gaps."""
    index = (DECISIONS / "README.md").read_text()
    titles = {name: (DECISIONS / name).read_text().partition("\n")[0] for name in PAGES}
    told = re.findall(r"\[(\d+)\]\((.*)\) \| (.*) \|", index)
    assert [(name, f"# {number}: {title}") for number, name, title in told] == list(titles.items())
    assert [int(name[:4]) for name in PAGES] == list(range(1, len(PAGES) + 1))


@pytest.mark.parametrize("name", PAGES)
def test_a_decision_says_why_and_what_was_measured(name: str) -> None:
    """Half a page with decision, reasons, measurement and price, in short sentences about files that exist."""
    text = (DECISIONS / name).read_text()
    parts = ["Decision", "Why", "Measured", "Price"]
    assert re.findall(rf"^\*\*({'|'.join(parts)})", text, re.MULTILINE) == parts
    assert len(text.split()) <= 340
    prose = re.sub(r"^(\||#).*$", "\n", text, flags=re.MULTILINE)
    prose = re.sub(r"`[^`]*`|\[([^]]*)\]\([^)]*\)", "word", prose)
    long = [s for s in re.split(r"[.?]\s|\n\n", prose) if len(s.split()) > WORDS_MAX]
    assert long == []
    paths = re.findall(r"`((?:server|tests|protocol|loadtest)/[^`]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    bounds = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text))
    assert {name for name in bounds if not name.startswith("LIVEROOM_")} <= set(vars(limits))
