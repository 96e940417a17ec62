"""Hooks: parts that features add to another's script, in the same step. Each is a file `<feature>_on_<moment>.lua`.

The host's header says `-- HOOK gift_shown user_id coins`: the moment, and a hook's arguments. In the host's body, the
loader replaces the line `gift_shown(user_id, coins)` by one call per hook, or removes it if there is no hook. A hook's
header has KEYS (room keys by name) and ARGV, whose values its feature gives once (`supply`); `keep` comes from the
host. A hook may INCLUDE, and returns nothing. A hook that can fail checks everything before it writes.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from server.store import headers

Value = str | bytes | int
SHARED = ("keep",)  # arguments that a hook gets from its host
_SUPPLIED: dict[str, dict[str, Value]] = {}


class Hook(Struct, frozen=True):
    """One feature's part of another's script. `given` are the names of the values that the host passes."""

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    given: tuple[str, ...]
    includes: tuple[str, ...]
    body: str

    def argument(self, arg: str) -> str:
        """The name of an argument among those of the host."""
        return arg if arg in SHARED else f"{self.name}.{arg}"

    def text(self, keys: tuple[str, ...], args: tuple[str, ...]) -> str:
        """The hook as a Lua function, for a host that has these keys and arguments."""
        named = {key: f"KEYS[{keys.index(key) + 1}]" for key in self.keys}
        named |= {arg: f"ARGV[{args.index(self.argument(arg)) + 1}]" for arg in self.args}
        function = f"function {self.name}({', '.join(self.given)})\n{self.body}\nend\n"
        return f"local {self.name}\ndo\n{headers.locals_of(named)}{function}end\n"


def of(folder: Path, host: dict[str, str]) -> list[Hook]:
    """The hooks of a host's header, by name. Raises ValueError for a broken contract."""
    if "HOOK" not in host:
        return []
    moment, *given = headers.names(host, "HOOK")
    return [_load(path, tuple(given)) for path in sorted(folder.glob(f"*_on_{moment}.lua"))]


def _load(path: Path, given: tuple[str, ...]) -> Hook:
    name, source = path.stem, path.read_text()
    header = headers.read(name, source, ("KEYS", "ARGV"))
    keys, args = headers.names(header, "KEYS"), headers.names(header, "ARGV")
    headers.all_differ(name, (*keys, *args, *given))
    return Hook(name, keys, args, given, tuple(header.get("INCLUDE", "").split()), source)


def put_in(name: str, host: dict[str, str], body: str, hooks: Iterable[Hook]) -> str:
    """The host's body with a call of each hook in place of the moment's line. Raises ValueError without the line."""
    if "HOOK" not in host:
        return body
    moment = host["HOOK"].split()[0]
    line = re.compile(rf"^( *){moment}(\(.*\))\n", re.MULTILINE)
    if len(line.findall(body)) != 1:
        raise ValueError(f"{name}.lua: HOOK {moment} needs one line `{moment}(...)`")
    return line.sub(lambda found: "".join(f"{found[1]}{hook.name}{found[2]}\n" for hook in hooks), body)


def supply(hook: str, **values: Value) -> None:
    """Give a hook's arguments their values, at the import of its feature."""
    assert hook not in _SUPPLIED, f"{hook} already has its values"
    _SUPPLIED[hook] = values


def supplied(arguments: Iterable[str]) -> Mapping[str, Value]:
    """The values of these arguments, by their names in the host. Those without a value are left out."""
    pairs = ((argument, *argument.split(".")) for argument in arguments)
    return {argument: _SUPPLIED[hook][arg] for argument, hook, arg in pairs if arg in _SUPPLIED.get(hook, {})}


def check(folder: Path) -> None:
    """Check at the start, not at the first call, that exactly the arguments of every hook have values.

    Raises ValueError.
    """
    for path in folder.glob("*_on_*.lua"):
        wanted = {arg for arg in _load(path, ()).args if arg not in SHARED}
        given = set(_SUPPLIED.get(path.stem, {}))
        if wanted != given:
            raise ValueError(f"{path.name}: supply(...) and ARGV differ in {' '.join(sorted(wanted ^ given))}")
