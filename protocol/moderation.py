"""Moderation: the one stream of everything that staff does."""

from typing import Any

from protocol.wire import Message, Named


class ModerationActed(Message, frozen=True, kw_only=True, tag="moderation.acted"):
    """To staff: `by` did `act` to `user_id`. `act` is the command's type; `data` has what else it said."""

    id: str
    at_ms: int
    act: str
    by: Named
    user_id: str | None
    reason: str
    data: dict[str, Any]
