"""Our own connection to a store: pipelined, with replies in the order of the calls. It never repeats a call.

When a call is cancelled, its reply is still read and dropped, so it can never reach another caller (as in
redis-py#2665). A lost connection turns every unanswered call into `StoreUnknown`: only the caller can find out what
happened. docs/decisions/0016-own-redis-client.md says why we do not use redis-py, with measurements.
"""

import asyncio
import contextlib
import math
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import hiredis
import structlog
from msgspec import Struct

from server import background, limits
from server.store import fitness
from server.store.scripts import Call, Script

log = structlog.get_logger()
Arg: TypeAlias = str | bytes | int


class StoreError(Exception):
    """A store did not carry out a call."""


class StoreDown(StoreError):
    """There is no connection, so nothing was sent."""


class StoreUnknown(StoreError):
    """The call was sent but not answered. The store may have carried it out."""


class StoreRefused(StoreError):
    """The store answered with an error. The text begins with its class, such as MISCONF or WRONGTYPE."""


class StoreUnfit(StoreError):
    """The store answers and cannot be used. The text is a sentence that says why."""


def of_one_key(error: BaseException) -> bool:
    """Whether a store refused a call because of what a key holds: calls about other keys go on."""
    return isinstance(error, StoreRefused) and str(error).startswith(("WRONGTYPE", "ERR"))


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
    """Parse `unix:///path`, `redis://user:password@host:port/db` or `rediss://..` (TLS); `valkey` works like `redis`.

    Raises ValueError.
    """
    parts = urlsplit(url)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "unix":
        return Address(unquote(parts.path, errors="surrogateescape"), "", 0, False, user, password, 0)
    if parts.scheme not in ("redis", "rediss", "valkey", "valkeys"):
        raise ValueError(f"not a store address: {parts.scheme}://...")
    db = int(parts.path.strip("/") or 0)
    tls = parts.scheme in ("rediss", "valkeys")
    return Address(None, parts.hostname or "127.0.0.1", parts.port or 6379, tls, user, password, db)


