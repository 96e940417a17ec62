"""Puts a page's modules together into one script, and its styles into one sheet: a first visit makes few requests.

Each module becomes a function that returns what it exports, and its text stays as people wrote it. That needs modules
in one plain form, with imports and exports each at the start of a line; anything else is a ValueError.
"""

import posixpath
import re
from collections.abc import Callable

Read = Callable[[str], str]  # the text of a file by its address, such as /web/watch/start.js

_IMPORT = re.compile(r'^import (\* as \w+|\{[^{}]*\}) from "(\.[^"]+)";$', re.MULTILINE)
_ALIAS = re.compile(r"(\w+) as (\w+)")
_DECLARED = re.compile(r"^export ((?:const|class|(?:async )?function) (\w+)\b)", re.MULTILINE)
_LISTED = re.compile(r"^export \{([^{}]*)\};$", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.MULTILINE | re.DOTALL)
_UNKNOWN = re.compile(r"^\s*(?:import|export)\b[^\n]*|\bimport(?:\(|\.meta)[^\n]*|^\w+ \$\d[^\n]*", re.MULTILINE)
_STYLES = re.compile(r'\s*<link rel="stylesheet" href="(/web/[^"]+)"(?: media="([^"]+)")?>')
_SCRIPT = re.compile(r'<script type="module" src="(/web/[^"]+)"></script>')
_OUTSIDE = re.compile(r"@import\b|\burl\(")  # an address in a style is relative to its own sheet


def script(start: str, read: Read) -> str:
    """The module at this address and all that it imports, each once, as one module without imports."""
    made = _Script(read)
    made.add(start)
    return "".join(made.parts)


class _Script:
    """Modules in the order in which they run, each with a number."""

    def __init__(self, read: Read) -> None:
        self.parts: list[str] = []
        self._read = read
        self._numbers: dict[str, int] = {}

    def add(self, address: str, importers: tuple[str, ...] = ()) -> int:
        """Append the module after those that it imports. Returns its number."""
        if address in importers:
            raise ValueError(f"{address} imports itself, over {' and '.join(importers)}")
        if address in self._numbers:
            return self._numbers[address]

        def bound(found: re.Match[str]) -> str:
            names, other = found.groups()
            number = self.add(posixpath.normpath(posixpath.join(address, "..", other)), (*importers, address))
            taken = _ALIAS.sub(r"\1: \2", names).removeprefix("* as ")
            return f"const {taken} = ${number};"

        text = _IMPORT.sub(bound, self._read(address))
        exported = [name for _, name in _DECLARED.findall(text)]
        exported += filter(None, (name.strip() for names in _LISTED.findall(text) for name in names.split(",")))
        text = _LISTED.sub("", _DECLARED.sub(r"\1", text))
        if wrong := [name for name in exported if " " in name] or _UNKNOWN.findall(_COMMENT.sub("", text)):
            raise ValueError(f"{address}: this form cannot be put together: {wrong[0]}")
        number = self._numbers[address] = len(self._numbers) + 1
        returned = f"return {{ {', '.join(exported)} }};"
        self.parts.append(f"// {address}\nconst ${number} = (() => {{\n{text}\n{returned}\n}})();\n")
        return number


def styles(html: str, read: Read) -> str:
    """The sheets that a page links, in their order, as one sheet."""
    parts: list[str] = []
    for address, media in _STYLES.findall(html):
        text = read(address)
        if _OUTSIDE.search(text):
            raise ValueError(f"{address}: a sheet that names another file cannot be put together")
        parts.append(f"/* {address} */\n" + (f"@media {media} {{\n{text}}}\n" if media else text))
    return "".join(parts)


def start_of(html: str) -> str:
    """The address of the page's one script."""
    (address,) = _SCRIPT.findall(html)
    return str(address)


def linked(html: str, script_address: str, styles_address: str) -> str:
    """The page with these two files in place of its own."""
    first = _STYLES.search(html)
    assert first, "a page has a style"
    sheet = f'\n  <link rel="stylesheet" href="{styles_address}">'
    rest = _STYLES.sub("", html[first.end() :])
    return _SCRIPT.sub(f'<script type="module" src="{script_address}"></script>', html[: first.start()] + sheet + rest)
