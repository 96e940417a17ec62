"""Word lists: what is found through disguises, what is not, and the innocent words that contain bad ones."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from server import limits
from server.lookalikes import LOOKALIKES
from server.words import LETTERS, Found, Words, form, is_phrase
from tests.tree import ROOT

LIST = Words(
    [
        *(
            ("darn", "blocked"),
            ("fool*", "insult"),
            ("*wart*", "insult"),
            ("ass", "insult"),
            ("kill yourself", "threat"),
        ),
        *(
            ("STRASSE", "other"),
            ("傻瓜", "insult"),
            ("4chan", "site"),
            ("hell", "mild"),
            ("дурак", "insult"),
            ("🍆", "sexual"),
        ),
    ]
)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("darn", "darn"),
        ("Oh DARN!", "darn"),
        ("d\u00ada\u200brn", "darn"),
        ("ｄáｒｎ", "darn"),
        ("da\u0301rn", "darn"),
        ("dаrn", "darn"),  # a Cyrillic а
        ("ԁαrո", "darn"),
        ("𝖉𝖆𝖗𝖓", "darn"),
        ("d4rn", "darn"),
        ("d@rn it", "darn"),
        ("d a r n", "darn"),
        ("well, D.A.R.N it", "darn"),
        ("oh Straße!", "STRASSE"),
        ("foolish", "fool*"),
        ("stalwarts", "*wart*"),
        ("a$$", "ass"),
        ("(a55)!", "ass"),
        ("he11", "hell"),
        ("k1ll   yours3lf", "kill yourself"),
        ("KILL-YOURSELF", "kill yourself"),
        ("你是傻瓜啊", "傻瓜"),
        ("on 4chan", "4chan"),
        ("ДУРАК", "дурак"),
        ("look🍆look", "🍆"),
    ],
)
def test_what_is_found(text: str, phrase: str) -> None:
    """Case, width, accents, invisible letters, look-alikes, digits for letters and letters one by one hide nothing."""
    assert [found.phrase for found in LIST.find(text)] == [phrase]


@pytest.mark.parametrize(
    "text",
    [
        *("xdarnx", "glass", "455", "room 4 55", "class @ 5", "buffoolery", "a s", "kill, then heal yourself", "d a"),
        *("h311o", "", " ", "!!!", "👩\u200d👩\u200d👧", "killyourself"),
    ],
)
def test_what_is_not_found(text: str) -> None:
    """A phrase is whole words unless it says otherwise; a number is not one."""
    assert LIST.find(text) == []


def test_everything_that_a_text_has() -> None:
    """Each phrase once, with its category."""
    found = LIST.find("darn darn, you foolish ass")
    assert found == [Found("darn", "blocked"), Found("fool*", "insult"), Found("ass", "insult")]
    assert not Words([])
    assert Words([]).find("darn") == []


BAD = """anal arse ass butt cock coon crap cum cunt damn dick dyke fag fuk fuku hell ho homo hook horn kum nigg nig
niga penis piss pussy rape scum semen sex shit shita slut snatch spic spunk suck tit tits titt turd twat wank
whore""".split()  # noqa: SIM905


def test_innocent_words() -> None:
    """Scunthorpe and its like pass a list of what they contain, also beside digits and signs."""
    bad, innocent = Words((word, "bad") for word in BAD), (ROOT / "tests/innocent.txt").read_text().split()
    assert len(innocent) > 200
    contained = [word for word in innocent if any(one in word.lower() for one in BAD)]
    assert len(contained) > 150
    for word in innocent:
        for text in (word, word.upper(), f"{word}!", f"({word})", f"{word}, 5 of them"):
            assert bad.find(text) == [], text
    assert [bad.find(f"{one} {two}") for one, two in pairwise(innocent) if bad.find(f"{one} {two}")] == []
    assert all(bad.find(word) for word in BAD)


def test_words_of_other_scripts() -> None:
    """Everyday words of Russian and Greek do not become bad ones by their look."""
    bad = Words((word, "bad") for word in BAD)
    texts = ("привет как дела у вас", "рог нос сон рок сок тот кот мост", "καλημέρα τι κάνεις", "она его всё ещё ждёт")
    assert [text for text in texts if bad.find(text)] == []


def test_phrases_in_which_nothing_is_seen() -> None:
    """They do not count as phrases."""
    assert not any(map(is_phrase, ("", "*", "**", " ", "\u200b", "!", "* *")))
    assert all(map(is_phrase, ("a", "*a", "傻", "5")))
    assert not Words([("*", "bad"), ("!", "bad")])


def test_nothing_is_found_across_two_readings() -> None:
    """The readings of a disguised text follow each other, and no phrase is found across their border."""
    assert Words([("d4rn darn", "x"), ("b a", "x")]).find("b d4rn") == []
    assert "  " in form("d4rn")


def test_letters_are_forgotten() -> None:
    """However many different letters texts have, only so many are remembered."""
    form("".join(map(chr, range(0x4E00, 0x4E00 + limits.LETTERS_KEPT + 100))))
    assert len(LETTERS) <= limits.LETTERS_KEPT


def test_the_table_of_look_alikes() -> None:
    """It maps single letters of other scripts to Latin ones, each to one."""
    likes = "".join(likes for _, likes in LOOKALIKES)
    assert len(set(likes)) == len(likes) > 300
    assert not any(like.isascii() for like in likes)
    assert all(len(latin) == 1 and "a" <= latin <= "z" for latin, _ in LOOKALIKES)


def test_the_table_is_generated(tmp_path: Path) -> None:
    """The command writes it from lines of Unicode's form."""
    lines = "# Version: 1\n0430 ;\t0061 ;\tMA\n041D ;\t0048 ;\tMA\n0061 ;\t0062 ;\tMA\n05AD ;\t0596 ;\tMA\n"
    (tmp_path / "confusables.txt").write_text(lines)
    code = "import sys, tests.lookalikes as l, pathlib; print(l.written(pathlib.Path(sys.argv[1]).read_text()))"
    run = [sys.executable, "-c", code, str(tmp_path / "confusables.txt")]
    said = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert '("a", "\\u0430")' in said
    assert '("h", "\\u043d")' in said
    assert '("b"' not in said
