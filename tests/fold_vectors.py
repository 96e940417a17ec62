"""Records what a real server told, and the room that a newcomer then got: `python -m tests.fold_vectors` writes it.

protocol/folds/vectors.json is for every client: fold the events into the welcome's room, and compare.
"""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from server.journal import database
from server.store.embedded import ROOM, WALLET
from tests.journal.ledger import drained
from tests.program import eventually
from tests.site import Site, Viewer
from tests.stores import ValkeyProcess, settings

TARGET = Path(__file__).parents[1] / "protocol/folds/vectors.json"
Vector = dict[str, Any]
HOST = {"user_id": "creator", "name": "Creator"}


class Stage:
    """A room with its people, and an overlay that hears everything and stays when a broadcast ends."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.overlay: Viewer
        self.host: Viewer

    async def enter(self) -> None:
        self.overlay = await self.site.join("screen", "overlay")
        self.host = await self.person("creator", "host")

    async def person(self, name: str, role: str = "viewer") -> Viewer:
        return await self.site.join(name, role)

    async def order(self, path: str, body: Any = None) -> None:
        (await self.site.http.post(path, json=body)).raise_for_status()

    async def heard(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Wait until the overlay has been told of this."""
        return await self.overlay.happened(type_, **fields)

    async def counted(self, **fields: Any) -> None:
        """Wait until the counts of viewers are these."""
        await self.heard("viewers.counted", **fields)

    async def board(self, *coins: int) -> None:
        """Wait until the board has rows of so many coins."""
        await self.overlay.until(
            lambda told: [
                m for m in told if m["type"] == "board.changed" and [r["coins"] for r in m["top"]] == [*coins]
            ]
        )


async def chat_and_settings(stage: Stage) -> None:
    """What is said changes nothing of a room; its host changes title and settings, pauses and goes on."""
    alice = await stage.person("alice")
    said = await alice.ask("chat.send", text="hello @bob")
    await alice.ask("chat.send", text="again", reply_to=said["id"])
    await stage.host.ask("chat.delete", ids=[said["id"]])
    await stage.host.ask("room.set", title="Another title", settings={"slow_mode_s": 5, "links": False})
    await stage.host.ask("room.pause")
    await stage.host.ask("room.resume")
    await stage.counted(now=1, unique=1)
    await stage.heard("room.resumed")


async def gifts_and_streaks(stage: Stage) -> None:
    """Two people give, one in a streak that ends and one in a streak that runs on; a gift is taken back."""
    alice, bob = await stage.person("alice"), await stage.person("bob")
    for count in (1, 4):
        await alice.gift("rose", count, combo="tap", message="Hello!")
    lonely = await bob.gift("heart", 2)
    await bob.gift("rose", 3, anonymous=True)
    await stage.heard("gifts.combo_ended")
    async with stage.site.draining(ahead_s=5) as drain:
        await drained(drain)
        await stage.order(f"/v1/gifts/{lonely['id']}/refund", {})
        await drained(drain)
        await drain.retell_once()
    await stage.heard("gifts.refunded")
    await stage.counted(now=2, unique=2)
    await stage.board(5)
    await alice.gift("heart", 1, combo="open")
    await stage.board(10)


async def likes_and_viewers(stage: Stage) -> None:
    """People come, like, and go."""
    alice, bob = await stage.person("alice"), await stage.person("bob")
    await alice.ask("likes.send", count=7)
    await bob.ask("likes.send", count=30)
    await stage.heard("likes.counted", total=37)
    await stage.counted(now=2, peak=2)
    await bob.leave()
    await stage.counted(now=1, peak=2, unique=2)


async def goals(stage: Stage) -> None:
    """One is reached, one moves, one is removed."""
    alice = await stage.person("alice")
    for name, target in (("small", 3), ("large", 1_000), ("none", 5)):
        await stage.host.ask("goals.set", id=name, kind="coins", title=name, target=target)
    await stage.host.ask("goals.remove", id="none")
    await stage.counted(now=1)
    await alice.gift("heart", 1)
    await stage.heard("goals.reached", id="small")
    await _progressed(stage, 5)
    await stage.board(5)


def _board(message: dict[str, Any]) -> list[int] | None:
    return [row["coins"] for row in message["top"]] if message["type"] == "board.changed" else None


async def _progressed(stage: Stage, current: int) -> None:
    """All goals have this much, and everybody was told."""
    await stage.overlay.until(
        lambda told: [m for m in told if m["type"] == "goals.progressed" and _currents(m) == {current}]
    )


