"""Texts of people: names, titles, chat. What everybody sees is clean, and filters see through disguises."""

import functools
import re
import unicodedata

from server import limits

# Categories of Unicode that nobody sees: controls, formats, halves of pairs, unassigned ends of lines and paragraphs.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")
# Of the formats, those that words and emoji need: joiners (Persian, families) and the tags of flags.
_JOINERS = "\u200c\u200d"
_FLAG = "\U0001f3f4"
# Letters, marks and symbols that are drawn as nothing (UAX #31, default ignorables), and the braille blank.
_BLANKS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def several(number: int, one: str, many: str = "") -> str:
    """A number and its noun: "1 day", "2,000 days". `many` is for nouns that take more than an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


class NotSeen(ValueError):
    """A text of which nobody would see anything, or that is too long once composed."""


def clean(text: str, chars_max: int) -> str:
    """The text as others see it. Raises NotSeen.

    NFC; one line; no controls; no control of direction (UAX #9), which could turn what stands after it around; no other
    invisible format but joiners. Blanks at the ends go.
    """
    if text.isascii() and text.isprintable() and (plain := text.strip()) and len(plain) <= chars_max:
        return plain
    kept = "".join(_kept(letter) for letter in text)
    if any(_is_tag(letter) for letter in kept):
        kept = _only_tags_of_flags(kept)
    kept = unicodedata.normalize("NFC", kept).strip()
    if len(kept) > chars_max or not any(_is_seen(letter) for letter in kept):
        raise NotSeen
    return kept


def plain(text: str) -> str:
    """What a filter compares: without case, width, accents, and everything that is not seen."""
    if text.isascii() and text.isprintable():
        return text.casefold()
    return "".join([_folded(letter) for letter in text])


def _is_tag(letter: str) -> bool:
    return "\U000e0020" <= letter <= "\U000e007f"


@functools.lru_cache(limits.LETTERS_KEPT)
def _kept(letter: str) -> str:
    """The letter, or what stands for it."""
    category = unicodedata.category(letter)
    if letter in "\n\r\t\v\f\x85" or category in ("Zl", "Zp"):
        return " "
    if category in ("Cc", "Cs"):
        return ""
    return letter if category != "Cf" or letter in _JOINERS or _is_tag(letter) else ""


def _only_tags_of_flags(text: str) -> str:
    """Keep tags behind a black flag and other tags: elsewhere they hide a second text."""
    kept, in_flag = [], False
    for letter in text:
        is_tag = _is_tag(letter)
        in_flag = letter == _FLAG or (in_flag and is_tag)
        if in_flag or not is_tag:
            kept.append(letter)
    return "".join(kept)


@functools.lru_cache(limits.LETTERS_KEPT)
def _is_seen(letter: str) -> bool:
    return unicodedata.category(letter) not in _UNSEEN and not _BLANKS.match(letter)


@functools.lru_cache(limits.LETTERS_KEPT)
def _folded(letter: str) -> str:
    """What a filter compares instead of the letter: one (U+FDFA) becomes 18, and a text may have 500 of it."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", letter).casefold())
    return "".join(each for each in apart if _counts(each))


def _counts(letter: str) -> bool:
    """Whether a filter looks at it: blanks between words count, marks on letters do not."""
    if letter == " ":
        return True
    return _is_seen(letter) and unicodedata.category(letter) not in ("Mn", "Me")
