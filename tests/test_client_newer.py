"""The Python client and a newer server: values and fields that it does not know cost it nothing that it does."""

from typing import Any

import msgspec
import pytest

import protocol
from protocol import lenient
from protocol.chat import ChatSent
from protocol.gifts import GiftSent
from protocol.session import Notice, WalletChanged, Welcome
from tests.test_client_python import ALICE, ROSE, Wire, chat, gift, welcome, wire

__all__ = ["wire"]

GUEST = {**ALICE, "role": "guest"}


def test_an_unknown_role_or_animation_keeps_its_event(wire: Wire) -> None:
    """The value stays as it came; money counts."""
    wire.welcomed(7)
    ridden = {**ROSE, "animation": {**ROSE["animation"], "kind": "hologram"}}
    said, given = wire.told(chat(8, user=GUEST), gift(9, gift=ridden, to=GUEST))
    assert isinstance(said, ChatSent)
    assert isinstance(given, GiftSent)
    assert (said.user.role, given.gift.animation.kind, given.to.role) == ("guest", "hologram", "guest")
    assert (wire.client.gift_coins, wire.client.unknown) == (3, 0)
    assert wire.client.room is not None
    assert wire.client.room.coins == 8


def test_an_unknown_status_role_or_cause_keeps_the_welcome_and_the_messages(wire: Wire) -> None:
    """So is it with the room's status, one's own role, a balance's cause and the kind of a notice."""
    you = {**welcome()["you"], "role": "guest"}
    (came,) = wire.told(welcome(7, you=you, room={"status": "rehearsing"}))
    assert isinstance(came, Welcome)
    assert wire.client.room is not None
    assert (wire.client.room.status, came.you.role) == ("rehearsing", "guest")
    changed = {"type": "wallet.changed", "coins": 9, "cause": "lottery", "ref": "r", "entry": "1-1"}
    balance, notice = wire.told(changed, {"type": "notice", "kind": "weather"})
    assert isinstance(balance, WalletChanged)
    assert isinstance(notice, Notice)
    assert (str(balance.cause), notice.kind) == ("lottery", "weather")


@pytest.mark.parametrize(
    "broken", [{"user": {**GUEST, "name": 7}}, {"user": {"role": "guest"}}, {"user": {**GUEST, "user_id": "a:b"}}]
)
def test_what_is_wrong_otherwise_stays_wrong(wire: Wire, broken: dict[str, Any]) -> None:
    """Only lists of values are open: a wrong type, a missing field or an id with a colon is unknown as before."""
    wire.welcomed(7)
    assert wire.told(chat(8, **broken)) == []
    assert wire.client.unknown == 1


def test_what_may_be_several_things_is_the_first_that_fits() -> None:
    """A pin is by somebody or by nobody, and keeps its event as it came; a null where none may be is wrong."""
    for by in (GUEST, None):
        pin = {"id": "p", "event": chat(1, user=GUEST), "by": by, "until_ms": None}
        told = protocol.convert_event({"type": "chat.pinned", "id": "e", "seq": 2, "at_ms": 1, "pin": pin})
        assert msgspec.to_builtins(told)["pin"]["event"]["user"]["role"] == "guest"
    with pytest.raises(msgspec.ValidationError):
        lenient.convert({"type": "notice", "kind": None}, Notice)
