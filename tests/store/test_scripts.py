"""The loader of Lua scripts: the header is the contract, and a script or call that breaks it is refused."""

from pathlib import Path

import pytest
import redis

from server.store import scripts
from tests.conftest import Stores

GOOD = """-- Adds a number to each counter.
-- KEYS total
-- ARGV step
-- EACH counter / name factor
-- Returns the sums
local sums = {}
for i = 1, items do
  local counter = keys_of(i)
  local name, factor = args_of(i)
  sums[i] = name .. '=' .. redis.call('INCRBY', counter, tonumber(step) * tonumber(factor))
  redis.call('INCRBY', total, tonumber(step) * tonumber(factor))
end
return sums
"""


@pytest.fixture
def lua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for scripts."""
    (tmp_path / "include").mkdir()
    monkeypatch.setattr(scripts, "FOLDER", tmp_path)
    return tmp_path


def loaded(lua: Path, source: str, name: str = "test_add") -> scripts.Script:
    (lua / f"{name}.lua").write_text(source)
    return scripts.load(name)


def test_the_header_names_everything(lua: Path) -> None:
    """Names of keys, arguments and groups come from the header, and so does the return value."""
    script = loaded(lua, GOOD)
    assert (script.name, script.keys, script.args) == ("test_add", ("total",), ("step",))
    assert (script.each_keys, script.each_args) == (("counter",), ("name", "factor"))
    assert script.returns == "the sums"


def test_a_script_runs_with_its_names(lua: Path, stores: Stores) -> None:
    """On a real store each group gets its own keys and arguments, in the header's order."""
    script = loaded(lua, GOOD)
    with stores.room.client() as store:
        assert store.script_load(script.text) == script.sha
        keys, args = ["total", "c1", "c2"], ["10", "first", "1", "second", "3"]
        script.check(keys, args)
        assert store.evalsha(script.sha, len(keys), *keys, *args) == ["first=10", "second=30"]
        assert store.mget("total", "c1", "c2") == ["40", "10", "30"]


def test_a_call_by_names_is_in_the_headers_order(lua: Path) -> None:
    """The caller may name them in any order, so two numbers cannot be swapped by mistake."""
    script = loaded(lua, GOOD)
    groups = [{"factor": 1, "counter": "c1", "name": "a"}, {"name": "b", "factor": 3, "counter": "c2"}]
    call = script(step=10, total="t", each=groups)
    assert call == (script, ["t", "c1", "c2"], [10, "a", 1, "b", 3])


@pytest.mark.parametrize(
    ("named", "group", "wrong"),
    [
        ({"total": "t"}, {}, "step"),
        ({"total": "t", "step": 1, "steps": 2}, {}, "steps"),
        ({"total": "t", "step": 1}, {"name": "a", "counter": "c"}, "factor"),
        ({"total": "t", "step": 1}, {"name": "a", "counter": "c", "factor": 1, "x": 1}, "x"),
    ],
)
def test_a_call_with_other_names_is_refused(
    lua: Path, named: dict[str, str | int], group: dict[str, str | int], wrong: str
) -> None:
    """Refuse a missing name, and a name that the header does not have."""
    with pytest.raises(scripts.WrongCall, match=rf"unknown: {wrong}$"):
        loaded(lua, GOOD)(each=[group] if group else [], **named)  # type: ignore[arg-type]


def test_a_name_stands_once_in_a_header(lua: Path) -> None:
    """A key and an argument with the same name could not be told apart."""
    with pytest.raises(ValueError, match="stands twice"):
        loaded(lua, GOOD.replace("-- ARGV step", "-- ARGV step total"))


def test_groups_may_be_empty_or_without_keys(lua: Path, stores: Stores) -> None:
    """A call may have no items, and items may have arguments but no keys."""
    header = "-- Counts.\n-- KEYS -\n-- ARGV -\n-- EACH / name\n-- Returns how many, and the last\n"
    source = header + "return {items, items > 0 and args_of(items) or ''}\n"
    script = loaded(lua, source)
    with stores.room.client() as store:
        assert store.eval(script.text, 0) == [0, ""]
        assert store.eval(script.text, 0, "a", "b", "c") == [3, "c"]


