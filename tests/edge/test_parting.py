"""Frames whose head comes in parts, and how a connection ends with its server."""

from protocol.closes import Close
from server.edge.socket import Connection
from tests.frames import CLOSE, MASK, Heard, Wire, feed, written_frames


async def test_a_length_in_parts() -> None:
    """A length of eight bytes is read when all of them are there: their first half is none."""
    heard, wire = Heard(), Wire()
    connection = Connection(heard, wire, "json", set())
    feed(connection, heard, [b"\x81\xff" + bytes(4)])
    assert not connection.closing
    feed(connection, heard, [(1 << 16).to_bytes(4) + MASK])
    assert written_frames(wire.written)[0][1][:2] == int(Close.TOO_BIG).to_bytes(2)


async def test_a_server_that_ends() -> None:
    """Who is still here gets the close that says so, and nobody waits for the answer."""
    heard, wire = Heard(), Wire()
    Connection(heard, wire, "json", set()).shutdown()
    assert written_frames(wire.written) == [(CLOSE, int(Close.DRAINING).to_bytes(2) + b"draining")]
    assert wire.let_go
