"""Hooks: a feature's Lua that runs inside another feature's script, found by its file name."""

from pathlib import Path

import pytest

from server.store import hooks, scripts
from tests.conftest import Stores

HOST = """-- Adds a number to a counter.
-- KEYS total
-- ARGV step
-- HOOK added by user_id
-- EACH / user_id
-- Returns the sum
local sum = 0
for i = 1, items do
  local user_id = args_of(i)
  added(step, user_id)
  sum = redis.call('INCRBY', total, step)
end
return sum
"""
COUNTS = """-- Counts how often each one added.
-- KEYS counts total
-- ARGV most
if redis.call('EXISTS', total) == 1 then
  if tonumber(redis.call('HGET', counts, user_id) or '0') >= tonumber(most) then
    return
  end
  redis.call('HINCRBY', counts, user_id, 1)
end
"""
SUMS = """-- Sums in another key what was added.
-- KEYS also
-- ARGV most
-- INCLUDE twice
redis.call('INCRBY', also, twice(by) + most)
"""


@pytest.fixture
def lua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a host script, and no supplied values."""
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "twice.lua").write_text("local function twice(n) return 2 * n end\n")
    (tmp_path / "host_add.lua").write_text(HOST)
    monkeypatch.setattr(scripts, "FOLDER", tmp_path)
    monkeypatch.setattr(hooks, "_SUPPLIED", {})
    return tmp_path


def test_a_moment_without_hooks_costs_nothing(lua: Path) -> None:
    """Without hooks, the host's text is the same as without the moment."""
    hooked = scripts.load("host_add").text
    (lua / "host_add.lua").write_text(
        HOST.replace("  added(step, user_id)\n", "").replace("-- HOOK added by user_id\n", "")
    )
    assert hooked.replace("-- HOOK added by user_id\n", "") == scripts.load("host_add").text


def test_hooks_run_in_the_step_of_their_host(lua: Path, stores: Stores) -> None:
    """Each hook gets its own keys and values, and the host's; two hooks may use the same names."""
    (lua / "counts_on_added.lua").write_text(COUNTS)
    (lua / "sums_on_added.lua").write_text(SUMS)
    hooks.supply("counts_on_added", most=2)
    hooks.supply("sums_on_added", most=100)
    hooks.check(lua)
    script = scripts.load("host_add")
    assert script.keys == ("total", "counts", "also")
    assert script.args == ("step", "counts_on_added.most", "sums_on_added.most")
    call = script(total="t", counts="c", also="a", step=5, each=[{"user_id": user} for user in "xyyyy"])
    assert call.args == [5, 2, 100, "x", "y", "y", "y", "y"]
    with stores.room.client() as store:
        assert store.eval(script.text, len(call.keys), *call.keys, *call.args) == 25
        assert (store.hgetall("c"), store.get("a")) == ({"y": "2"}, str(5 * 110))


def test_a_host_without_its_moment_is_not_loaded(lua: Path) -> None:
    """The header promises a moment that the body does not have, so its hooks would never run."""
    (lua / "host_add.lua").write_text(HOST.replace("  added(step, user_id)\n", ""))
    with pytest.raises(ValueError, match="one line"):
        scripts.load("host_add")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("redis.call('PING')\n", "first line"),
        ("-- Does.\n-- KEYS -\n", "KEYS and ARGV"),
        ("-- Does.\n-- KEYS a\n-- ARGV a\n", "stands twice"),
        ("-- Does.\n-- KEYS user_id\n-- ARGV -\n", "stands twice"),
        ("-- Does.\n-- KEYS -\n-- ARGV a\nreturn ARGV[1]\n", "not KEYS"),
    ],
)
def test_a_broken_hook_is_not_loaded(lua: Path, source: str, says: str) -> None:
    """A hook's header follows the rules of a script's, but has no groups and no return value."""
    (lua / "bad_on_added.lua").write_text(source)
    with pytest.raises(ValueError, match=says):
        scripts.load("host_add")


def test_values_that_do_not_fit_stop_the_start(lua: Path) -> None:
    """Refuse a missing value, and one that no argument is named after; without its values no call is made."""
    (lua / "counts_on_added.lua").write_text(COUNTS)
    with pytest.raises(ValueError, match="differ in most"):
        hooks.check(lua)
    with pytest.raises(scripts.WrongCall, match=r"counts_on_added\.most"):
        scripts.load("host_add")(total="t", counts="c", step=1)
    hooks.supply("counts_on_added", most=2, least=1)
    with pytest.raises(ValueError, match="differ in least"):
        hooks.check(lua)
