"""From the bus to the rooms of this node: one order per room, no event twice, and no event lost silently.

Pub/sub may lose messages, which shows in the seqs. The missing events are read from the history. If the history no
longer has them all, the room starts again at the store's state, and its sockets come back to a gap and a snapshot.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from server import background, limits
from server.rooms.history import History, NoSuchRoom, Recorded
from server.store import keys
from server.store.client import Link, Store, StoreDown, StoreError
from server.store.cluster import AnyNode
from server.store.topology import SCHEME

log = structlog.get_logger()


class Listener(Protocol):
    """A room of this node, as the fan-out sees it."""

    id: str
    epoch: str
    gone: bool

    @property
    def head(self) -> int: ...
    def ingest(self, event: Recorded) -> None: ...
    def aside(self, kind: bytes, body: bytes) -> None: ...
    def restart(self) -> None: ...


class _Subscription:
    """A room's channel: events that came early, and whether missing events are being read."""

    __slots__ = ("again", "early", "early_epoch", "filling", "listener", "ready")

    def __init__(self, ready: "asyncio.Future[None]") -> None:
        self.listener: Listener | None = None
        self.early: dict[int, Recorded] = {}
        self.early_epoch = b""  # of the events that came before the listener
        self.filling = False
        self.again = False  # another fill was requested during this one
        self.ready = ready


