"""What becomes of a text before anybody sees it: it passes, waits for staff, or is refused.

A classifier says of which categories a text is, and how bad (1-4). The room's `automod` (0-4) says what follows.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

import structlog
from msgspec import Struct

from protocol.rooms import Settings
from server import limits
from server.words import blocked

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
    """Says of which categories a text is. It has `CLASSIFY_MS`, and may wait for another program meanwhile."""

    async def labels(self, settings: Settings, text: str) -> Sequence[Label]: ...


class WordLists:
    """The default: the room's list of blocked words."""

    async def labels(self, settings: Settings, text: str) -> Sequence[Label]:
        own = settings.blocked_words
        return [Label(OWN, WORST)] if own and blocked(own).find(text) else []


class Automod:
    """Classifiers, and what happens to a text when one is late or fails."""

    def __init__(self, *classifiers: Classifier, late: Action = "hold") -> None:
        self.classifiers = classifiers
        self._late = late

    async def verdict(self, settings: Settings, text: str) -> Verdict:
        """The strictest of what follows from all labels."""
        try:
            async with asyncio.timeout(limits.CLASSIFY_MS / 1000):
                labels = [label for each in self.classifiers for label in await each.labels(settings, text)]
        except Exception as error:  # a classifier may be anybody's program: chat goes on as it is set
            log.warning("classifier_late", error=repr(error))
            return Verdict(self._late, "unclassified", 0)
        return max((_of(settings, label) for label in labels), key=_strictness, default=PASS)


def _of(settings: Settings, label: Label) -> Verdict:
    level = min(max(label.level, 1), WORST)
    own = label.category == OWN
    return Verdict(OWN_WORDS[settings.automod] if own else ACTIONS[settings.automod][level - 1], label.category, level)


def _strictness(verdict: Verdict) -> tuple[int, int]:
    return ("pass", "hold", "refuse").index(verdict.action), verdict.level


AUTOMOD = Automod(WordLists())  # of chat, and of the messages of gifts
