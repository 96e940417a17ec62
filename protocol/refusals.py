"""Why a command was refused. The socket stays open, and the reply has the reason."""

from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Reasons, each with a sentence for people. Names never change; new ones may be added.

    A feature defines its own in a subclass, in its module. `protocol.REASONS` has all of them.
    """

    sentence: str

    def __new__(cls, reason: str, sentence: str) -> "Reason":
        member = str.__new__(cls, reason)
        member._value_ = reason
        member.sentence = sentence
        return member


class Refusal(Reason):
    """The reasons of the room, of chat and of money."""

    BAD_COMMAND = "bad_command", "The command is malformed."
    NOT_ALLOWED = "not_allowed", "Your role may not do this."
    RATE_LIMITED = "rate_limited", "Too many commands; try again a little later."
    BAD_TOKEN = "bad_token", "The token is not valid for this session."
    ROOM_NOT_LIVE = "room_not_live", "The room is not live."
    UNAVAILABLE = "unavailable", "The room is unavailable for a moment; try again."
    MUTED = "muted", "You are muted in this room."
    SLOW_MODE = "slow_mode", "Slow mode is on; wait before the next message."
    BLOCKED_WORDS = "blocked_words", "The message has words that this room does not allow."
    FOLLOWERS_ONLY = "followers_only", "Only followers may chat here."
    CHAT_OFF = "chat_off", "Chat is switched off in this room."
    DUPLICATE_TEXT = "duplicate_text", "You have just sent the same message."
    INSUFFICIENT_COINS = "insufficient_coins", "Not enough coins for this gift."
    UNKNOWN_GIFT = "unknown_gift", "There is no such gift in the catalogue."
    GIFTS_OFF = "gifts_off", "Gifts are switched off in this room."
    CONFLICT = "conflict", "This gift id was used before for another gift."
    EXPIRED_ID = "expired_id", "The gift id's time is too far from now; make a new gift with a new id."
    SELF_GIFT = "self_gift", "You cannot send gifts to yourself."
    RECEIVER_NOT_ELIGIBLE = "receiver_not_eligible", "This person cannot receive gifts here."
    SPEND_LIMIT = "spend_limit", "The spend limit is reached."
    WALLET_FROZEN = "wallet_frozen", "This wallet is frozen."
    WALLET_UNAVAILABLE = "wallet_unavailable", "Gifts are unavailable for a moment; retry with the same id."
    UNKNOWN_USER = "unknown_user", "There is no such person in this room."


class Refused(Exception):
    """Features raise this; `edge.commands` turns it into the reply `refused`. `data` has the reason's extra fields."""

    def __init__(self, reason: Reason, *, retry_after_ms: int | None = None, **data: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_ms = retry_after_ms
        self.data = data