class Fanout:
    """This node's subscriptions. `on_wallet_news` gets the payloads of the wallet channel."""

    def __init__(self, url: str, history: History, on_wallet_news: Callable[[bytes], None]) -> None:
        self._history = history
        history.on_wake = self._check_positions
        self._site = {keys.WALLET_NEWS.encode(): on_wallet_news}  # who hears the channels that are of no room
        self._subscriptions: dict[str, _Subscription] = {}
        self._by_channel: dict[bytes, _Subscription] = {}
        self._any_node = AnyNode(url) if url.startswith(SCHEME) else None
        self._bus = Store("bus", self._any_node or url, on_up=self._subscribe_all, on_push=self._on_push, listens=True)
        self._tasks = background.Tasks("fanout-fill")
        self._woken = asyncio.Event()  # replaced each time that the room store is back
        self.received = 0
        self.filled = 0

    @property
    def up(self) -> bool:
        return self._bus.up

    def hear(self, channel: str, listener: Callable[[bytes], None]) -> None:
        """Pass on what comes on a channel that is of no room. Before `start`."""
        self._site[channel.encode()] = listener

    async def start(self) -> None:
        if self._any_node is not None:
            await self._any_node.start()
        await self._bus.start()

    async def stop(self) -> None:
        await self._tasks.end()
        await self._bus.stop()
        if self._any_node is not None:
            await self._any_node.stop()

    # --- subscribing -------------------------------------------------------------------------------------------
    async def listen(self, room_id: str) -> None:
        """Subscribe to a room. Events that come before `attach` wait for it. Raises StoreError."""
        subscription = _Subscription(asyncio.get_running_loop().create_future())
        self._subscriptions[room_id] = subscription
        channel = keys.room(room_id, keys.LIVE)
        self._by_channel[channel.encode()] = subscription
        link = self._bus.link
        try:
            self._send("SUBSCRIBE", channel)
            async with asyncio.timeout(limits.STORE_CALL_S_MAX):
                await asyncio.shield(subscription.ready)
        except (TimeoutError, StoreError) as error:
            if link is not None and isinstance(error, TimeoutError):
                link.abort()  # it does not answer; the next link subscribes to every room again
            self.forget(room_id)
            raise StoreDown("the bus does not answer") from None

    def attach(self, listener: Listener) -> None:
        """Start to pass a room its events, beginning with those that came early."""
        subscription = self._subscriptions[listener.id]
        subscription.listener = listener
        if subscription.early_epoch not in (b"", listener.epoch.encode()):  # the room's store was replaced meanwhile
            subscription.early.clear()
            self._begin_filling(subscription)
        self._take_early(subscription)

    def forget(self, room_id: str) -> None:
        """Unsubscribe from a room that nobody here watches any longer. Raises nothing."""
        subscription = self._subscriptions.pop(room_id, None)
        if subscription is None:
            return
        channel = keys.room(room_id, keys.LIVE)
        self._by_channel.pop(channel.encode(), None)
        if not subscription.ready.done():
            subscription.ready.cancel()
        with contextlib.suppress(StoreDown):  # a new link will not subscribe to it
            self._send("UNSUBSCRIBE", channel)

    def _send(self, command: str, *channels: str) -> None:
        link = self._bus.link
        if link is None:
            raise StoreDown("the bus is away")
        link.tell(command, *channels)

    async def _subscribe_all(self, link: Link) -> None:
        """Subscribe to every room's channel, then read what each room missed. Raises StoreError."""
        channels = [keys.room(room_id, keys.LIVE) for room_id in self._subscriptions]
        link.tell("SUBSCRIBE", *(channel.decode() for channel in self._site), *channels)
        await link.call("PING")  # after its answer the link brings every new event, so a read now leaves no hole
        left = [channel for channel in channels if channel.encode() not in self._by_channel]
        if left:
            link.tell("UNSUBSCRIBE", *left)
        for subscription in self._subscriptions.values():
            if subscription.listener is not None:
                self._begin_filling(subscription)

    # --- receiving ---------------------------------------------------------------------------------------------
    def _on_push(self, push: list[Any]) -> None:
        kind = push[0]
        if kind == b"message":
            if (listener := self._site.get(push[1])) is not None:
                listener(push[2])
                return
            subscription = self._by_channel.get(push[1])
            if subscription is not None:
                self.received += 1
                self._on_events(subscription, push[2])
        elif kind == b"subscribe":
            subscription = self._by_channel.get(push[1])
            if subscription is not None and not subscription.ready.done():
                subscription.ready.set_result(None)

    def _on_events(self, subscription: _Subscription, payload: bytes) -> None:
        """Take what a script has published: one event, several (append_event.lua), or an aside."""
        epoch, seq, at_ms, body = payload.split(b" ", 3)
        if seq != b"0":
            self._on_event(subscription, epoch, Recorded(int(seq), at_ms, body))
        elif at_ms == b"several":  # in place of the time stands what it is
            head, *bodies = body.split(b"\n")
            first, at_ms = head.split(b" ")
            for number, each in enumerate(bodies, int(first)):
                self._on_event(subscription, epoch, Recorded(number, at_ms, each))
        elif subscription.listener is not None:
            subscription.listener.aside(at_ms, body)

    def _on_event(self, subscription: _Subscription, epoch: bytes, event: Recorded) -> None:
        listener = subscription.listener
        if listener is None:
            if epoch != subscription.early_epoch:
                subscription.early_epoch = epoch
                subscription.early.clear()
            if len(subscription.early) < limits.PENDING_EVENTS_MAX:  # the rest will be read from the history
                subscription.early[event.seq] = event
            return
        if epoch.decode() != listener.epoch:
            self._begin_filling(subscription)
            return
        if event.seq == listener.head + 1 and not subscription.early:
            listener.ingest(event)
        elif event.seq > listener.head:
            if len(subscription.early) < limits.PENDING_EVENTS_MAX:
                subscription.early[event.seq] = event
            self._take_early(subscription)

    def _take_early(self, subscription: _Subscription) -> None:
        """Hand over contiguous events. If some are missing, read them from the history."""
        listener, early = subscription.listener, subscription.early
        assert listener is not None
        while (event := early.pop(listener.head + 1, None)) is not None:
            listener.ingest(event)
        for seq in [seq for seq in early if seq <= listener.head]:
            del early[seq]
        if early:
            self._begin_filling(subscription)

    # --- filling what is missing -------------------------------------------------------------------------------
    def check_position(self, room_id: str) -> None:
        """Compare with the store, to notice a bus that lost messages silently."""
        subscription = self._subscriptions.get(room_id)
        if subscription is not None and subscription.listener is not None:
            self._begin_filling(subscription)

    def _check_positions(self) -> None:
        """Check every room: the bus may say nothing for a long time of those whose primary was replaced.

        Those that wait for the store wait no longer: the bus may have been back before it.
        """
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()
        for room_id in self._subscriptions:
            self.check_position(room_id)

    def _begin_filling(self, subscription: _Subscription) -> None:
        if subscription.filling:
            subscription.again = True
            return
        subscription.filling = True
        self._tasks.spawn(self._fill(subscription))

    async def _fill(self, subscription: _Subscription) -> None:
        """Compare with the store, and again for each request that came meanwhile."""
        listener = subscription.listener
        assert listener is not None
        subscription.again = True
        try:
            while subscription.again and self._is_current(subscription, listener):
                subscription.again = False
                try:
                    await self._fill_once(subscription, listener)
                except NoSuchRoom:
                    if self._is_current(subscription, listener):
                        listener.restart()
                    return
                except StoreError as error:
                    log.info("fill_later", room=listener.id, error=str(error))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(limits.STORE_RETRY_S_MAX):
                            await self._woken.wait()
                    subscription.again = True
        finally:
            subscription.filling = False
        if subscription.early and not listener.gone and self._is_current(subscription, listener):
            self._take_early(subscription)

    def _is_current(self, subscription: _Subscription, listener: Listener) -> bool:
        """Whether this is still the node's subscription to the room: a room may be reopened during an await."""
        return self._subscriptions.get(listener.id) is subscription

    async def _fill_once(self, subscription: _Subscription, listener: Listener) -> None:
        head = listener.head  # read before asking the store: the bus may bring newer events before its answer
        epoch, seq = await self._history.position(listener.id)
        missed = None
        if epoch == listener.epoch and seq >= head:
            missed = await self._history.read(listener.id, listener.head, seq)
        if not self._is_current(subscription, listener):
            return
        if missed is None:
            listener.restart()
            return
        for event in missed:
            if event.seq == listener.head + 1:  # the bus may have brought some meanwhile
                listener.ingest(event)
                self.filled += 1
