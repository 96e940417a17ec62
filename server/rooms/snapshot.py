"""A room's snapshot as newcomers get it."""

import msgspec
from msgspec import Struct

import protocol
from protocol.rooms import Viewers
from protocol.wire import Codec, Named, Rank
from server.rooms.about import about_of, shown_settings
from server.rooms.history import RawSnapshot
from server.rooms.registry import SNAPSHOT_PARTS


class EncodedSnapshot(Struct):
    """A snapshot as newcomers get it, exactly as of `seq`. It is encoded once per codec."""

    seq: int
    json: bytes
    taken_at: float
    _msgpack: bytes | None = None

    def bytes_in(self, codec: Codec) -> bytes:
        """The snapshot in a codec."""
        if codec == "json":
            return self.json
        if self._msgpack is None:
            self._msgpack = protocol.to_msgpack(self.json)
        return self._msgpack


def encoded_snapshot(room_id: str, raw: RawSnapshot, now: float) -> EncodedSnapshot:
    """The snapshot of what the store says. `now` is the loop's time."""
    about = about_of(raw.meta)
    parts = {field: part(raw.state) for field, part in SNAPSHOT_PARTS.items()}
    snapshot = protocol.SNAPSHOT(
        room_id=room_id,
        broadcast_id=about.broadcast_id,
        title=about.title,
        status=about.status,
        host=about.host,
        started_at_ms=about.started_at_ms,
        settings=shown_settings(about.settings),
        viewers=Viewers(*(int(raw.meta.get(name, 0)) for name in ("now", "peak", "unique"))),
        likes=int(raw.meta.get("likes", 0)),
        coins=int(raw.meta.get("coins", 0)),
        top=tuple(Rank(n + 1, Named(user_id, name), coins) for n, (user_id, name, coins) in enumerate(raw.board)),
        **msgspec.structs.asdict(about.details),
        **parts,
    )
    return EncodedSnapshot(raw.seq, msgspec.json.encode(snapshot), now)
