"""What schemathesis need not send: JSON Schema cannot say that a text must have something to see."""

from typing import Any

import schemathesis

from server import limits
from server.text import NotSeen, clean


@schemathesis.hook
def filter_body(_context: Any, body: Any) -> bool:
    return all(_is_seen(text) for text in _texts(body))


def _texts(value: Any) -> list[str]:
    """All texts in a body, but those that are empty: the schemas say where those may be."""
    if isinstance(value, str):
        return [value] if value else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]


def _is_seen(text: str) -> bool:
    try:
        return bool(clean(text, max(len(text), limits.TITLE_CHARS_MAX)))
    except NotSeen:
        return False
