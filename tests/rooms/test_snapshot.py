"""A snapshot is encoded once per codec, and both say the same."""

import msgspec

from server.rooms.snapshot import encoded_snapshot
from tests.site import Site


async def test_both_codecs_say_the_same(site: Site) -> None:
    """The bytes are made once, and binary sockets get what the others get."""
    raw = await site.node.history.snapshot("demo")
    shown = encoded_snapshot("demo", raw, 5.0)
    assert (shown.seq, shown.taken_at) == (raw.seq, 5.0)
    json, packed = shown.bytes_in("json"), shown.bytes_in("msgpack")
    assert msgspec.json.decode(json) == msgspec.msgpack.decode(packed)
    assert msgspec.json.decode(json)["room_id"] == "demo"
    assert shown.bytes_in("msgpack") is packed
    assert shown.bytes_in("json") is json
