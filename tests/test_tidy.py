"""The house rules, checked over the tree: first lines, sizes, layers, who owns a script, how commands are named."""

import ast
import graphlib
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import protocol
import server.features
from protocol.closes import Close
from server.rooms.registry import HANDLERS
from server.store import scripts
from tests.tree import MODULES, OURS, ROOT, imports, module_of, name_of, parsed, sources

LINES_MAX = 400
FUNCTION_LINES_MAX = 60

# From low to high: a row imports only rows above it. A package stands for its modules, which import each other in
# no circle. CONTRIBUTING.md shows the same rows, the other way round, and says what each is for.
LAYERS = (
    ("server.booked", "server.currencies", "server.lean", "server.limits", "server.lookalikes", "server.timezones"),
    ("server.text",),
    ("server.words",),
    ("server.settings", "server.clock", "server.metrics", "server.tokens", "server.background", "server.entries"),
    ("server.catalogue", "server.levels", "server.rates", "server.logs", "server.providers"),
    ("server.packages", "server.requirements"),
    ("server.store",),
    ("server.journal",),
    ("server.money",),
    ("server.orders", "server.payouts"),
    ("server.rooms",),
    ("server.http.api",),
    ("server.http.own",),
    ("server.features",),
    ("server.edge",),
    ("server.http",),
    ("server.app",),
    ("server.processes",),
    ("server.bench",),
    ("server.__main__",),
)


ROWS = {name: row for row, names in enumerate(LAYERS) for name in names}


def layer_name(module: str) -> str:
    """The longest name in LAYERS that a module has: its own or its package's."""
    while module not in ROWS:
        assert "." in module, f"{module} stands in no row of LAYERS"
        module = module.rpartition(".")[0]
    return module


def layer_of(module: str) -> int:
    """The row of LAYERS that contains a module."""
    return ROWS[layer_name(module)]


SCRIPTS = [
    *sources("server", "protocol", "tests", suffix=".js"),
    *sources("tests", suffix=".mjs"),
    *sources("server", suffix=".lua"),
]


def test_a_python_file_begins_with_what_it_is_for() -> None:
    """The first line is a docstring that says what the file is for."""
    firsts = {name_of(path): path.read_text().partition("\n")[0] for path in sources(*OURS) if path.read_text().strip()}
    sentence = re.compile(r'^"""(?!This module)[A-Z`].*[.?](""")?$')
    assert [(name, first) for name, first in firsts.items() if not sentence.match(first)] == []


def test_a_script_begins_with_what_it_is_for() -> None:
    """Lua and JavaScript files begin with a comment that says so."""
    firsts = {name_of(p): re.sub(r"^/\*\*\n \* ", "/** ", p.read_text()).partition("\n")[0] for p in SCRIPTS}
    sentence = re.compile(r"^(/\*\*|--) \S.*\.( \*/)?$")
    assert [(name, first) for name, first in firsts.items() if not sentence.match(first)] == []


