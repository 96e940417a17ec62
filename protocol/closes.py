"""Why a socket was closed. 4000-4499: come back (with jitter; `since` resumes). 4500-4999: do not.

Below 4000 the codes are RFC 6455's own. 1000 and those that blame the peer are final.
"""

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
    BAD_FRAME = 1002, "protocol error"
    UNACCEPTABLE = 1003, "unacceptable data"
    BAD_TEXT = 1007, "invalid text"
    TOO_BIG = 1009, "message too big"
    DRAINING = 4001, "draining"
    SLOW_READER = 4002, "slow reader"
    TOKEN_EXPIRED = 4003, "token expired"
    UNRESPONSIVE = 4004, "unresponsive"
    INTERNAL = 4005, "internal error"
    UNAVAILABLE = 4006, "unavailable"
    TOO_MANY = 4007, "too many connections"
    ROOM_RESTARTS = 4008, "room restarts"
    BANNED = 4500, "banned or kicked"
    ROOM_ENDED = 4501, "room ended"
    PROTOCOL_ERROR = 4502, "protocol error"
    TOKEN_REVOKED = 4503, "token revoked"
    TOKEN_MISSING = 4510, "token missing"
    BAD_TOKEN = 4511, "bad token"
    WRONG_ROOM = 4512, "wrong room"
    NO_SUCH_ROOM = 4513, "no such room"

    @property
    def comes_back(self) -> bool:
        """Whether a client should connect again."""
        return comes_back(self)

    @property
    def blames(self) -> bool:
        """Whether the peer broke RFC 6455 or our rules: then nothing more of it is read."""
        return self is Close.PROTOCOL_ERROR or self in FINAL


# The codes of RFC 6455, section 7.4.1, that tell a peer that it did wrong: it would do the same again.
FINAL = frozenset({1002, 1003, 1007, 1008, 1009, 1010})


def comes_back(code: int) -> bool:
    """Whether to connect again after this close code (with jitter). Newer servers' codes keep to the same ranges."""
    return code != Close.NORMAL and code not in FINAL and not 4500 <= code <= 4999


class Closed(Exception):
    """Raised to end one socket. Only `edge.commands` turns it into the close frame."""

    def __init__(self, code: Close, reason: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.reason = code.reason if reason is None else reason
