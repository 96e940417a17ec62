"""Plain English, checked over the tree: short sentences in the documents, no stilted phrases in any prose."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tree import OURS, ROOT, name_of, parsed, sources

WORDS_MAX = 30  # in a sentence: a newcomer reads it once
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "protocol/README.md",
    "protocol/packages/npm/README.md",
    "protocol/packages/pypi/README.md",
    "loadtest/README.md",
    *sorted(name_of(path) for path in (ROOT / "docs").rglob("*.md")),
)

# Stilted phrases, each with the plain words that replace it.
STILTED = {
    r"what is none|that is none": "what is not valid",
    r"(?<!there )\b(is|are) no (?!longer|more|other)": "is not",
    r"\bwhoever\b": "everybody who, the caller, ...",
    r"\btells it\b": "shows",
    r"\b(is|are) told\b": "gets, receives, is shown",
    r"\bfor ever\b": "forever, never changes",
    r"\blet go of\b": "dropped, closed",
    r"\banew\b": "again",
    r"\bby itself alone\b": "alone",
    r"\bstands? still\b": "is frozen",
    r"\bwhatever becomes of\b": "even if it fails",
    r"\bdoes not hold\b": "is wrong",
    r"\bof ours\b": "our",
    r"\bbears\b": "has, contains",
    r"\blast word\b": "last work",
    r"\bwithout a word\b(?! claim)": "silently",
    r"\bhears of\b": "gets, is called with",
    r"\bnone any more\b": "no longer",
    r"\bmakes of\b": "does with",
    r"\bspoilt\b": "corrupt",
    r"\bdearer\b": "more expensive",
    r"\btold again\b": "shown again, sent again",
    r"\bruns out\b": "expires",
}
REFUSED = re.compile("|".join(STILTED), re.IGNORECASE)

SCRIPTS = [*sources("server", suffix=".lua"), *sources("server", "protocol", "tests", suffix=".js")]


def sentences(markdown: str) -> list[str]:
    """The prose of a document, without code blocks, tables, headings and text in backticks."""
    prose = re.sub(r"^```.*?^```$", "\n", markdown, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^(\||#).*$", "\n", prose, flags=re.MULTILINE)
    prose = re.sub(r"`[^`]*`|!?\[([^]]*)\]\([^)]*\)", "word", prose)
    parts = re.split(r"(?:[.?!]\**)\s|\n\n|\n *(?:-|\d+\.) ", prose)
    return [" ".join(part.split()) for part in parts if part.strip()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_sentences_are_short(name: str) -> None:
    """No sentence has more than 30 words; tables and code do not count."""
    assert [s for s in sentences((ROOT / name).read_text()) if len(s.split()) > WORDS_MAX] == []


def prose_of(path: Path) -> Iterator[str]:
    """The comments and docstrings of a source file, or the text of a document, without its code."""
    text = path.read_text()
    if path.suffix == ".md":
        yield re.sub(r"^```.*?^```$|`[^`]*`", "word", text, flags=re.MULTILINE | re.DOTALL)
    elif path.suffix == ".py":
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.string
    elif path.suffix == ".lua":
        yield from re.findall(r"--.*", text)
    else:
        yield from re.findall(r"/\*\*.*?\*/", text, re.DOTALL)
        yield from re.findall(r"(?<!\S)// .*", text)


def test_no_prose_is_stilted() -> None:
    """Comments, docstrings and documents use plain phrases; STILTED says which to use instead."""
    paths = [*sources(*OURS), *SCRIPTS, *(ROOT / name for name in DOCUMENTS)]
    found = [
        (name_of(path), match.group())
        for path in paths
        for text in prose_of(path)
        for match in REFUSED.finditer(" ".join(text.split()))
    ]
    assert found == []
