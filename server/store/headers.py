"""The headers of Lua files: the comment lines at their head, which are the contract of a script or of a hook."""

import re

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_WORDS = ("KEYS", "ARGV", "EACH", "INCLUDE", "HOOK", "Returns")


def read(name: str, source: str, needs: tuple[str, ...]) -> dict[str, str]:
    """Returns the text after each word of a header. Raises ValueError if a word of `needs` is missing."""
    lines = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    if not lines or lines[0].split(" ")[0] in _WORDS:
        raise ValueError(f"{name}.lua: the first line must say what the script does")
    header: dict[str, str] = {}
    for line in lines[1:]:
        word, _, rest = line.partition(" ")
        if word in _WORDS:
            header[word] = rest.strip()
    if not set(needs) <= set(header):
        raise ValueError(f"{name}.lua: the header must have {', '.join(needs[:-1])} and {needs[-1]}")
    if re.search(r"\b(KEYS|ARGV)\[", source):
        raise ValueError(f"{name}.lua: use the names of its header, not KEYS[n] or ARGV[n]")
    return header


def names(header: dict[str, str], word: str) -> tuple[str, ...]:
    """The names after a word. `-` means none."""
    found = tuple(part for part in header[word].split() if part != "-")
    for each in found:
        if not _NAME.match(each):
            raise ValueError(f"{each!r} is no name for {word}")
    return found


def each(header: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys and the arguments of one item of a group."""
    if "EACH" not in header:
        return (), ()
    keys, _, args = header["EACH"].partition("/")
    if not args.split():
        raise ValueError("EACH needs arguments: they say how many items there are")
    return names({"EACH": keys}, "EACH"), names({"EACH": args}, "EACH")


def all_differ(name: str, *lists: tuple[str, ...]) -> None:
    """Raises ValueError if one of these lists has a name twice."""
    for found in lists:
        if len(set(found)) < len(found):
            raise ValueError(f"{name}.lua: a name stands twice in its header")


def locals_of(named: dict[str, str]) -> str:
    """Lua that defines a local variable for each of these."""
    return f"local {', '.join(named)} = {', '.join(named.values())}\n" if named else ""
