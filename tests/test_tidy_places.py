"""The house rules about places: where keys, bounds, environment variables and waiting are allowed."""

import ast
import re
from http import HTTPStatus
from pathlib import Path

from tests import mutants
from tests.tree import ROOT, name_of, parsed, sources, texts

# Numbers above 100 that are not our bounds, and why. Remove what a file no longer uses.
NUMBERS: dict[str, dict[float, str]] = {
    "server/__main__.py": {3600: "a default that --help shows", 128: "what shells add to a signal"},
    "server/app.py": {10_000: "the demo's coins"},
    "server/bench/wordlists.py": {**dict.fromkeys((500, 20_000, 1e3, 1e6), "lengths, rounds, units of time")},
    "server/bench/books.py": {30_000: "as many entries as a backlog writes at once"},
    "server/bench/__main__.py": {0o711: "a folder's mode", 200_000: "a measurement's own"},
    "server/bench/reversals.py": {**dict.fromkeys((10_000, 20_000, 60_000, 1_000_000), "a measurement's own")},
    "server/bench/plain.py": {**dict.fromkeys((200, 12_000), "a measurement's own")},
    "server/bench/primaries.py": {16_384: "slots of a cluster", 10_000: "its bus port is so much above"},
    "server/bench/postgres.py": {2000: "a logged text is cut"},
    "server/bench/spend.py": {40_000: "a measurement's own"},
    "server/journal/tables.py": {200: "a column's width"},
    "server/settings.py": {500_000: "a default that the README shows"},
    "server/journal/payouts.py": {200: "a column's width"},
    "server/http/tokens.py": {3600: "a default in a type"},
    "server/orders/rows.py": {0x11E2: "the name of an advisory lock"},
    "server/journal/database.py": {0x11E2004: "the name of an advisory lock"},
    "server/journal/users.py": {0x11E2005: "the name of an advisory lock"},
    "server/processes/node.py": {50_000: "the garbage collector's measure"},
    "server/rooms/frames.py": {
        126: "RFC 6455, 5.2: length forms",
        127: "RFC 6455, 5.2: length forms",
        0x80: "RFC 6455, 5.2: FIN",
        0x90: "msgpack's fixarray",
    },
    "server/rooms/outbox.py": {1e9: "long ago, in loop time"},
    "server/rooms/room.py": {1e9: "long ago, in loop time"},
    "server/edge/socket.py": {
        0x70: "RFC 6455, 5.2: reserved bits",
        0x80: "RFC 6455, 5.2: FIN and MASK",
        123: "RFC 6455, 5.5: a control frame's payload without the code",
        125: "RFC 6455, 5.5: a control frame's payload",
        126: "RFC 6455, 5.2: length forms",
        127: "RFC 6455, 5.2: length forms",
        **dict.fromkeys((*range(1000, 1004), *range(1007, 1015), 3000, 5000), "RFC 6455, 7.4: codes on the wire"),
    },
    "server/store/client.py": {6379: "the registered port"},
    "server/store/embedded.py": {0o700: "a folder's mode"},
    "server/store/keys.py": {16384: "the cluster's slots"},
    "server/money/wallet.py": {200: "a logged text is cut"},
}

# Polling is only for what sends no event.
LOOKS_AGAIN = {
    "tests/site.py": "uvicorn says only by a flag that it has started",
    "tests/stores.py": "a store that starts can only be asked",
    "tests/torture/losses.py": "a measurement: a crash comes in the middle of something",
    "tests/journeys/givers.py": "a refusal says when to try again",
    "tests/journeys/talk.py": "a refusal says when to try again",
    "tests/cluster.py": "a cluster that forms can only be asked",
    "tests/journeys/test_crashes.py": "files of a store send no event",
    "tests/journeys/test_slow_peers.py": "the kernel's buffers send no event",
    "tests/pages/test_overlay_idle.py": "a trace in which nothing happens has a length",
    "tests/program.py": "processes and files send no event",
}

# Tasks start in server/background.py; elsewhere only if somebody surely waits for them, and why.
OWN_TASKS = {
    "server/edge/plain.py": "the call that begins reader and writer waits for both, and raises what they raise"
}


def test_redis_keys_are_made_in_one_place() -> None:
    """Only store/keys.py contains hash tags and key literals."""
    key = re.compile(r"\{(r:|w\d\d|§)[^}]*\}:|^(shown|idem|wallets):")
    found = [
        f"{name_of(path)}:{line} {text!r}"
        for path in sources("server")
        if name_of(path) != "server/store/keys.py"
        for line, text in texts(path)
        if key.search(text)
    ]
    assert found == []


