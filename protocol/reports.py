"""Reports: what viewers tell staff about messages."""

from protocol.wire import Message


class ChatReported(Message, frozen=True, kw_only=True, tag="chat.reported"):
    """To staff: so many people have reported this message, and `of_user` so often messages of this person."""

    id: str
    reports: int
    user_id: str
    of_user: int
    reason: str
