"""What the Python client gets without a place in the room's order."""

from tests.test_client_python import ALICE, Wire, gift, wire

__all__ = ["wire"]  # the fixture


def test_what_has_no_place_in_the_order(wire: Wire) -> None:
    """A hidden person's chat and a warning come without a seq: they are returned, and the position stays."""
    wire.welcomed(7)
    hidden = {"type": "chat.sent", "id": "x", "at_ms": 1, "user": ALICE, "text": "grr", "hidden": True}
    warning = {"type": "members.warned", "text": "Be nice", "by": {"user_id": "creator", "name": "Creator"}}
    said, warned = wire.told(hidden, warning, {"type": "polls.told"})
    assert (said.text, said.hidden, warned.text, wire.client.seq, wire.client.unknown) == ("grr", True, "Be nice", 7, 1)


def test_a_test_gift(wire: Wire) -> None:
    """It is returned, and changes neither the room nor what is counted."""
    wire.welcomed(7)
    unplaced = gift(0, count=3, test=True)
    del unplaced["seq"]
    (told,) = wire.told(unplaced)
    assert (told.test, told.coins, wire.client.seq, wire.client.gifts, wire.client.room.coins) == (True, 3, 7, 0, 5)
