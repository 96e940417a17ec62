"""A client for asyncio: joins a room, stays in it, sends commands, and gives what happens as typed events.

async with join("https://live.example", "demo", token=get_token) as room:
    async for told in room:  # Welcome, ChatSent, GiftSent, Missed, Lost, ...
        if isinstance(told, ChatSent) and told.text == "!rose":
            await room.gift("rose")
"""

import asyncio
import contextlib
import time
from typing import Any, Self, cast

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

import protocol
from protocol import lenient
from protocol.chat import SendChat, SendChatOk
from protocol.client import Answered, Frame, Lost, RoomClient, Told
from protocol.closes import Close, comes_back
from protocol.connecting import Backoff, End, Refused, Tokens, TokenSource, end_of_close, end_of_status, reason_of
from protocol.connecting import socket_address as _address
from protocol.gifts import SendGift, SendGiftOk
from protocol.likes import SendLikes
from protocol.news import News
from protocol.ping import Ping, PingOk
from protocol.session import Heartbeat, Notice, RefreshSession, Welcome
from protocol.unanswered import QueueFull
from protocol.wire import Codec, Command, Ok

OPEN_S = 10.0
CLOSE_S = 2.0
GIFT_S = 120.0  # a gift waits this long for its reply, over reconnects
SLACK_S = 5.0  # after a heartbeat's time of silence the server is asked, and has this long to answer
NEWS_MAX = 10_000  # what may wait for its handler; beyond it nothing more is read while no reply is awaited
FRAME_BYTES_MAX = 2**24

__all__ = ["Refused", "Room", "join"]


