"""Word lists: which phrases of a list a text has, however it disguises them.

Case, width, accents, invisible letters, look-alikes, digits for letters and letters one by one hide nothing. A phrase
is whole words. `*` at an end of it stands for any letters there: `darn*` is in "darning". Scripts that put no blanks
between words (Han, kana, Thai, ...) do not have whole words: their phrases are found anywhere.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick

from server import limits
from server.lookalikes import LOOKALIKES
from server.text import plain

BLOCKED = "blocked"  # the category whose phrases are refused in every room; what others do is for the room to say

_LATIN = {like: latin for latin, likes in LOOKALIKES for like in likes}
_DIGITS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i", "|": "i"}
_LEET = str.maketrans(_DIGITS)
_LEET_L = str.maketrans({**_DIGITS, "1": "l", "!": "l", "|": "l"})
# A digit or a sign beside a letter. The end of a sentence is none. This and _SPELT begin with what is rare in a text:
# beginning with a letter, a search took 20 us per message of 500 letters.
_DISGUISED = re.compile(r"[013-578@$!|](?:(?=[^\W\d_])|(?<=[^\W\d_][013-578@$])|(?<=[^\W\d_].)(?=\w))")
_ENDS = ".,?:;!)("
_SPELT = re.compile(r" (?:[^\W\d_] ){3,}")  # single letters, one after the other
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)


class Found(NamedTuple):
    """A phrase of a list, as the list has it, and its category."""

    phrase: str
    category: str


class _Letters(dict[int, str]):
    """What is compared instead of a letter: its Latin look-alike in lower case; a blank for all that is in no word."""

    def __missing__(self, code: int) -> str:
        if len(self) >= limits.LETTERS_KEPT:
            self.clear()
        self[code] = shown = "".join(map(_compared, plain(chr(code))))
        return shown


def _compared(letter: str) -> str:
    latin = _LATIN.get(letter, letter)
    if latin.isalnum():
        return latin
    category = unicodedata.category(latin)
    return latin if category == "Mc" else f" {latin} " if category == "So" else " "


LETTERS = _Letters()


def form(text: str) -> str:
    """The text as lists look at it, between blanks: its words, and again in each way in which they may be disguised.

    Two blanks stand between the ways, so that no phrase is found across them.
    """
    found = words = _words(text)
    if _DISGUISED.search(text):
        shown = plain(text)
        found += _words(_undisguised(shown, _LEET))
        if "1" in shown or "!" in shown or "|" in shown:
            found += _words(_undisguised(shown, _LEET_L))
    if _SPELT.search(words):
        found += _SPELT.sub(lambda run: f" {run[0].replace(' ', '')} ", words)
    return found


def _words(text: str) -> str:
    return f" {' '.join(text.translate(LETTERS).split())} "


def _undisguised(text: str, leet: dict[int, str]) -> str:
    """Each word with a letter in it read with letters for its digits and signs."""
    words = [word.rstrip(_ENDS) for word in text.split()]
    return " ".join([word.translate(leet) if word != word.upper() else word for word in words])


class Words:
    """A list of phrases with their categories, ready to be looked for."""

    __slots__ = ("_automaton", "_found")

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        made = {pattern: Found(phrase, category) for phrase, category in entries for pattern in _patterns(phrase)}
        self._found = list(made.values())
        self._automaton = AhoCorasick(list(made)) if made else None

    def __bool__(self) -> bool:
        return self._automaton is not None

    def find(self, text: str) -> list[Found]:
        """The phrases that the text has."""
        return self.find_in(form(text)) if self._automaton is not None else []

    def find_in(self, form: str) -> list[Found]:
        """The phrases that a text of this `form` has: several lists share it."""
        if self._automaton is None:
            return []
        found = [match[0] for match in self._automaton.find_matches_as_indexes(form, overlapping=True)]
        return [self._found[number] for number in dict.fromkeys(found)]


def _patterns(phrase: str) -> Iterable[str]:
    """What is looked for: the phrase between blanks, unless `*` or its script allows more letters there."""
    words = _words(phrase.strip("*")).strip()
    if not words:
        return
    before = "" if phrase.startswith("*") or _SPACELESS.match(words[0]) else " "
    after = "" if phrase.endswith("*") or _SPACELESS.match(words[-1]) else " "
    yield before + words + after


def is_phrase(phrase: str) -> bool:
    """Whether there is anything in it to look for."""
    return any(True for _ in _patterns(phrase))


@functools.lru_cache(limits.FILTERS_KEPT)
def blocked(phrases: tuple[str, ...]) -> Words:
    """The list that a room's settings have."""
    return Words((phrase, BLOCKED) for phrase in phrases)
