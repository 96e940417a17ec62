"""Plain English, held over the tree: short sentences in the documents."""

import re

import pytest

from tests.tree import ROOT

WORDS_MAX = 30  # of a sentence: a newcomer reads it once
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "protocol/README.md", "loadtest/README.md")


def sentences(markdown: str) -> list[str]:
    """The prose of a document, without blocks of code, tables, headings and what stands between backticks."""
    prose = re.sub(r"^```.*?^```$", "\n", markdown, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^(\||#).*$", "\n", prose, flags=re.MULTILINE)
    prose = re.sub(r"`[^`]*`|!?\[([^]]*)\]\([^)]*\)", "word", prose)
    parts = re.split(r"(?:[.?!]\**)\s|\n\n|\n *(?:-|\d+\.) ", prose)
    return [" ".join(part.split()) for part in parts if part.strip()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_sentences_are_short(name: str) -> None:
    """No sentence has more than 30 words; tables and code do not count."""
    assert [s for s in sentences((ROOT / name).read_text()) if len(s.split()) > WORDS_MAX] == []