class Room:
    """One person in one room, over any number of connections. `client` has the room as it is, and who you are."""

    def __init__(
        self,
        base: str,
        room: str,
        *,
        token: TokenSource,
        chats: int = 0,
        since: str | None = None,
        codec: Codec = "json",
        timeout_s: float = 10.0,
        **options: Any,
    ) -> None:
        _address(base, room, "")  # a mistake in them is an error of this call
        self.client = RoomClient(_running_ms, codec=codec, chats=chats, since=since)
        self._where = base, room
        self._tokens = Tokens(token)
        self._timeout_s = timeout_s
        self._options = options
        self._backoff = Backoff()
        self._socket: ClientConnection | None = None  # once the welcome has come
        self._replies: dict[str, asyncio.Future[Answered]] = {}
        self._task: asyncio.Task[None] | None = None
        self._heartbeat_s = 25.0
        self._leave_at: float | None = None  # a node that stops says when to go to another
        self._turned = asyncio.Event()  # into live, or out for good
        self._over: str | None = None
        self._news: News[Told | Lost] = News(since)

    # --- joining and leaving -----------------------------------------------------------------------------------
    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave for good. Commands without a reply are refused with `closed`."""
        task, self._task = self._task, None
        socket = self._socket
        self._end("closed")
        if socket is not None:
            await socket.close()
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def ready(self) -> Self:
        """Wait until it is live. Raises Refused, whose reason says why it is out for good."""
        while self._socket is None:
            if self._over is not None:
                raise Refused(self._over)
            self._turned.clear()
            await self._turned.wait()
        return self

    @property
    def live(self) -> bool:
        return self._socket is not None

    # --- what happens ------------------------------------------------------------------------------------------
    @property
    def since(self) -> str | None:
        """Where to resume after a restart of yours: behind the last event that your loop is through with."""
        return self._news.since

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Told | Lost:
        return await self._news.next()

    # --- commands ----------------------------------------------------------------------------------------------
    async def send(self, command: Command, *, timeout_s: float | None = None) -> Ok:
        """Send a command; while there is no connection it waits for one. Returns its ok. Raises Refused.

        A gift is sent again after a lost connection, with its id. Anything else is sent once at most.
        """
        gift_id = command.id if isinstance(command, SendGift) else None
        asked = await self._ask(command, gift_id)
        patience_s = GIFT_S if gift_id else self._timeout_s
        try:
            async with asyncio.timeout(patience_s if timeout_s is None else timeout_s):
                answered = await self._replies[str(asked.ref)]
        except TimeoutError:
            said = self.client.give_up(asked.ref)
            raise Refused("timeout" if said else "not_connected", id=gift_id) from None
        finally:
            self.client.give_up(asked.ref)
            self._replies.pop(str(asked.ref), None)
        if answered.reason is not None:
            raise Refused(answered.reason, id=gift_id, **answered.fields)
        return _ok(answered)

    async def _ask(self, command: Command, gift_id: str | None) -> Command:
        """Say a command, or let it wait. Nothing waits before the first welcome: no gift has a time before."""
        if self._over is not None:
            raise Refused("closed", id=gift_id)
        if self.client.room is None:
            raise Refused("not_connected", id=gift_id)
        socket, frame = self._socket, None
        if socket is not None:
            frame = self.client.send(command)
            asked = self.client.unanswered[-1]
        elif isinstance(command, SendLikes):  # worth nothing later
            raise Refused("not_connected")
        else:
            try:
                asked = self.client.wait(command)
            except QueueFull:
                raise Refused("queue_full", id=gift_id) from None
        self._replies[str(asked.ref)] = asyncio.get_running_loop().create_future()
        self._news.look_again()  # its reply must be read, however much else waits
        if socket is not None and frame is not None:
            await _say(socket, frame)
        return asked

    async def chat(self, text: str, **more: Any) -> SendChatOk:
        return cast(SendChatOk, await self.send(SendChat(text=text, **more)))

    async def likes(self, count: int = 1) -> Ok:
        return await self.send(SendLikes(count=count))

    async def ping(self) -> PingOk:
        """Ask for the server's clock, by which gifts get their ids."""
        return cast(PingOk, await self.send(Ping()))

    async def gift(self, gift: str, count: int = 1, *, id: str | None = None, **more: Any) -> SendGiftOk:
        """Send a gift exactly once. After `timeout` or `wallet_unavailable` call again with the `id` of the Refused."""
        made = self.client.new_gift(gift, count, **more)
        command = made if id is None else msgspec.structs.replace(made, id=id)
        return cast(SendGiftOk, await self.send(command))

    # --- the connection: connecting -> live -> reconnecting -> live ... -> over ----------------------------------
    async def _run(self) -> None:
        while True:
            end = await self._connection()
            lost = self.client.lost(end.code)
            for command in lost.unanswered:
                self._answer(str(command.ref), Answered(command=command, reason="connection_lost", fields={}))
            stays = comes_back(end.code) or self._tokens.renews(end.code)
            if not stays:
                self._end(reason_of(end.code), lost)
                return
            self._news.tell(lost, self.client.since)
            await asyncio.sleep(self._away_s(end))

    def _end(self, reason: str, lost: Lost | None = None) -> None:
        """Out for good: what waits is refused, and the events end."""
        if self._over is not None:
            return
        self._over, self._socket = reason, None
        self._tokens.forget()
        if lost is not None:
            self._news.tell(lost, self.client.since)
        for ref, reply in self._replies.items():
            if not reply.done():
                command = next(each for each in self.client.unanswered if each.ref == ref)
                reply.set_result(Answered(command=command, reason="closed", fields={}))
        self._turned.set()
        self._news.end()

    def _away_s(self, end: End) -> float:
        left_s, self._leave_at = self._leave_at, None
        if left_s is not None:  # a node that is stopping gave everybody another time
            return max(0.0, left_s - _running_s())
        return end.away_s + self._backoff.next_s()

    async def _connection(self) -> End:
        """One attempt, and the connection that it made until its end."""
        try:
            token = await self._tokens.current()
        except Exception:  # the platform's own, for whom we come back
            return End(Close.UNAVAILABLE)
        try:
            socket = await self._opened(token)
        except InvalidStatus as refused:
            answer = refused.response
            return end_of_status(answer.status_code, answer.headers.get("Retry-After"))
        except (OSError, TimeoutError, WebSocketException):
            return End(1006)
        began, was_live = _running_s(), False
        refresher: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(OPEN_S):
                await self._read(socket, await socket.recv())
            was_live, refresher = self.live, asyncio.create_task(self._keep_fresh())
            end = await self._listen(socket)
        except TimeoutError:
            end = End(Close.UNRESPONSIVE)
        except ConnectionClosed:
            end = end_of_close(socket.close_code, socket.close_reason or "")
        except (msgspec.DecodeError, KeyError, TypeError):  # not a frame of the protocol
            end = End(1006)
        finally:
            self._socket = None
            await _stopped(refresher)
            socket.transport.abort()
        return self._ended(end, was_live, _running_s() - began)

    async def _opened(self, token: str) -> ClientConnection:
        codec = Subprotocol(f"liveroom.v1.{self.client.codec}")
        return await connect(
            _address(*self._where, self.client.resume_query()),
            subprotocols=[codec],
            additional_headers={"Authorization": f"Bearer {token}"},
            ping_interval=None,  # the server's heartbeats say more: they are its loop's
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            max_size=FRAME_BYTES_MAX,
            **self._options,
        )

    def _ended(self, end: End, was_live: bool, lived_s: float) -> End:
        """What the end means for the token and the pauses."""
        if end.code == Close.TOKEN_EXPIRED and not was_live and not self._tokens.renewable:
            return End(Close.BAD_TOKEN)  # there will be no newer one
        if end.code == Close.TOKEN_EXPIRED or not was_live:  # an old token is the only cause that we can mend
            self._tokens.forget()
        if was_live:
            self._backoff.lived(lived_s)
        return end

    async def _listen(self, socket: ClientConnection) -> End:
        while True:
            frame = await self._next_frame(socket)
            if isinstance(frame, End):
                return frame
            await self._read(socket, frame)
            await self._until_handled()

    async def _next_frame(self, socket: ClientConnection) -> Frame | End:
        """The next frame. A silent server is asked before it is given up: we may have slept, and it not."""
        for wait_s in (self._heartbeat_s + SLACK_S, SLACK_S):
            leave_s = None if self._leave_at is None else max(0.0, self._leave_at - _running_s())
            try:
                async with asyncio.timeout(wait_s if leave_s is None else min(wait_s, leave_s)):
                    return await socket.recv()
            except TimeoutError:
                if leave_s is not None and leave_s <= wait_s:
                    return End(Close.DRAINING)
            await _say(socket, self.client.ping())
        return End(Close.UNRESPONSIVE)

    async def _until_handled(self) -> None:
        """While too much waits for its handler nothing is read: the server then sends gifts and the newest alone."""
        while len(self._news) >= NEWS_MAX and not self._replies:
            await self._news.taken()

    async def _read(self, socket: ClientConnection, frame: Frame) -> None:
        for news, since in self.client.read(frame):
            for told in news:
                if isinstance(told, Welcome):
                    await self._welcomed(socket, told)
                self._take(told, since)
            if not news:
                self._news.passed_by(since)

    def _take(self, told: Told, since: str | None) -> None:
        if isinstance(told, Answered):
            self._answer(str(told.command.ref), told)
        elif isinstance(told, Heartbeat):
            return
        else:
            if isinstance(told, Notice) and told.kind == "draining":
                self._leave_at = _running_s() + (told.reconnect_in_ms or 0) / 1000
            self._news.tell(told, since)

    async def _welcomed(self, socket: ClientConnection, welcome: Welcome) -> None:
        self._heartbeat_s = float(welcome.heartbeat_s)
        self._tokens.accepted()
        frames, self._socket = self.client.resend(), socket  # at once: what is asked from now on goes out by itself
        self._turned.set()
        for frame in frames:
            await _say(socket, frame)

    def _answer(self, ref: str, answered: Answered) -> None:
        reply = self._replies.get(ref)
        if reply is not None and not reply.done():
            reply.set_result(answered)

    async def _keep_fresh(self) -> None:
        """Replace the token before it expires. There is one such task at a time: it ends with its connection."""
        while (wait_s := self._tokens.refresh_in_s(self.client.server_now_ms())) is not None:
            await asyncio.sleep(wait_s)
            try:
                token = await self._tokens.newer()
                await self.send(RefreshSession(token=token))
            except Exception:  # then the server closes the socket with 4003, and we come back with a new one
                return
            self._tokens.take(token)


def join(base: str, room: str, *, token: TokenSource, **options: Any) -> Room:
    """A room to enter with `async with`. `token` is one, or a function (plain or async) that gives one when needed.

    `base` is the server's address. Options: `chats` (how many of the newest to get, at most 50), `since` (a position
    to resume from), `codec`, `timeout_s` of commands. Others go to `websockets.connect`, such as `ssl` and `proxy`.
    """
    return Room(base, room, token=token, **options)


def _running_s() -> float:
    """A clock that nobody sets: the wall clock may jump. What it misses in a sleep the server's times make good."""
    return time.monotonic()


def _running_ms() -> int:
    return round(_running_s() * 1000)


async def _say(socket: ClientConnection, frame: Frame) -> None:
    with contextlib.suppress(ConnectionClosed):  # who reads from it will notice, and what was asked is given up there
        await socket.send(frame)


async def _stopped(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _ok(answered: Answered) -> Ok:
    kind = protocol.ok_of(type(answered.command))
    return lenient.convert({"type": "ok", "ref": answered.command.ref, **answered.fields}, kind)
