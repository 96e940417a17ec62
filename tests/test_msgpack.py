"""Frames of msgpack: what only their bytes show."""

import pytest

from protocol import BadCommand, careful, decode_commands
from protocol.ping import Ping


@pytest.mark.parametrize("head", [b"\x84", b"\xde\0\4", b"\xdf\0\0\0\4"], ids=["map", "map 16", "map 32"])
@pytest.mark.parametrize("again", [b"\xa5count\x05", b"\xd9\5count\x05"], ids=["alike", "as a long text"])
def test_a_key_twice_in_msgpack(head: bytes, again: bytes) -> None:
    """As in JSON: that command is refused with its ref, alone or between others."""
    doubled = head + b"\xa4type\xaalikes.send\xa3ref\xa1r\xa5count\x01" + again
    bad = BadCommand("r", careful.DOUBLED)
    assert decode_commands("msgpack", doubled) == [bad]
    ping = b"\x81\xa4type\xa4ping"
    assert decode_commands("msgpack", b"\x93" + ping + doubled + ping) == [Ping(), bad, Ping()]