def test_files_stay_short() -> None:
    """No source file has more than 400 lines."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in [*sources(*OURS), *SCRIPTS]}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_functions_stay_short() -> None:
    """No function has more than 60 lines."""
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in sources(*OURS)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_the_protocol_needs_msgspec_and_nothing_else() -> None:
    """protocol imports only msgspec, the standard library and itself; its clients may also use websockets."""
    foreign = {
        (name_of(path), module)
        for path in sources("protocol")
        for module in imports(path)
        if module.partition(".")[0] in ("server", "loadtest", "tests", "starlette", "uvicorn", "redis", "sqlalchemy")
        or (_is_installed(module) and module.partition(".")[0] != "msgspec")
    }
    allowed = {("protocol/aio.py", "websockets"), ("protocol/examples/bot.py", "liveroom_client")}
    assert {(path, module.partition(".")[0]) for path, module in foreign} <= allowed


def _is_installed(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in sys.stdlib_module_names and top != "protocol"


def test_the_load_test_knows_only_the_protocol() -> None:
    """Of our packages, loadtest imports only protocol and itself."""
    known = {(name_of(p), m) for p in sources("loadtest") for m in imports(p) if m.split(".")[0] in ("server", "tests")}
    assert known == set()


def test_imports_go_up_the_layers() -> None:
    """Every module of the server is in a row, and imports only rows above its own, or its own package."""
    within: dict[str, set[str]] = {}
    for path in sources("server"):
        if "migrations" in path.parts:
            continue
        module = module_of(path)
        for other in imports(path):
            if other.partition(".")[0] == "server" and other != "server":
                same_package = layer_name(module) == layer_name(other)
                assert layer_of(other) < layer_of(module) or same_package, f"{module} imports {other}"
                if layer_of(other) == layer_of(module):
                    within.setdefault(module, set()).add(other)
    assert within
    list(graphlib.TopologicalSorter(within).static_order())  # raises CycleError, which names the circle


def test_layers_name_only_what_exists() -> None:
    """A row of LAYERS without a module is out of date."""
    assert [name for names in LAYERS for name in names if name not in MODULES] == []


def test_features_never_import_each_other() -> None:
    """Features communicate through the protocol's events."""
    features = {module for module in MODULES if module.startswith("server.features.")}
    assert features
    assert [(a, b) for a in features for b in imports(MODULES[a]) if b in features or b == "server.features"] == []


def test_every_feature_has_its_three_files() -> None:
    """protocol/<f>.py, server/features/<f>.py and tests/features/test_<f>.py belong together."""
    features = [path.stem for path in (ROOT / "server/features").glob("*.py") if path.stem != "__init__"]
    missing = [
        file
        for feature in features
        for file in (f"protocol/{feature}.py", f"tests/features/test_{feature}.py")
        if not (ROOT / file).exists()
    ]
    assert missing == []


# Modules that the tests of others cover, and which tests.
TESTED_BY = {
    "app": "tests/http/test_http.py and every test with a site",
    "booked": "tests/journal/test_pen.py",
    "clock": "three lines",
    "entries": "tests/journal/test_entries.py",
    "currencies": "tests/test_rates.py",
    "limits": "asserts of its own",
    "rooms.lookup": "tests/features/test_pins.py and tests/features/test_reports.py",
    "logs": "tests/journeys/test_logs.py",
    "lookalikes": "tests/test_wordlists.py",
    "metrics": "tests/http/test_http.py",
    "packages": "tests/test_coin_packages.py",
    "words": "tests/test_wordlists.py",
    "__main__": "tests/journeys",
    "edge.admission": "tests/edge/test_session.py",
    "edge.answers": "tests/edge/test_patience.py and tests/edge/test_upgrade.py",
    "edge.balances": "tests/edge/test_session.py and tests/features/test_gifts.py",
    "edge.commands": "tests/edge/test_session.py and tests/edge/test_floods.py",
    "edge.handshake": "tests/edge/test_socket.py",
    "edge.liveness": "tests/edge/test_session.py",
    "money.cluster": "tests/wallet/test_cluster.py",
    "money.making": "every test with a wallet",
    "money.results": "tests/wallet/test_wallet.py",
    "money.waiting": "tests/wallet/test_wallet_lost.py",
    "money.store": "tests/wallet/test_wallet.py and tests/torture",
    "rooms.admin": "tests/http/test_http.py",
    "rooms.here": "tests/rooms/test_room.py and tests/rooms/test_room_keeping.py",
    "rooms.history": "tests/rooms/test_fanout.py, tests/journeys/test_resume.py and the features",
    "rooms.privacy": "tests/journal/test_privacy.py",
    "rooms.unsaid": "tests/http/test_events.py",
    "rooms.registry": "tests/test_tidy.py and the features",
}
TESTS_OF = {"money": "wallet"}  # tests/money.py is a helper, not a folder of tests


