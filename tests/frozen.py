"""Runs a room's scripts on a store whose clock does not move: a test can say what happens at an exact moment."""

from collections.abc import Iterable, Mapping
from typing import Any

import redis

from server.store import keys
from server.store.scripts import Script, Value

ROOM = "demo"
META, EVENTS, LIVE = (keys.room(ROOM, name) for name in (keys.META, keys.EVENTS, keys.LIVE))
NOW_MS = 1_760_000_000_000
ASKS_THE_TIME = "redis.call('TIME')"


class Frozen:
    """A room store. Keys of a room that a call does not name are the room's own."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.now_ms = NOW_MS
        self._live = client.pubsub()  # type: ignore[no-untyped-call]
        self._live.subscribe(LIVE)
        self._live.get_message(timeout=5)

    def run(self, script: Script, *, each: Iterable[Mapping[str, Value]] = (), **named: Value) -> Any:
        """What the script returns."""
        own = {name: keys.room(ROOM, name) for name in script.keys if name not in named}
        defaults = {name: 1_000 for name in script.args if name == "keep" and name not in named}
        call = script(each=each, **own, **defaults, **named)
        time = f"{{'{self.now_ms // 1000}', '{self.now_ms % 1000 * 1000}'}}"
        text = script.text.replace(ASKS_THE_TIME, time)
        return self.client.eval(text, len(call.keys), *call.keys, *call.args)

    def made(self, **meta: str | int) -> None:
        """Make the room, or set more of its fields."""
        if not self.client.exists(META):
            meta = {"epoch": "e1", "seq": 0, "broadcast": "b1", "status": "live", **meta}
        self.client.hset(META, mapping=meta)

    def meta(self, *names: str) -> list[str | None]:
        return list(self.client.hmget(META, names))

    def history(self) -> list[tuple[str, str, str]]:
        """Every event: id, time, body."""
        return [(id, fields["a"], fields["b"]) for id, fields in self.client.xrange(EVENTS)]

    def bodies(self) -> list[str]:
        return [body for _, _, body in self.history()]

    def told(self) -> str | None:
        """The next message on the room's channel."""
        message = self._live.get_message(timeout=5)
        return None if message is None else str(message["data"])

    def close(self) -> None:
        self._live.close()