def test_includes_come_before_the_body(lua: Path, stores: Stores) -> None:
    """The body can call an included function, and a changed include makes another script."""
    (lua / "include" / "twice.lua").write_text("local function twice(n) return 2 * n end\n")
    source = "-- Doubles.\n-- KEYS -\n-- ARGV number\n-- INCLUDE twice\n-- Returns it\nreturn twice(tonumber(number))\n"
    script = loaded(lua, source)
    with stores.room.client() as store:
        assert store.eval(script.text, 0, "21") == 42
    (lua / "include" / "twice.lua").write_text("local function twice(n) return n + n end\n")
    assert scripts.load("test_add").sha != script.sha


def test_a_script_may_not_use_an_undeclared_global(lua: Path, stores: Stores) -> None:
    """A name that the header does not have is an error of the store, not a silent nil."""
    script = loaded(lua, "-- Reads.\n-- KEYS -\n-- ARGV -\n-- Returns nothing\nreturn nmae\n")
    with (
        stores.room.client() as store,
        pytest.raises(redis.exceptions.ResponseError, match=r"undefined global|nonexistent global"),
    ):
        store.eval(script.text, 0)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("return 1\n", "first line"),
        ("-- KEYS a\n-- ARGV -\n-- Returns ok\n", "first line"),
        ("-- EACH a / b\n-- KEYS -\n-- ARGV -\n-- Returns ok\n", "first line"),
        ("-- Does.\n-- ARGV -\n-- Returns ok\nreturn 1\n", "KEYS, ARGV and Returns"),
        ("-- Does.\n-- KEYS -\n-- Returns ok\nreturn 1\n", "KEYS, ARGV and Returns"),
        ("-- Does.\n-- KEYS -\n-- ARGV -\nreturn 1\n", "KEYS, ARGV and Returns"),
        ("-- Does.\n\n-- KEYS -\n-- ARGV -\n-- Returns ok\nreturn 1\n", "KEYS, ARGV and Returns"),
        ("-- Does.\n-- KEYS Meta\n-- ARGV -\n-- Returns ok\nreturn 1\n", "no name for KEYS"),
        ("-- Does.\n-- KEYS -\n-- ARGV a-b\n-- Returns ok\nreturn 1\n", "no name for ARGV"),
        ("-- Does.\n-- KEYS a\n-- ARGV -\n-- Returns ok\nreturn KEYS[1]\n", "not KEYS"),
        ("-- Does.\n-- KEYS -\n-- ARGV a\n-- Returns ok\nlocal b = ARGV[1]\nreturn b\n", "not KEYS"),
        ("-- Does.\n-- KEYS -\n-- ARGV -\n-- EACH a /\n-- Returns ok\nreturn 1\n", "EACH"),
    ],
)
def test_a_broken_contract_is_not_loaded(lua: Path, source: str, says: str) -> None:
    """A script whose header is incomplete, or whose body bypasses it, is refused when loaded."""
    with pytest.raises(ValueError, match=says):
        loaded(lua, source)


@pytest.mark.parametrize("name", ["test_nothing", "../keys"])
def test_a_script_that_is_not_there(lua: Path, name: str) -> None:
    """A missing file is an error at import, long before the first call."""
    with pytest.raises(FileNotFoundError):
        scripts.load(name)


def test_a_missing_include(lua: Path) -> None:
    """A missing include is an error at import, too."""
    with pytest.raises(FileNotFoundError):
        loaded(lua, "-- Does.\n-- KEYS -\n-- ARGV -\n-- INCLUDE nothing\n-- Returns ok\nreturn 1\n")


@pytest.mark.parametrize(
    ("keys", "args"),
    [
        ([], ["1"]),
        (["total"], []),
        (["total", "c1"], ["1"]),
        (["total"], ["1", "name", "2"]),
        (["total", "c1"], ["1", "name"]),
        (["total", "c1", "c2"], ["1", "name", "2"]),
        (["total", "c1"], ["1", "name", "2", "name", "3"]),
    ],
)
def test_a_call_of_another_shape_is_refused(lua: Path, keys: list[str], args: list[str]) -> None:
    """Keys and arguments must match the header, and groups must be complete."""
    with pytest.raises(AssertionError, match="test_add takes"):
        loaded(lua, GOOD).check(keys, args)


def test_a_call_without_groups_takes_exactly_its_names(lua: Path) -> None:
    """One key or argument more or less is refused."""
    script = loaded(lua, "-- Does.\n-- KEYS a\n-- ARGV b\n-- Returns ok\nreturn 1\n")
    script.check(["x"], ["y"])
    for keys, args in (([], ["y"]), (["x"], []), (["x", "x"], ["y"]), (["x"], ["y", "y"])):
        with pytest.raises(AssertionError):
            script.check(keys, args)
