"""Messages of one connection: the welcome, notices, refusals, changes of the wallet."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Raw, Struct

from protocol.refusals import Reason
from protocol.wire import Command, Message, Ok, Role


class SessionRefusal(Reason):
    """The reasons of the session itself."""

    REVOKED = "revoked", "This token was revoked."


class RefreshSession(Command, frozen=True, tag="session.refresh"):
    """A newer token of the same person, so that the socket can stay when the old one expires."""

    for_listeners: ClassVar[bool] = True
    token: Annotated[str, Meta(min_length=1, max_length=4_096)]


class RefreshSessionOk(Ok, frozen=True, tag="ok"):
    """The new token was accepted. It expires at `expires_ms`."""

    expires_ms: int


class Refuse(Message, frozen=True, kw_only=True, tag="refused"):
    """The command was not carried out. Some reasons add fields to these."""

    ref: str | None
    reason: str
    message: str
    retry_after_ms: int | None = None


class You(Struct, frozen=True, kw_only=True):
    """The person behind this socket. `coins` is null while the wallet store is away; `wallet.changed` has it later.

    Who is `muted` may not chat until `muted_until_ms`; null is the end of the broadcast.
    """

    user_id: str
    name: str
    role: Role
    coins: int | None
    muted_until_ms: int | None
    member_id: str
    muted: bool = False


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The first message. `room` is a `rooms.Snapshot` exactly as of `seq`.

    `replays` is how many events of the gap follow, marked `replayed`: gifts, and the newest chats if asked for.
    """

    protocol: int
    epoch: str
    seq: int
    resumed: bool
    gap: dict[str, int] | None
    you: You
    room: Raw
    heartbeat_s: int
    server_time_ms: int
    replays: int = 0


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Nothing else was sent for a while."""


class Cause(StrEnum):
    """Why a balance has changed. A newer server may have more causes."""

    GIFT = "gift"
    TOPUP = "topup"
    REFUND = "refund"
    CHARGEBACK = "chargeback"
    REOPENED = "reopened"

    @classmethod
    def _missing_(cls, value: object) -> "Cause":
        """Keep an unknown cause as it is."""
        other = str.__new__(cls, value)
        other._name_ = other._value_ = str(value)
        return other


class WalletChanged(Message, frozen=True, kw_only=True, tag="wallet.changed"):
    """The balance of this socket's user. `entry` is the ledger's `epoch-n`: ignore a balance with an older one.

    After a welcome without a balance, `reopened` has neither `ref` nor `entry`: any balance with an entry is newer.
    """

    coins: int
    cause: Cause
    ref: str | None
    entry: str | None


class Notice(Message, frozen=True, kw_only=True, omit_defaults=True, tag="notice"):
    """A notice about the delivery itself: chat was hidden, or the node is stopping."""

    kind: Literal["hidden", "draining"]
    count: int | None = None
    reconnect_in_ms: int | None = None
