"""Our own connection to a store: pipelined, replies in the order of the calls, and no call is ever made twice.

A call that was cancelled leaves its reply to be read and dropped, so no reply can reach another caller
(redis-py#2665 was that accident). A lost connection makes every unanswered call `StoreUnknown`: only who sent it
can know how to find out. Why it is not redis-py, with the measurement: docs/decisions/0016-own-redis-client.md.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import hiredis
import structlog
from msgspec import Struct

from server import background, limits
from server.store.scripts import Script

log = structlog.get_logger()
Arg: TypeAlias = str | bytes | int


class StoreError(Exception):
    """A store did not do what was asked."""


class StoreDown(StoreError):
    """There is no connection: nothing was sent."""


class StoreUnknown(StoreError):
    """The call was sent and no answer came: it may have been carried out."""


class StoreRefused(StoreError):
    """The store answered with an error; the text begins with its class, such as MISCONF or WRONGTYPE."""


class Address(Struct, frozen=True):
    """Where a store is: a unix path, or host and port."""

    path: str | None
    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    db: int


def parse_address(url: str) -> Address:
    """`unix:///path`, `redis://user:password@host:port/db`, `rediss://..` (TLS); `valkey` works like `redis`."""
    parts = urlsplit(url)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "unix":
        return Address(unquote(parts.path), "", 0, False, user, password, 0)
    if parts.scheme not in ("redis", "rediss", "valkey", "valkeys"):
        raise ValueError(f"not a store address: {parts.scheme}://...")
    db = int(parts.path.strip("/") or 0)
    tls = parts.scheme in ("rediss", "valkeys")
    return Address(None, parts.hostname or "127.0.0.1", parts.port or 6379, tls, user, password, db)


class Link(asyncio.Protocol):
    """One connection. Calls of one turn of the loop leave in one write."""

    def __init__(self, on_push: Callable[[list[Any]], None] | None, on_lost: Callable[["Link"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._on_push = on_push
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self.heard = 0  # how often something came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def call(self, *args: Arg) -> asyncio.Future[Any]:
        """Send one command; the future has its reply. Raises StoreDown when nothing was sent."""
        if self._transport is None or self._transport.is_closing():
            raise StoreDown("no connection")
        if len(self._waiting) >= limits.STORE_PENDING_MAX:
            raise StoreDown("too many calls under way")
        packed = hiredis.pack_command(cast(Any, args))  # raises for what is no argument: then nobody waits
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        return future

    def tell(self, *args: Arg) -> None:
        """Send a command that is answered by pushes alone: SUBSCRIBE and its kind."""
        if self._transport is None or self._transport.is_closing():
            raise StoreDown("no connection")
        packed = hiredis.pack_command(cast(Any, args))
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        self.heard += 1
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if type(reply) is hiredis.PushNotification:
                    if self._on_push is not None:
                        self._on_push(reply)
                    continue
                self._answer(reply)
        except hiredis.ProtocolError:
            log.exception("store_protocol_error")
            self.abort()

    def _answer(self, reply: Any) -> None:
        refused = isinstance(reply, hiredis.ReplyError)
        if not self._waiting:  # to what is answered by pushes alone, or by an error
            log.warning("store_unasked_reply", reply=str(reply)[: limits.LOGGED_CHARS_MAX])
            self.abort()
            return
        future = self._waiting.popleft()
        if refused and str(reply).startswith("READONLY"):
            self.abort()  # a primary once: who is it now is asked at the address, and that one is opened anew
        if future.done():  # its caller was cancelled
            return
        if refused:
            future.set_exception(StoreRefused(str(reply)))
        else:
            future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._out.clear()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(StoreUnknown("the connection was lost"))
                future.exception()  # whoever waits gets it; who sent without waiting is not warned of
        self._on_lost(self)

    def abort(self) -> None:
        """Drop the connection at once; what is unanswered becomes unknown."""
        if self._transport is not None:
            self._transport.abort()


class Store:
    """A store by its address: keeps one link up, and says so through `on_up` before anybody may call."""

    def __init__(
        self,
        name: str,
        url: str | Callable[[], str],
        *,
        scripts: Sequence[Script] = (),
        on_up: Callable[["Link"], Awaitable[None]] | None = None,
        on_down: Callable[[], None] | None = None,
        on_push: Callable[[list[Any]], None] | None = None,
        listens: bool = False,
    ) -> None:
        self.name = name
        self._listens = listens  # nothing is asked of it: a link is dropped sooner when it falls silent
        self._url = url  # or who says it, anew for each connection
        if isinstance(url, str):
            parse_address(url)  # what is none is told at once
        self._scripts = scripts
        self._on_up = on_up
        self._on_down = on_down
        self._on_push = on_push
        self.link: Link | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._was_lost = False
        self._stopping = False
        self.identity = ""  # of the store's process and its part in replication: another with every change of role

    @property
    def up(self) -> bool:
        return self.link is not None

    def identity_at(self, _key: str) -> str:
        """The identity of the store that has this key."""
        return self.identity

    async def start(self) -> None:
        """Begin to connect, and go on as long as the store is wanted."""
        self._task = background.forever(f"store-{self.name}", self._keep_up)

    async def stop(self) -> None:
        self._stopping = True
        await background.end(self._task)
        if self.link is not None:
            self.link.abort()

    async def wait_up(self, timeout_s: float) -> None:
        """Wait for the connection. Raises StoreDown."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            raise StoreDown(f"the {self.name} store does not answer") from None

    def send(self, *args: Arg) -> asyncio.Future[Any]:
        """Send one command now, in order with the others. Raises StoreDown."""
        if self.link is None:
            raise StoreDown(f"the {self.name} store is away")
        return self.link.call(*args)

    async def call(self, *args: Arg) -> Any:
        """Send one command and wait for its reply. Raises StoreError."""
        return await self.send(*args)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a script. A store that does not know it has run nothing, so it is sent again with its text."""
        script.check(keys, args)
        try:
            return await self.send("EVALSHA", script.sha, len(keys), *keys, *args)
        except StoreRefused as refused:
            if not str(refused).startswith("NOSCRIPT"):
                raise
        return await self.send("EVAL", script.text, len(keys), *keys, *args)

    async def _keep_up(self) -> None:
        pause_s = limits.STORE_RETRY_S
        while not self._stopping:
            try:
                await self._connect_once()
                pause_s = limits.STORE_RETRY_S
                await self._watch()
            except (OSError, StoreError, TimeoutError) as error:
                log.debug("store_away", store=self.name, error=str(error))
            except Exception:  # of whoever looks at a new connection: it must not end the trying
                log.exception("store_cannot_open", store=self.name)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.STORE_RETRY_S_MAX)

    async def _connect_once(self) -> None:
        loop = asyncio.get_running_loop()
        self._lost = asyncio.Event()
        at = parse_address(self._url if isinstance(self._url, str) else self._url())
        made = lambda: Link(self._on_push, self._on_lost)  # noqa: E731
        connect: Any
        if at.path is not None:
            connect = loop.create_unix_connection(made, at.path)
        else:
            tls = ssl.create_default_context() if at.tls else None
            connect = loop.create_connection(made, at.host, at.port, ssl=tls)
        async with asyncio.timeout(limits.STORE_CONNECT_S):
            _, link = await connect
        try:
            async with asyncio.timeout(limits.STORE_CALL_S_MAX):
                await self._greet(link, at)
        except BaseException:
            link.abort()
            raise
        self.link = link
        self._up.set()
        (log.info if self._was_lost else log.debug)("store_up", store=self.name)

    async def _greet(self, link: Link, at: Address) -> None:
        hello: list[Arg] = ["HELLO", 3]
        if at.password:
            hello += ["AUTH", at.user or "default", at.password]
        await link.call(*hello)
        if at.db:
            await link.call("SELECT", at.db)
        info = cast(bytes, await link.call("INFO", "everything")).decode()
        about = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        self.identity = f"{about.get('run_id', '').strip()}:{about.get('master_replid', '').strip()}"
        for script in self._scripts:
            await link.call("SCRIPT", "LOAD", script.text)
        if self._on_up is not None:
            await self._on_up(link)

    async def _watch(self) -> None:
        """Until the link is lost: ask for a sign of life when it is idle, drop it when it is silent for too long.

        A host that is gone without a word ends no connection: TCP alone would take a quarter of an hour to notice.
        """
        link = self.link
        assert link is not None
        heard, since = link.heard, 0.0
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.STORE_PING_S):  # in 3.11 wait_for may swallow a cancellation
                    await self._lost.wait()
            since = since + limits.STORE_PING_S if link.pending and link.heard == heard else 0.0
            heard = link.heard
            if since >= (limits.BUS_SILENT_S if self._listens else limits.STORE_CALL_S_MAX):
                log.warning("store_silent", store=self.name, pending=link.pending)
                link.abort()
            elif not link.pending:
                with contextlib.suppress(StoreDown):
                    link.call("PING").add_done_callback(_retrieve)

    def _on_lost(self, link: Link) -> None:
        self._lost.set()
        if link is not self.link:
            return
        self.link = None
        self._up.clear()
        self._was_lost = True
        if not self._stopping:
            log.warning("store_lost", store=self.name)
        if self._on_down is not None:
            self._on_down()


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Any answer is a sign of life, a refusal too."""
    if not future.cancelled():
        future.exception()
