"""What becomes of a text before anybody sees it: it passes, waits for staff, or is refused.

A classifier says of which categories a text is, and how bad (1-4). The room's `automod` (0-4) says what follows.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

import structlog
from msgspec import Struct

from protocol.words import LEVELS, OTHER_LEVEL
from server import limits
from server.rooms.room import Room
from server.rooms.saying import form_of, found_in
from server.words import BLOCKED, blocked

log = structlog.get_logger()
Action = Literal["pass", "hold", "refuse"]
WORST = 4
# By `automod`: what happens to a text of level 1, 2, 3, 4.
ACTIONS: tuple[tuple[Action, Action, Action, Action], ...] = (
    ("pass", "pass", "pass", "pass"),
    ("pass", "pass", "pass", "hold"),
    ("pass", "pass", "hold", "hold"),
    ("pass", "hold", "hold", "refuse"),
    ("hold", "hold", "refuse", "refuse"),
)
# Words of the room's own list: without automod they are refused; staff that reads held messages decides itself.
OWN_WORDS: tuple[Action, ...] = ("refuse", "hold", "hold", "refuse", "refuse")
OWN = "blocked_words"


class Label(Struct, frozen=True):
    """A category that a text is of, and how bad it is: 1 to 4."""

    category: str
    level: int


class Verdict(Struct, frozen=True):
    """What becomes of a text, and why."""

    action: Action
    reason: str = ""
    level: int = 0


PASS = Verdict("pass")


class Classifier(Protocol):
    """Says of which categories a text is. It has `CLASSIFY_MS`, and may wait for another program meanwhile.

    The room says for whom: its host, settings and language, and the word lists that hold in it.
    """

    async def labels(self, room: Room, text: str) -> Sequence[Label]: ...


class WordLists:
    """The default: the lists of the site, the host and the room."""

    async def labels(self, room: Room, text: str) -> Sequence[Label]:
        categories = dict.fromkeys(found.category for found in found_in(room, text, own=False))
        labels = [Label(each, WORST if each == BLOCKED else LEVELS.get(each, OTHER_LEVEL)) for each in categories]
        own = room.about.settings.blocked_words
        return [*labels, Label(OWN, WORST)] if own and blocked(own).find_in(form_of(text)) else labels


class Automod:
    """Classifiers, and what happens to a text when one is late or fails."""

    def __init__(self, *classifiers: Classifier, late: Action = "hold") -> None:
        self.classifiers = classifiers
        self._late = late

    async def verdict(self, room: Room, text: str) -> Verdict:
        """The strictest of what follows from all labels; of those until then, when a classifier is late or fails."""
        labels: list[Label] = []
        verdict = PASS
        try:
            async with asyncio.timeout(limits.CLASSIFY_MS / 1000):
                for each in self.classifiers:
                    labels += await each.labels(room, text)
        except Exception as error:  # a classifier may be anybody's program: chat goes on as it is set
            log.warning("classifier_late", error=repr(error))
            verdict = Verdict(self._late, "unclassified", 0)
        automod = room.about.in_force.automod
        return max((verdict, *(_of(automod, label) for label in labels)), key=_strictness)


def _of(automod: int, label: Label) -> Verdict:
    level = min(max(label.level, 1), WORST)
    action = ACTIONS[automod][level - 1]
    if label.category == OWN:
        action = OWN_WORDS[automod]
    elif label.category == BLOCKED:  # in every room, whatever it sets
        action = "refuse"
    return Verdict(action, label.category, level)


def _strictness(verdict: Verdict) -> tuple[int, int]:
    return ("pass", "hold", "refuse").index(verdict.action), verdict.level


AUTOMOD = Automod(WordLists())  # of chat, and of the messages of gifts