def _currents(message: dict[str, Any]) -> set[int]:
    return {goal["current"] for goal in (message["goal"], *message.get("others", ()))}


async def pins(stage: Stage) -> None:
    """A message and a gift are pinned, one of them is taken off again, and one for a while."""
    alice = await stage.person("alice")
    said = [await alice.ask("chat.send", text=text) for text in ("one", "two")]
    given = await alice.gift("rose", 2)
    for each in (*said, given):
        await stage.host.ask("chat.pin", id=each["id"], seconds=600)
    await stage.host.ask("chat.unpin", id=said[0]["id"])
    await stage.heard("chat.unpinned")
    await stage.counted(now=1)
    await stage.board(2)


async def another_broadcast(stage: Stage) -> None:
    """The broadcast ends and the next begins: sums are at zero, goals stay, those who are here are counted."""
    alice = await stage.person("alice")
    await stage.host.ask("goals.set", id="goal", kind="coins", title="A goal", target=100)
    await stage.counted(now=1)
    await alice.gift("rose", 5)
    await alice.ask("likes.send", count=3)
    await stage.heard("likes.counted", total=3)
    await stage.board(5)
    await stage.order("/v1/rooms/demo/end")
    await stage.heard("room.ended")
    await stage.order("/v1/rooms/demo/start")
    await stage.heard("room.updated", status="live")
    bob = await stage.person("bob")
    await bob.gift("rose", 2)
    await _progressed(stage, 7)
    await stage.board(2)
    await stage.counted(now=1, peak=1, unique=1)


SCENES: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    *(chat_and_settings, gifts_and_streaks, likes_and_viewers, goals, pins, another_broadcast),
)


async def _newcomer(stage: Stage) -> Viewer | None:
    """Somebody whose snapshot has all that was told. A node gives the same snapshot to all who come at once."""
    viewer = await stage.site.join("newcomer", "overlay")
    if viewer.welcome["seq"] >= max(message.get("seq", 0) for message in stage.overlay.told):
        return viewer
    await viewer.leave()
    return None


async def record(site: Site, scene: Callable[[Stage], Awaitable[None]]) -> Vector:
    """Play a scene, and take down what the overlay heard up to the seq at which a newcomer joined."""
    stage = Stage(site)
    await stage.enter()
    await scene(stage)
    newcomer = await eventually(lambda: _newcomer(stage), what="a snapshot of now")
    seq = newcomer.welcome["seq"]
    await stage.overlay.until(lambda told: any(message.get("seq", 0) >= seq for message in told[1:]))
    events = [message for message in stage.overlay.events() if 0 < message["seq"] <= seq]
    return {
        "name": scene.__name__,
        "about": " ".join((scene.__doc__ or "").split()),
        "welcome": stage.overlay.welcome,
        "events": events,
        "room": newcomer.welcome["room"],
    }


async def _recorded(folder: Path, stores: tuple[ValkeyProcess, ValkeyProcess]) -> list[Vector]:
    vectors = []
    for scene in SCENES:
        for store in stores:
            with store.client() as client:
                client.flushall()
        site = Site(settings(folder, **_environ(stores, folder / f"{scene.__name__}.sqlite3")))
        await site.start()
        try:
            vectors.append(await record(site, scene))
        finally:
            await site.stop()
    return vectors


def _environ(stores: tuple[ValkeyProcess, ValkeyProcess], path: Path) -> dict[str, str]:
    """A node's environment, with an empty journal."""
    engine = database.connect(f"sqlite:///{path}")
    database.migrate(engine)
    engine.dispose()
    return {
        "LIVEROOM_WALLET_URL": f"unix://{stores[0].socket}",
        "LIVEROOM_ROOM_URL": f"unix://{stores[1].socket}",
        "LIVEROOM_JOURNAL_URL": f"sqlite:///{path}",
        "LIVEROOM_LOG": "warning",
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lr-vectors-") as name:
        folder = Path(name)
        stores = ValkeyProcess(WALLET, settings(folder)), ValkeyProcess(ROOM, settings(folder))
        for store in stores:
            store.start()
        vectors = asyncio.run(_recorded(folder, stores))
        for store in stores:
            store.stop()
    TARGET.write_text("[\n" + ",\n".join(json.dumps(each) for each in vectors) + "\n]\n")


if __name__ == "__main__":
    main()
