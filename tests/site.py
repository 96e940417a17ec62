"""A site in this process: a node on real stores and a real port, and viewers on real sockets."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import uvicorn
import websockets
from websockets.asyncio.client import ClientConnection

from protocol.ids import uuid7
from server import limits
from server.app import Node, create_app
from server.clock import Clock
from server.edge.handshake import LiveroomWebSocket
from server.edge.patience import PatientHttp
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit
from server.journal.drain import Drain
from server.processes.retell import drain_and_retell
from server.settings import Settings
from server.store.cluster import open_store

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP only: reading certificates takes 20 ms or more
WAIT_S = 10.0


def new_gift_id(shift_ms: int = 0) -> str:
    """A gift id of now, or of this many milliseconds from now."""
    return uuid7(int(time.time() * 1000) + shift_ms)


AWAY = ("wallet_unavailable", "unavailable", "rate_limited")  # refusals that pass: a store is away, or too much came


class Viewer:
    """One socket in a room; it keeps everything it was told, in order."""

    def __init__(self, connection: ClientConnection, codec: str) -> None:
        self.connection = connection
        self.codec = codec
        self.told: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._refs = 0
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for frame in self.connection:
                messages = json.loads(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)
                assert isinstance(messages, list)
                self.told += messages
                self._news.set()
        self._news.set()

    async def until(self, found: Any, wait_s: float = WAIT_S) -> Any:
        """Wait until `found(self.told)` is true; returns its value."""
        async with asyncio.timeout(wait_s):
            while not (value := found(self.told)):
                assert not self._task.done() or self._news.is_set(), f"closed with {self.connection.close_code}"
                self._news.clear()
                if self._task.done() and not found(self.told):
                    raise AssertionError(f"closed with {self.connection.close_code}; was told {self.told[-3:]}")
                await self._news.wait()
            return value

    async def happened(self, type_: str, wait_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """The first message of this type with these fields, waiting for it if it has not come yet."""

        def first(told: list[dict[str, Any]]) -> dict[str, Any] | None:
            for message in told:
                if message["type"] == type_ and all(message.get(key) == value for key, value in fields.items()):
                    return message
            return None

        found: dict[str, Any] = await self.until(first, wait_s)
        return found

    async def tell(self, frame: Any) -> None:
        """Send a command or a list of commands without waiting."""
        data = json.dumps(frame) if self.codec == "json" else msgspec.msgpack.encode(frame)
        await self.connection.send(data)

    async def ask(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send one command and wait for its reply."""
        self._refs += 1
        ref = fields.pop("ref", f"ref-{self._refs}")
        await self.tell({"type": type_, "ref": ref, **fields})
        reply: dict[str, Any] = await self.until(
            lambda told: next((m for m in told if m["type"] in ("ok", "refused") and m.get("ref") == ref), None)
        )
        return reply

    async def insist(self, type_: str, allowed: tuple[str, ...] = AWAY, **fields: Any) -> dict[str, Any]:
        """Send one command until it gets its ok, and wait in between as each refusal asks. Only these may come."""
        while (reply := await self.ask(type_, **fields))["type"] == "refused":
            assert reply["reason"] in allowed, reply
            await asyncio.sleep(reply["retry_after_ms"] / 1000)
        return reply

    async def gift(self, gift: str = "rose", count: int = 1, **fields: Any) -> dict[str, Any]:
        """Send a gift, with a new id unless one is given."""
        return await self.ask("gifts.send", **{"id": new_gift_id(), "gift": gift, "count": count, **fields})

    async def closed(self, wait_s: float = WAIT_S) -> int:
        """Wait until the socket is closed. Returns the close code."""
        async with asyncio.timeout(wait_s):
            await asyncio.shield(self._task)  # shielded: `leave` still needs the task if this wait fails
        return self.connection.close_code or 0

    def events(self, type_: str | None = None) -> list[dict[str, Any]]:
        """Room events told so far."""
        return [
            m for m in self.told if "seq" in m and m["type"] not in ("welcome", "ok") and type_ in (None, m["type"])
        ]

    @property
    def welcome(self) -> dict[str, Any]:
        return self.told[0]

    async def leave(self) -> None:
        """Close the socket even if the test has failed; an error here would break later tests."""
        if not self._task.done():  # a viewer that has left may belong to another test's loop
            await self.connection.close()
            await asyncio.gather(self._task, return_exceptions=True)


