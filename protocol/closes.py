"""Why a socket was closed. 4000-4499: come back (with jitter; `since` resumes). 4500-4999: do not."""

from enum import IntEnum


class Close(IntEnum):
    """WebSocket close codes (RFC 6455, section 7.4; 4000-4999 are ours) with the reason text sent along."""

    reason: str

    def __new__(cls, code: int, reason: str) -> "Close":
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    NORMAL = 1000, ""
    GOING_AWAY = 1001, "going away"
    DRAINING = 4001, "draining"
    SLOW_READER = 4002, "slow reader"
    TOKEN_EXPIRED = 4003, "token expired"
    UNRESPONSIVE = 4004, "unresponsive"
    INTERNAL = 4005, "internal error"
    BANNED = 4500, "banned or kicked"
    ROOM_ENDED = 4501, "room ended"
    PROTOCOL_ERROR = 4502, "protocol error"
    TOKEN_REVOKED = 4503, "token revoked"

    @property
    def comes_back(self) -> bool:
        """Whether a client should connect again."""
        return self < 4500 and self is not Close.NORMAL


class Closed(Exception):
    """Raised to end one socket. Only `edge.commands` turns it into the close frame."""

    def __init__(self, code: Close, reason: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.reason = code.reason if reason is None else reason