class Link(asyncio.Protocol):
    """One connection. All calls of one turn of the loop are sent in one write."""

    def __init__(self, on_push: Callable[[list[Any]], None] | None, on_lost: Callable[["Link"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._on_push = on_push
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self.heard = 0  # counts the times that data came
        self.foreign = False  # what answers does not speak a store's language

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def call(self, *args: Arg) -> asyncio.Future[Any]:
        """Send one command and return a future of its reply. Raises StoreDown when nothing was sent."""
        if self._transport is None or self._transport.is_closing():
            raise StoreDown("no connection")
        if len(self._waiting) >= limits.STORE_PENDING_MAX:
            raise StoreDown("too many calls under way")
        packed = hiredis.pack_command(cast(Any, args))  # raises for a bad argument, before anybody waits
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        return future

    def run(self, call: Call) -> asyncio.Future[Any]:
        """Run a script that is loaded on this store. Raises StoreDown when nothing was sent."""
        return self.call("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)

    def tell(self, *args: Arg) -> None:
        """Send a command that only pushes answer, such as SUBSCRIBE."""
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
        except hiredis.ProtocolError as error:
            self.foreign = True
            log.debug("store_protocol_error", error=str(error))
            self.abort()

    def _answer(self, reply: Any) -> None:
        refused = isinstance(reply, hiredis.ReplyError)
        if not self._waiting:  # perhaps an error in answer to `tell`
            log.warning("store_unasked_reply", reply=str(reply)[: limits.LOGGED_CHARS_MAX])
            self.abort()
            return
        future = self._waiting.popleft()
        if refused and str(reply).startswith("READONLY"):
            self.abort()  # no longer the primary: connect again, to the one that the address now leads to
        if future.done():  # the caller was cancelled
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
                future.exception()  # marks it as retrieved: a caller that does not wait gets no warning
        self._on_lost(self)

    def abort(self) -> None:
        """Drop the connection at once. Unanswered calls get StoreUnknown."""
        if self._transport is not None:
            self._transport.abort()


class Store:
    """A store with an address. Keeps one link up, and awaits `on_up` with each new link before anybody may call."""

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
        opening_s: float = limits.STORE_CALL_S_MAX,
        aside: bool = False,
    ) -> None:
        self.name = name
        self._loud = log.debug if aside or listens else log.error  # another link to this address says what is wrong
        self._listens = listens  # only for pushes: a silent link is dropped sooner
        self._url = url  # or a function that returns the address for each connection
        if isinstance(url, str):
            parse_address(url)  # reject a bad address immediately
        self._scripts = scripts
        self._on_up = on_up
        self._opening_s = opening_s  # how long `on_up` may take
        self._on_down = on_down
        self._on_push = on_push
        self.link: Link | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._was_lost = False
        self._stopping = False
        self._away: float | None = None  # since when the store is away; infinite once that is said
        self.refusal: str | None = None  # what it said when it last refused a connection
        self.identity = ""  # of the store's process and its replication; changes with every restart and change of role

    @property
    def up(self) -> bool:
        return self.link is not None

    def identity_at(self, _key: str) -> str:
        """The identity of the store that has this key."""
        return self.identity

    def primaries(self) -> "dict[str, Store]":
        """Every primary by its address: this store alone."""
        return {"": self}

    @property
    def away(self) -> int:
        """How many primaries do not answer. This store is the only one, so its calls say so."""
        return 0

    async def start(self) -> None:
        """Start to connect, and stay connected until `stop`."""
        self._task = background.forever(f"store-{self.name}", self._keep_up)

    async def stop(self) -> None:
        self._stopping = True
        try:
            await background.end(self._task)
        finally:  # also when who waits is cancelled meanwhile: nobody else knows of the link
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
        """Run a script. A store that does not know it has run nothing, so send it again with its text."""
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
                if (why := _why_unfit(error)) is not None:
                    self._note_refusal(why)
                else:
                    self._note_away(error)
            except Exception:  # from `on_up`: it must not end the attempts to connect
                log.exception("store_cannot_open", store=self.name)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.STORE_RETRY_S_MAX)

    def _note_away(self, error: Exception) -> None:
        """Say once in an outage that the store is away, when that lasts: all parts of a site may start together."""
        now_s = asyncio.get_running_loop().time()
        self._away = now_s if self._away is None else self._away
        lasts = now_s - self._away > limits.STORE_AWAY_S
        (log.warning if lasts else log.debug)("store_away", store=self.name, error=str(error) or "it does not answer")
        if lasts:
            self._away = math.inf

    def _note_refusal(self, why: str) -> None:
        """Say once that the store lets us connect, but not go on: its password, a right, its kind or its version."""
        if why != self.refusal:
            self._loud("store_refuses", store=self.name, why=why)
        self.refusal = why

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
                try:
                    await self._greet(link, at)
                except StoreUnknown:
                    raise (StoreUnfit(fitness.FOREIGN) if link.foreign else StoreDown(fitness.SILENT)) from None
            if self._on_up is not None:
                async with asyncio.timeout(self._opening_s):
                    await self._on_up(link)
        except BaseException:
            link.abort()
            raise
        self.link, self.refusal, self._away = link, None, None
        self._up.set()
        (log.info if self._was_lost else log.debug)("store_up", store=self.name)

    async def _greet(self, link: Link, at: Address) -> None:
        hello: list[Arg] = ["HELLO", 3]
        if at.password:
            hello += ["AUTH", at.user or "default", at.password]
        await link.call(*hello)
        if at.db:
            await link.call("SELECT", at.db)
        info = cast(bytes, await link.call("INFO", "everything")).decode(errors="replace")  # it has paths
        about = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        if (why := fitness.unfit(about)) is not None:
            raise StoreUnfit(why)
        self.identity = f"{about.get('run_id', '').strip()}:{about.get('master_replid', '').strip()}"
        for script in self._scripts:
            await link.call("SCRIPT", "LOAD", script.text)

    async def _watch(self) -> None:
        """Watch the link until it is lost: ping it when it is idle, and drop it when it is silent for too long.

        A host that disappears silently ends no connection: TCP alone takes a quarter of an hour to notice.
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
            log.warning("store_lost", store=self.name, **({"garbled": True} if link.foreign else {}))
        if self._on_down is not None:
            self._on_down()


def _why_unfit(error: Exception) -> str | None:
    """Why the store cannot be used until a person changes something, or None when it may be soon."""
    if isinstance(error, StoreRefused):
        return fitness.refused(str(error))
    return str(error) if isinstance(error, StoreUnfit) else None


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Retrieve the exception, if any: even a refusal shows that the store is alive."""
    if not future.cancelled():
        future.exception()