def test_every_spine_module_has_its_tests() -> None:
    """server/<p>/<m>.py is tested by tests/<p>/test_<m>.py, unless other tests cover it."""
    folders = [(ROOT / "server", ROOT / "tests")]
    folders += [
        (ROOT / "server" / name, ROOT / "tests" / TESTS_OF.get(name, name)) for name in ("edge", "rooms", "money")
    ]
    modules = {
        path.relative_to(ROOT / "server").with_suffix("").as_posix().replace("/", "."): tests / f"test_{path.stem}.py"
        for folder, tests in folders
        for path in folder.glob("*.py")
        if path.stem != "__init__"
    }
    assert set(TESTED_BY) <= set(modules)
    assert [m for m, test in modules.items() if m not in TESTED_BY and not test.exists()] == []


# --- scripts -------------------------------------------------------------------------------------------------------
def loaders() -> dict[str, set[str]]:
    """The modules that load each script."""
    found: dict[str, set[str]] = {}
    for path in sources("server"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("scripts.load", "load") and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Constant):
                    found.setdefault(argument.value, set()).add(name_of(path))
    return found


def test_a_script_belongs_to_the_module_that_it_is_named_after() -> None:
    """`<owner>_<verb>.lua` follows the loader's contract, and only a module called <owner> loads it."""
    loaded = loaders()
    names = sorted(path.stem for path in (ROOT / "server/store/lua").glob("*.lua") if "_on_" not in path.stem)
    assert sorted(loaded) == names
    for name in names:
        assert scripts.load(name).name == name
        assert [Path(owner).stem for owner in loaded[name]] == [name.partition("_")[0]], name


def test_a_hook_is_a_features_and_has_a_host() -> None:
    """`<feature>_on_<moment>.lua` belongs to an existing feature, and exactly one script has that moment."""
    folder = ROOT / "server/store/lua"
    said = (line for path in folder.glob("*.lua") for line in path.read_text().splitlines())
    moments = [line.split()[2] for line in said if line.startswith("-- HOOK ")]
    assert len(moments) == len(set(moments))
    for path in folder.glob("*_on_*.lua"):
        feature, _, moment = path.stem.partition("_on_")
        assert (ROOT / f"server/features/{feature}.py").exists(), path.name
        assert moment in moments, path.name


def test_an_include_is_included() -> None:
    """A script uses each file of lua/include."""
    used = {
        name
        for path in (ROOT / "server/store/lua").glob("*.lua")
        for line in path.read_text().splitlines()
        if line.startswith("-- INCLUDE ")
        for name in line.split()[2:]
    }
    assert used == {path.stem for path in (ROOT / "server/store/lua/include").glob("*.lua")}


# --- the language --------------------------------------------------------------------------------------------------
def test_every_command_has_its_one_handler() -> None:
    """Each command of the protocol has a handler, and nothing else has one."""
    assert server.features  # importing it registers the handlers
    assert set(HANDLERS) == set(protocol.COMMANDS.values())


@pytest.mark.parametrize("tag", [tag for tag in protocol.COMMANDS if tag != "ping"])  # its tag names no module
def test_a_command_is_an_imperative_of_its_module(tag: str) -> None:
    """The tag is `<module>.<verb>`, and the class name begins with the verb."""
    command = protocol.COMMANDS[tag]
    module, _, verb = tag.partition(".")
    assert command.__module__ in (f"protocol.{module}", f"protocol.{module}s")
    assert command.__name__.startswith(verb.capitalize())
    assert command.__struct_config__.frozen
    assert command.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("tag", protocol.EVENTS)
def test_an_event_is_a_past_participle_of_its_module(tag: str) -> None:
    """The tag is `<noun>.<participle>`, and the noun is the module's, singular or plural."""
    noun, _, verb = tag.partition(".")
    assert re.search(r"(ed|sent)$", verb), tag
    module = protocol.EVENTS[tag].__module__.removeprefix("protocol.")
    assert noun in (module, module.removesuffix("s"))


def test_close_codes_say_whether_to_come_back() -> None:
    """Codes are unique and have a short reason; come back after 4000-4499, not after 4500-4999."""
    values = [code.value for code in Close.__members__.values()]
    assert len(values) == len(set(values))
    assert all(low < high for low, high in pairwise(values))
    for code in Close:
        if code >= 4000:
            assert code < 5000
            assert code.comes_back == (code < 4500)
            assert 0 < len(code.reason) <= 40
