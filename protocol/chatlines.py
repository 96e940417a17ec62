"""What a client shows of the chat: each message once, and none that was deleted."""

from collections import OrderedDict, deque
from functools import partial
from typing import TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from protocol.chat import ChatDeleted, ChatSent
from protocol.wire import User

V = TypeVar("V")

LINES_KEPT = 200
IDS_REMEMBERED = 1_000  # of messages shown or deleted; a gap brings back the newest 50 at most


class ChatLines:
    """The newest messages, across connections and epochs."""

    def __init__(self) -> None:
        self.lines: deque[ChatSent] = deque(maxlen=LINES_KEPT)
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._gone: OrderedDict[str, int] = OrderedDict()  # people, and up to when all that they said is deleted

    def take(self, chat: ChatSent) -> bool:
        """Add a message. False if it was shown before, or deleted."""
        if chat.id in self._ids or (chat.replayed and chat.at_ms <= self._gone.get(chat.user.user_id, -1)):
            return False
        _remember(self._ids, chat.id, None)
        self.lines.append(chat)
        return True

    def delete(self, deleted: ChatDeleted) -> None:
        """Take messages away, and quotes of them. They stay away if a replay brings them later."""
        for id in deleted.ids:
            _remember(self._ids, id, None)
        for user_id in deleted.user_ids:
            _remember(self._gone, user_id, deleted.at_ms)
        kept = [line for line in self.lines if not _names(deleted, line.id, line.user)]
        self.lines.clear()
        self.lines.extend(map(partial(_without_quote, deleted), kept))


def _names(deleted: ChatDeleted, id: str, author: User) -> bool:
    return id in deleted.ids or author.user_id in deleted.user_ids


def _without_quote(deleted: ChatDeleted, line: ChatSent) -> ChatSent:
    """The message, without a quote of one that is deleted."""
    quoted = line.reply_to
    return replace(line, reply_to=UNSET) if quoted and _names(deleted, quoted.id, quoted.user) else line


def _remember(among: OrderedDict[str, V], name: str, value: V) -> None:
    among[name] = value
    if len(among) > IDS_REMEMBERED:
        among.popitem(last=False)