def test_scripts_name_no_keys() -> None:
    """Lua gets its keys from the caller: no script contains a hash tag or a key."""
    found = [
        name_of(path)
        for path in sources("server", suffix=".lua")
        if re.search(r"\{(r:|w\d)|:meta|:log|:w:", path.read_text())
    ]
    assert found == []


def test_the_environment_is_read_in_one_place() -> None:
    """Only server/settings.py uses `os.environ` and `os.getenv`."""
    found = {
        name_of(path)
        for path in sources("protocol", "server", "loadtest")
        if re.search(r"os\.environ\b|getenv|environb|import environ", path.read_text())
    }
    assert found - {name for name in found if name.startswith("loadtest/")} == {"server/settings.py"}


def bounds_of(path: Path) -> set[int]:
    """The lines of a module that name its own bounds: `NAME = 120  # and the reason`."""
    bound = re.compile(r"^[A-Z][A-Z0-9_]+ = [0-9_.e* ]+  # \S")
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if bound.match(line)}


def test_bounds_stand_in_limits() -> None:
    """A number above 100 in the server is in limits.py, at the head of its feature, or listed here."""
    statuses = {status.value for status in HTTPStatus}
    unused = {(name, number) for name, numbers in NUMBERS.items() for number in numbers}
    found = []
    for path in sources("server"):
        name = name_of(path)
        if name == "server/limits.py" or "migrations" in path.parts:
            continue
        speaks_http = name.startswith(("server/http/", "server/features/"))
        speaks_http = speaks_http or name in (
            "server/edge/session.py",
            "server/edge/admission.py",
            "server/providers/http.py",
        )
        has_own = name.startswith("server/features/") or path.name == "bounds.py"
        of_feature = bounds_of(path) if has_own else set()
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Constant) or type(node.value) not in (int, float) or abs(node.value) <= 100:
                continue
            if node.lineno in of_feature:
                continue
            if node.value in NUMBERS.get(name, {}):
                unused.discard((name, node.value))
            elif node.value != 1000 and not (speaks_http and node.value in statuses):  # 1000 turns s into ms
                found.append(f"{name}:{node.lineno} {node.value}")
    assert found == []
    assert unused == set()


def test_tasks_are_begun_in_one_place() -> None:
    """Without background.py a task may fail silently, or be garbage-collected."""
    begins = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe", "Task"}
    found = {
        name_of(path)
        for path in sources("server")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in begins
    }
    assert found == {"server/background.py", *OWN_TASKS}


def named_in(path: Path) -> set[str]:
    """The functions and values that a module defines."""
    found = {node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef)}
    assigned = (node.targets[0] for node in parsed(path).body if isinstance(node, ast.Assign))
    return found | {target.id for target in assigned if isinstance(target, ast.Name)}


def read_of(module: str) -> set[str]:
    """What the server uses of a module, as `module.name`."""
    reading = (node for path in sources("server") for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute))
    return {node.attr for node in reading if isinstance(node.value, ast.Name) and node.value.id == module}


def test_every_bound_is_used() -> None:
    """The server reads every bound in limits.py; an unused bound would be a false statement."""
    bounds = named_in(ROOT / "server/limits.py")
    assert len(bounds) > 100
    assert bounds - read_of("limits") == set()


def test_every_key_is_used() -> None:
    """The server, or keys.py itself, uses every name in store/keys.py."""
    path = ROOT / "server/store/keys.py"
    within = {n.id for n in ast.walk(parsed(path)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert named_in(path) - read_of("keys") - within == set()


def test_tests_wait_for_events() -> None:
    """No test sleeps in order to wait."""
    found = set()
    for path in sources("tests"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "asyncio.sleep",
                "time.sleep",
                "anyio.sleep",
                "sleep",
            ):
                turn_of_the_loop = node.args and ast.unparse(node.args[0]) == "0"
                if not turn_of_the_loop:
                    found.add(name_of(path))
    assert found <= set(LOOKS_AGAIN)


def test_known_mistakes_can_be_made() -> None:
    """The text of each is in its file once, so that `make mutants` can try it."""
    made = [mutant for part in mutants.PARTS.values() for mutant in mutants.known(part, "")]
    assert len(made) == len(mutants.KNOWN)
