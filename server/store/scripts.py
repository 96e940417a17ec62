"""Loads Lua scripts. A script's header is its contract: the loader defines its names and refuses calls that break it.

The first line of a header says what the script does. Then:

    -- KEYS meta events          names for the first keys
    -- ARGV body                 names for the first arguments
    -- EACH wallet receipt / id  then groups, any number: keys / arguments of one item
    -- HOOK gift_shown user_id   a moment at which features add to the same step (see hooks.py)
    -- Returns ok | duplicate    what comes back

The body never uses KEYS[n] or ARGV[n]. It uses the names, and `items`, `keys_of(i)` and `args_of(i)` for groups.
Callers use the names, too: `SEND(talk=..., slow_ms=...)`. Only the money's hot path passes by position.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Raw, Struct

from server.store import headers, hooks

FOLDER = Path(__file__).parent / "lua"
Value = hooks.Value


class WrongCall(TypeError):
    """The names of a call differ from those of the script's header."""


class Call(NamedTuple):
    """A script with keys and arguments in the order of its header."""

    script: "Script"
    keys: list[str]
    args: list[Value]


class Script(Struct, frozen=True):
    """A loaded script. `text` is what the store runs. Call it with names to make a `Call`."""

    name: str
    text: str
    sha: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    each_keys: tuple[str, ...]
    each_args: tuple[str, ...]
    returns: str
    supplied: tuple[str, ...] = ()  # the arguments of hooks, whose features supply the values

    def __call__(self, *, each: Iterable[Mapping[str, Value]] = (), **named: Value) -> Call:
        """The call with these keys and arguments; `each` has those of every group. Raises WrongCall."""
        if self.supplied:
            named = {**named, **hooks.supplied(self.supplied)}
        keys, args = self._in_order(self.keys, self.args, named)
        for group in each:
            more_keys, more_args = self._in_order(self.each_keys, self.each_args, group)
            keys += more_keys
            args += more_args
        return Call(self, keys, args)

    def _in_order(
        self, keys: tuple[str, ...], args: tuple[str, ...], named: Mapping[str, Value]
    ) -> tuple[list[str], list[Value]]:
        if named.keys() != {*keys, *args}:
            wrong = sorted(named.keys() ^ {*keys, *args})
            raise WrongCall(f"{self.name} takes {' '.join((*keys, *args))}; missing or unknown: {' '.join(wrong)}")
        return [str(named[name]) for name in keys], [named[name] for name in args]

    def check(self, keys: Sequence[str], args: Sequence[object]) -> None:
        """Assert that a call by position has the contract's shape. For the hot path, whose callers are our own."""
        more_keys, more_args = len(keys) - len(self.keys), len(args) - len(self.args)
        if not self.each_keys and not self.each_args:
            assert (more_keys, more_args) == (0, 0), f"{self.name} takes {self.keys} {self.args}"
            return
        items = more_args // len(self.each_args)
        assert more_args == items * len(self.each_args), f"{self.name} takes groups of {self.each_args}"
        assert more_keys == items * len(self.each_keys), f"{self.name} takes groups of {self.each_keys}"


def hole(name: str) -> Any:
    """A placeholder in an event for a value that only the store knows. The script's `fill` puts JSON there.

    The mark is a raw control character. Encoded JSON never has one, whatever a person wrote.
    """
    return Raw(f"\x01{name}\x01".encode())


def load(name: str) -> Script:
    """`<owner>_<verb>` from its file, with its includes and hooks. Raises ValueError for a broken contract."""
    source = (FOLDER / f"{name}.lua").read_text()
    header = headers.read(name, source, ("KEYS", "ARGV", "Returns"))
    own_keys, own_args = headers.names(header, "KEYS"), headers.names(header, "ARGV")
    each_keys, each_args = headers.each(header)
    headers.all_differ(name, (*own_keys, *own_args), (*each_keys, *each_args))
    found = hooks.of(FOLDER, header)
    keys = _together(own_keys, *(hook.keys for hook in found))
    args = _together(own_args, *(tuple(map(hook.argument, hook.args)) for hook in found))
    prologue = _locals(own_keys, "KEYS") + _locals(own_args, "ARGV") + _groups(keys, args, each_keys, each_args)
    includes = _together(tuple(header.get("INCLUDE", "").split()), *(hook.includes for hook in found))
    functions = "".join(hook.text(keys, args) for hook in found)
    body = functions + hooks.put_in(name, header, source, found)
    text = "\n".join((f"#!lua\n{prologue}", "\n".join(map(_include, includes)), body))
    sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  # Redis identifies scripts by it
    supplied = tuple(arg for arg in args if arg not in own_args and arg not in hooks.SHARED)
    return Script(name, text, sha, keys, args, each_keys, each_args, header["Returns"], supplied)


def _together(*lists: tuple[str, ...]) -> tuple[str, ...]:
    """Every name once, in the order of the lists."""
    return tuple(dict.fromkeys(name for names in lists for name in names))


def _locals(names: tuple[str, ...], table: str) -> str:
    return headers.locals_of({name: f"{table}[{n + 1}]" for n, name in enumerate(names)})


def _groups(
    keys: tuple[str, ...], args: tuple[str, ...], each_keys: tuple[str, ...], each_args: tuple[str, ...]
) -> str:
    """Lua that defines `items`, and functions that return one item's keys and arguments in the header's order."""
    if not each_args:
        return ""
    k, a = len(each_keys), len(each_args)
    key_list = ", ".join(f"KEYS[{len(keys)}+(i-1)*{k}+{n + 1}]" for n in range(k)) or "nil"
    arg_list = ", ".join(f"ARGV[{len(args)}+(i-1)*{a}+{n + 1}]" for n in range(a))
    return (
        f"local items = (#ARGV - {len(args)}) / {a}\n"
        f"local function keys_of(i) return {key_list} end\n"
        f"local function args_of(i) return {arg_list} end\n"
    )


def _include(name: str) -> str:
    return (FOLDER / "include" / f"{name}.lua").read_text()
