"""Texts of people: what is taken out, what is refused, and what filters see."""

import timeit
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.text import NotSeen, clean, plain

SAME = [
    "hello",
    "Grüße aus Köln",
    "👩‍👩‍👧 family",
    "می‌خواهم",  # Persian, with a joiner
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿 flag",
    "❤️ heart with its selector",
    "שלום עולם",
    "नमस्ते",
    "ひらがな　カタカナ",
    "</script><b>",
    '"}]\\',
    "a" * 500,
]


@pytest.mark.parametrize("text", SAME)
def test_a_good_text_stays(text: str) -> None:
    """People's languages and emoji are not touched."""
    assert clean(text, 500) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (" hello ", "hello"),
        ("a\x00b\x07c\x7fd\x9be", "abcde"),
        ("one\ntwo\r\nthree\tfour\u2028five", "one two  three four five"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069\u200e\u200f\u061ca", "a"),
        ("in\u00advis\u200bi\u2060ble\ufeff", "invisible"),
        ("Cafe\u0301", "Café"),
        ("a\U000e0068\U000e0069", "a"),  # tags without a flag: a hidden text
        ("\U000e0068a\U000e0100\U000f0000", "a\U000e0100\U000f0000"),
        ("e\u200b\u0301", "é"),  # composed only once the format is gone
        ("\ufff9a\ufffbb", "ab"),
        ("x\ud83dy", "xy"),
    ],
    ids=ascii,
)
def test_what_is_taken_out(text: str, seen: str) -> None:
    """Controls, controls of direction, invisible formats, hidden tags; and it is composed."""
    assert clean(text, 500) == seen


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "\u200b", "\u200d\u200c", "\u3164\u2800", "\u00ad \ufeff", "\ufe0f", "\0", "\u115f"],
    ids=ascii,
)
def test_what_nobody_sees_is_refused(text: str) -> None:
    """A text of blanks is not a text."""
    with pytest.raises(NotSeen):
        clean(text, 500)


def test_the_length_is_of_what_is_shown() -> None:
    """Composing may make a text longer."""
    assert len(clean("\u0958" * 10, 20)) == 20
    with pytest.raises(NotSeen):
        clean("\u0958" * 11, 20)
    with pytest.raises(NotSeen):
        clean("x" * 21, 20)


@pytest.mark.parametrize(
    "disguised",
    [
        *("darn", "DARN", "ｄａｒｎ", "𝐝𝐚𝐫𝐧", "ⓓⓐⓡⓝ", "dárn", "da\u0301rn", "d\u0336a\u0336r\u0336n\u0336"),
        *("d\u00adarn", "d\u200bar\u200dn", "da\u2060rn\ufe0f"),
    ],
    ids=ascii,
)
def test_filters_see_through(disguised: str) -> None:
    """Case, width, decomposition, zero width, soft hyphens."""
    assert plain(disguised) == "darn"


def test_filters_see_the_same_word() -> None:
    """Both sides are folded, and words stay apart."""
    assert plain("STRASSE") == plain("straße")
    assert plain("İstanbul") == plain("istanbul")
    assert plain("Ελλάδα ") == plain("ΕΛΛΆΔΑ ")
    assert plain("two words") != plain("twowords")


def test_no_text_is_dear() -> None:
    """Letters that fold to eighteen, in a text as long as it may be, cost about what other letters cost."""

    def quickest_of(text: str) -> float:
        return min(timeit.repeat(lambda: plain(text), number=1, repeat=30))

    assert len(plain("\ufdfa" * 500)) == 9_000
    assert quickest_of("\ufdfa" * 500) < 4 * quickest_of("é" * 500)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """What comes out is composed, visible, without controls, and stays as it is when it comes in again."""
    try:
        seen = clean(text, 100)
    except NotSeen:
        return
    assert unicodedata.is_normalized("NFC", seen)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in seen)
    assert clean(seen, 100) == seen
    assert plain(plain(text)) == plain(text)
