"""Automod: what becomes of a text for each setting and level, and when a classifier is late or broken."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.rooms import Settings
from protocol.words import LEVELS, OTHER_LEVEL
from server import limits
from server.rooms.automod import ACTIONS, Action, Automod, Label, Verdict, WordLists
from server.words import Words
from tests.test_docs import ROOT, rows


def room_with(of_site: dict[str, str] | None = None, **settings: Any) -> Any:
    """A room with these settings, and a list of the site: phrases with their categories."""
    lists = (Words((of_site or {}).items()), Words(()))
    chosen = Settings(**settings)
    return SimpleNamespace(
        about=SimpleNamespace(settings=chosen, in_force=chosen, host=SimpleNamespace(user_id="creator")),
        services=SimpleNamespace(catalogues=SimpleNamespace(words=lambda _host: lists)),
    )


class Says:
    """A classifier with fixed labels."""

    def __init__(self, *labels: Label) -> None:
        self._labels = labels

    async def labels(self, _room: Any, _text: str) -> Sequence[Label]:
        return self._labels


class Late:
    """A classifier that does not answer."""

    async def labels(self, _room: Any, _text: str) -> Sequence[Label]:
        await asyncio.Event().wait()
        return []


class Broken:
    """A classifier that fails."""

    async def labels(self, _room: Any, _text: str) -> Sequence[Label]:
        raise OSError("away")


async def test_the_table_of_the_wire_is_what_happens() -> None:
    """Each level under each setting, and the room's own words."""
    table = rows((ROOT / "protocol/docs/held.md").read_text(), "`automod`")
    assert [int(row[0]) for row in table] == [0, 1, 2, 3, 4]
    for automod, *actions in table:
        room = room_with(automod=int(automod), blocked_words=("bad",))
        for level, action in enumerate(actions[:4], 1):
            assert (await Automod(Says(Label("x", level))).verdict(room, "x")).action == action
        assert (await Automod(WordLists()).verdict(room, "BÁD")).action == actions[4]
        assert (await Automod(WordLists()).verdict(room, "good")).action == "pass"


async def test_lists_of_the_site_have_categories() -> None:
    """Each has its level, as the wire's table says; `blocked` is refused whatever the room sets."""
    table = rows((ROOT / "protocol/docs/words.md").read_text(), "category")
    known = {name.strip(): int(level) for names, level in table[:-1] for name in names.replace("`", "").split(",")}
    assert (known, int(table[-1][1])) == (LEVELS, OTHER_LEVEL)
    phrases = {**{f"a {category} one": category for category in LEVELS}, "weird": "weird", "never": "blocked"}
    for automod in range(5):
        room = room_with(phrases, automod=automod)
        for phrase, category in phrases.items():
            verdict = await Automod(WordLists()).verdict(room, f"so {phrase.upper()}!")
            level = LEVELS.get(category, OTHER_LEVEL)
            assert verdict.action == ("refuse" if category == "blocked" else ACTIONS[automod][level - 1])
            assert verdict.action == "pass" or verdict.reason == category
    both = await Automod(WordLists()).verdict(room_with(phrases, automod=1), "weird: a hate one")
    assert both == Verdict("hold", "hate", 4)


async def test_the_strictest_label_counts() -> None:
    """And of equal ones the worse: it is the reason that staff reads."""
    automod = Automod(Says(Label("mild", 1), Label("bad", 4)), Says(Label("worse", 9), Label("none", -1)))
    assert await automod.verdict(room_with(automod=4), "x") == Verdict("refuse", "bad", 4)
    assert await automod.verdict(room_with(automod=2), "x") == Verdict("hold", "bad", 4)


@pytest.mark.parametrize("late", ["hold", "pass"])
async def test_nobody_waits_for_a_classifier(late: Action) -> None:
    """After CLASSIFY_MS, or when it fails, what is set happens."""
    began = asyncio.get_running_loop().time()
    assert await Automod(Late(), late=late).verdict(room_with(automod=1), "x") == Verdict(late, "unclassified")
    assert asyncio.get_running_loop().time() - began >= limits.CLASSIFY_MS / 1000 * 0.9
    assert (await Automod(Broken(), late=late).verdict(room_with(automod=1), "x")).action == late
    refused = await Automod(WordLists(), Broken(), late=late).verdict(room_with({"never": "blocked"}), "never")
    assert (refused.action, refused.reason) == ("refuse", "blocked")
