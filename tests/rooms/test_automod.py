"""Automod: what becomes of a text for each setting and level, and when a classifier is late or broken."""

import asyncio
from collections.abc import Sequence

import pytest

from protocol.rooms import Settings
from server import limits
from server.rooms.automod import Action, Automod, Label, Verdict, WordLists
from tests.test_docs import ROOT, rows


class Says:
    """A classifier with fixed labels."""

    def __init__(self, *labels: Label) -> None:
        self._labels = labels

    async def labels(self, _settings: Settings, _text: str) -> Sequence[Label]:
        return self._labels


class Late:
    """A classifier that does not answer."""

    async def labels(self, _settings: Settings, _text: str) -> Sequence[Label]:
        await asyncio.Event().wait()
        return []


class Broken:
    """A classifier that fails."""

    async def labels(self, _settings: Settings, _text: str) -> Sequence[Label]:
        raise OSError("away")


async def test_the_table_of_the_wire_is_what_happens() -> None:
    """Each level under each setting, and the room's own words."""
    table = rows((ROOT / "protocol/docs/held.md").read_text(), "`automod`")
    assert [int(row[0]) for row in table] == [0, 1, 2, 3, 4]
    for automod, *actions in table:
        settings = Settings(automod=int(automod), blocked_words=("bad",))
        for level, action in enumerate(actions[:4], 1):
            assert (await Automod(Says(Label("x", level))).verdict(settings, "x")).action == action
        assert (await Automod(WordLists()).verdict(settings, "BÁD")).action == actions[4]
        assert (await Automod(WordLists()).verdict(settings, "good")).action == "pass"


async def test_the_strictest_label_counts() -> None:
    """And of equal ones the worse: it is the reason that staff reads."""
    automod = Automod(Says(Label("mild", 1), Label("bad", 4)), Says(Label("worse", 9), Label("none", -1)))
    assert await automod.verdict(Settings(automod=4), "x") == Verdict("refuse", "bad", 4)
    assert await automod.verdict(Settings(automod=2), "x") == Verdict("hold", "bad", 4)


@pytest.mark.parametrize("late", ["hold", "pass"])
async def test_nobody_waits_for_a_classifier(late: Action) -> None:
    """After CLASSIFY_MS, or when it fails, what is set happens."""
    began = asyncio.get_running_loop().time()
    assert await Automod(Late(), late=late).verdict(Settings(automod=1), "x") == Verdict(late, "unclassified")
    assert asyncio.get_running_loop().time() - began >= limits.CLASSIFY_MS / 1000 * 0.9
    assert (await Automod(Broken(), late=late).verdict(Settings(automod=1), "x")).action == late
