"""What schemathesis need not send: JSON Schema cannot say that a text has something to see or to look for."""

from typing import Any

import schemathesis

from server import limits
from server.rooms.admin import BadDefinition, hashtag_of
from server.text import NotSeen, clean
from server.words import is_phrase


@schemathesis.hook
def filter_body(_context: Any, body: Any) -> bool:
    if any("\0" in key for key in _keys(body)):
        return False
    if not all(map(is_phrase, _phrases(body))):
        return False
    tags = body.get("hashtags") if isinstance(body, dict) else None
    return all(_is_seen(text) for text in _texts(body)) and all(map(_is_tag, tags if isinstance(tags, list) else ()))


@schemathesis.hook
def filter_query(_context: Any, query: Any) -> bool:
    return not isinstance(query, dict) or _is_tag(query.get("hashtag"))


def _is_tag(text: Any) -> bool:
    """Whether it is a hashtag, or nothing that could be one."""
    try:
        return not isinstance(text, str) or bool(hashtag_of(text))
    except BadDefinition:
        return False


def _phrases(body: Any) -> list[str]:
    """The phrases of a word list in a body, or a room's: each needs something that can be looked for."""
    if not isinstance(body, dict):
        return []
    settings = body.get("settings")
    blocked = settings.get("blocked_words") if isinstance(settings, dict) else None
    return [*_texts(body.get("phrases")), *_texts(body.get("add")), *_texts(body.get("remove")), *_texts(blocked)]


def _keys(value: Any) -> list[str]:
    """All keys in a body: nobody may send NUL in one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*(value if isinstance(value, dict) else ()), *(key for each in inner for key in _keys(each))]


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