class Server(uvicorn.Server):
    """uvicorn's server, which stops immediately; the original looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's shutdown without its tenth of a second for connections: the viewers have left already."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self.lifespan.shutdown()


class Site:
    """One node, its port, and how to talk to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.node = Node(settings)
        self.listener = socket.socket(
            proto=socket.IPPROTO_TCP
        )  # without this asyncio does not set TCP_NODELAY: 40 ms a request
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1000)
        self.port: int = self.listener.getsockname()[1]
        config = uvicorn.Config(
            create_app(self.node),
            ws=LiveroomWebSocket,
            http=PatientHttp,
            loop="asyncio",
            proxy_headers=False,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
        )
        self.server = Server(config)
        self.viewers: list[Viewer] = []
        self.url = f"http://127.0.0.1:{self.port}"
        key = {"Authorization": f"Bearer {settings.service_key}"}
        self.http = httpx.AsyncClient(base_url=self.url, headers=key, verify=NO_TLS)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self.server._serve([self.listener]))
        async with asyncio.timeout(WAIT_S):
            while not self.server.started:
                assert not self._task.done(), "the node did not start"
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        for viewer in self.viewers:
            await viewer.leave()
        await self.http.aclose()
        self.server.stopping.set()
        if self._task is not None:
            await self._task
        self.listener.close()

    def token(self, user: str, role: str = "viewer", *, ttl_s: float = 600, room: str | None = None) -> str:
        exp_s = time.time() + ttl_s
        return self.node.tokens.sign(sub=user, name=user.capitalize(), role=role, exp_s=exp_s, room=room)  # type: ignore[arg-type]

    def address(
        self, room: str = "demo", *, token: str | None = None, since: str | None = None, chats: object = None
    ) -> str:
        named = {"token": token, "since": since, "chats": chats}
        query = "&".join(f"{k}={v}" for k, v in named.items() if v is not None)
        return f"ws://127.0.0.1:{self.port}/v1/rooms/{room}/ws?{query}"

    async def join(
        self,
        user: str = "alice",
        role: str = "viewer",
        *,
        room: str = "demo",
        codec: str = "json",
        token: str | None = None,
        since: str | None = None,
        chats: object = None,
    ) -> Viewer:
        """Join a room and read the welcome."""
        connection = await websockets.connect(
            self.address(room, token=token or self.token(user, role), since=since, chats=chats),
            subprotocols=[websockets.Subprotocol(f"liveroom.v1.{codec}")],
            compression=None,
            proxy=None,
        )
        viewer = Viewer(connection, codec)
        self.viewers.append(viewer)
        await viewer.happened("welcome")
        return viewer

    async def put_room(self, room: str, *, live: bool = True, **settings: Any) -> None:
        """Create a room of host `creator`, live unless told otherwise."""
        body = {"host": {"user_id": "creator", "name": "Creator"}, "title": room, "settings": settings}
        (await self.http.put(f"/v1/rooms/{room}", json=body)).raise_for_status()
        if live:
            (await self.http.post(f"/v1/rooms/{room}/start")).raise_for_status()

    async def give_coins(self, user: str, coins: int) -> None:
        body = {"id": f"t-{new_gift_id()}", "coins": coins, "source": "test"}
        (await self.http.post(f"/v1/wallets/{user}/topups", json=body)).raise_for_status()

    async def coins(self, user: str) -> int:
        return int((await self.http.get(f"/v1/wallets/{user}")).json()["coins"])

    async def settled(self) -> None:
        """Drain everything, and check that the audit finds nothing wrong."""
        wallet = open_store("wallet", self.settings.wallet_address, AUDIT_SCRIPTS)
        await wallet.start()
        await wallet.wait_up(WAIT_S)
        drain = drain_and_retell(self.node.engine, wallet, self.node.history, self.node.clock)
        while await drain.drain_once():
            pass
        report = await Audit(self.node.engine, wallet, self.node.clock).run()
        await wallet.stop()
        assert report.ok, report.wrong
        assert report.partitions_compared == limits.WALLET_PARTITIONS
        assert report.coins_sold == report.coins_spent + report.coins_held

    @contextlib.asynccontextmanager
    async def draining(self, ahead_s: float = 0, **options: Any) -> AsyncIterator[Drain]:
        """A drain on this site's stores, with its clock ahead if wanted; the test calls its steps."""
        wallet = open_store("wallet", self.settings.wallet_address, AUDIT_SCRIPTS)
        await wallet.start()
        await wallet.wait_up(WAIT_S)
        try:
            yield drain_and_retell(
                self.node.engine, wallet, self.node.history, Clock(lambda: time.time() + ahead_s), **options
            )
        finally:
            await wallet.stop()
