"""Loads Lua scripts. A script's header is its contract: the loader defines its names and refuses calls that break it.

The first line of a header says what the script does. Then:

    -- KEYS meta events          names for the first keys
    -- ARGV body                 names for the first arguments
    -- EACH wallet receipt / id  then any number of groups: keys / arguments of one item
    -- Returns ok | duplicate    what comes back

The body never uses KEYS[n] or ARGV[n]. It uses the names, and `items`, `keys_of(i)` and `args_of(i)` for groups.
Callers use the names, too: `SEND(talk=..., slow_ms=...)`. Only the money's hot path passes by position.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Raw, Struct

FOLDER = Path(__file__).parent / "lua"
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


Value = str | bytes | int


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

    def __call__(self, *, each: Iterable[Mapping[str, Value]] = (), **named: Value) -> Call:
        """Make a call with these keys and arguments; `each` has those of every group. Raises WrongCall."""
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
    """Load `<owner>_<verb>` from its file, with its includes. Raises ValueError for a broken contract."""
    source = (FOLDER / f"{name}.lua").read_text()
    header = _header(name, source)
    keys, args = _names(header, "KEYS"), _names(header, "ARGV")
    each_keys, each_args = _each(header)
    for names in ((*keys, *args), (*each_keys, *each_args)):
        if len(set(names)) < len(names):
            raise ValueError(f"{name}.lua: a name stands twice in its header")
    body = source
    if re.search(r"\b(KEYS|ARGV)\[", body):
        raise ValueError(f"{name}.lua: use the names of its header, not KEYS[n] or ARGV[n]")
    prologue = _locals(keys, "KEYS") + _locals(args, "ARGV") + _groups(keys, args, each_keys, each_args)
    includes = "\n".join(_include(include) for include in header.get("INCLUDE", "").split())
    text = f"#!lua\n{prologue}\n{includes}\n{body}"
    sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  # Redis names scripts so
    return Script(name, text, sha, keys, args, each_keys, each_args, header["Returns"])


def _header(name: str, source: str) -> dict[str, str]:
    lines = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    if not lines or lines[0].split(" ")[0] in ("KEYS", "ARGV", "EACH", "INCLUDE", "Returns"):
        raise ValueError(f"{name}.lua: the first line must say what the script does")
    header: dict[str, str] = {}
    for line in lines[1:]:
        word, _, rest = line.partition(" ")
        if word in ("KEYS", "ARGV", "EACH", "INCLUDE", "Returns"):
            header[word] = rest.strip()
    if "KEYS" not in header or "ARGV" not in header or "Returns" not in header:
        raise ValueError(f"{name}.lua: the header must have KEYS, ARGV and Returns")
    return header


def _names(header: dict[str, str], word: str) -> tuple[str, ...]:
    names = tuple(part for part in header[word].split() if part != "-")
    for each in names:
        if not _NAME.match(each):
            raise ValueError(f"{each!r} is no name for {word}")
    return names


def _each(header: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if "EACH" not in header:
        return (), ()
    keys, _, args = header["EACH"].partition("/")
    if not args.split():
        raise ValueError("EACH needs arguments: they say how many items there are")
    return _names({"EACH": keys}, "EACH"), _names({"EACH": args}, "EACH")


def _locals(names: tuple[str, ...], table: str) -> str:
    if not names:
        return ""
    return f"local {', '.join(names)} = {', '.join(f'{table}[{n + 1}]' for n in range(len(names)))}\n"


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
