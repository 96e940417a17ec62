"""Held messages: those that nobody sees before staff has decided."""

from protocol.refusals import Reason
from protocol.wire import Message, Named, User


class HeldRefusal(Reason):
    """The reasons of held messages."""

    ALREADY_DECIDED = "already_decided", "Somebody has decided about this message already."
    ALREADY_EDITED = "already_edited", "A held message can be edited once."


class ChatHeld(Message, frozen=True, kw_only=True, tag="chat.held"):
    """To staff: this message waits for a decision. `reason` is what it was held for, `level` how bad that is (1-4).

    `edit_of` is the held message whose place it took; `reported` the message that viewers reported, which it is.
    """

    id: str
    user: User
    text: str
    reason: str
    level: int
    held_at_ms: int
    edit_of: str | None = None
    reported: str | None = None


class ChatResolved(Message, frozen=True, kw_only=True, tag="chat.resolved"):
    """To staff and the sender: a held message is `approved`, `denied`, `edited` or `expired`.

    `by` is null if nobody did it.
    """

    id: str
    decision: str
    by: Named | None
