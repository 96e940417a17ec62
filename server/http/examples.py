"""The examples of the wire's documents, which tests/test_docs.py decodes: the AsyncAPI document shows the same ones."""

import functools
import re
from pathlib import Path
from typing import Any

import msgspec

import protocol

_FENCED = re.compile(r"^```json ([a-z]+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@functools.cache
def of_wire() -> dict[str, list[Any]]:
    """The values by the name of their message: a type, or `<command>.ok` for a reply. Reads the files once."""
    folder = Path(protocol.__file__).parent
    found: dict[str, list[Any]] = {}
    for path in (folder / "README.md", *sorted((folder / "docs").glob("*.md"))):
        for kind, about, text in _FENCED.findall(path.read_text() if path.exists() else ""):
            value = msgspec.json.decode(text)
            if kind == "reply":
                found.setdefault(f"{about}.ok", []).append(value)
            elif kind in ("command", "event", "message", "refusal"):
                for each in value if isinstance(value, list) else [value]:
                    found.setdefault(each["type"], []).append(each)
    return found
