"""Writes server/lookalikes.py from Unicode's confusables: `python -m tests.lookalikes confusables.txt`."""

import sys
import unicodedata
from pathlib import Path

from tests.tree import ROOT

WRITTEN = ROOT / "server/lookalikes.py"
HEAD = '''"""Letters that look like Latin ones: `python -m tests.lookalikes` makes this of Unicode's confusables.txt.

Source: {version}, (c) Unicode, Inc., used under the Unicode License v3 (unicode.org/copyright.html).
"""

# A Latin letter, and some that look like it once case, width and accents are off.
LOOKALIKES = (
{rows}
)
'''


def folded(text: str) -> str:
    """Without case, width and accents, as server/text.py has it."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(letter for letter in apart if not unicodedata.category(letter).startswith("M"))


def table(lines: list[str]) -> dict[str, str]:
    """Which Latin letter each letter looks like. Small letters decide before capitals."""
    found: dict[str, str] = {}
    pairs = [line.split(";")[:2] for line in lines if ";" in line and not line.startswith("#")]
    letters = [(_letters(one), _letters(other)) for one, other in pairs]
    for one, other in sorted(letters, key=lambda pair: (pair[0] != pair[0].casefold(), pair)):
        like, latin = folded(one), folded(other)
        if len(like) == 1 and not like.isascii() and like.isalpha() and len(latin) == 1 and "a" <= latin <= "z":
            found.setdefault(like, latin)
    return found


def _letters(codes: str) -> str:
    return "".join(chr(int(code, 16)) for code in codes.split())


def written(source: str) -> str:
    """The module."""
    lines = source.lstrip("\ufeff").splitlines()
    version = next(line.split(":")[1].strip() for line in lines if line.startswith("# Version"))
    found, rows = table(lines), []
    for latin in sorted(set(found.values())):
        likes = sorted(like for like, of in found.items() if of == latin)
        rows += [f'    ("{latin}", "{_escaped(likes[n : n + 10])}"),' for n in range(0, len(likes), 10)]
    return HEAD.format(version=f"confusables.txt {version}", rows="\n".join(rows))


def _escaped(letters: list[str]) -> str:
    return "".join(f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}" for one in letters)


if __name__ == "__main__":
    WRITTEN.write_text(written(Path(sys.argv[1]).read_text(encoding="utf-8")))
