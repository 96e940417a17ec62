"""Sends changed balances to their users' sockets, on this node and the others."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from protocol.session import Cause, WalletChanged
from server import limits
from server.money.results import Change, Money
from server.rooms.room import Member
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore


class WalletNews(Struct, frozen=True):
    """Balances that changed on one node, published to the others."""

    node: str
    changes: list[Change]


_WALLET_NEWS = msgspec.json.Decoder(WalletNews)


class Balances:
    """Knows which members to notify about each wallet."""

    def __init__(self, node_id: str, room_store: Store | ClusterStore) -> None:
        self._node_id = node_id
        self._room_store = room_store
        self._by_user: dict[str, tuple[Member, ...]] = {}  # a set takes 200 bytes, and most users have one member
        self.waiting: set[Member] = set()  # welcomed while the wallet store was away

    def expect(self, member: Member) -> None:
        """Start telling the member of every change of its balance."""
        self._by_user[member.user_id] = (*self._by_user.get(member.user_id, ()), member)

    def forget(self, member: Member) -> None:
        """Stop: the member has left."""
        self.waiting.discard(member)
        others = tuple(each for each in self._by_user.pop(member.user_id, ()) if each is not member)
        if others:
            self._by_user[member.user_id] = others

    def of(self, user_id: str) -> tuple[Member, ...]:
        """Everybody with this id on this node, also those who are still waiting for their welcome."""
        return self._by_user.get(user_id, ())

    def changed(self, changes: Sequence[Change]) -> None:
        """Tell the balances that this node changed: its own sockets now, the other nodes over the bus."""
        self._tell(changes)
        news = msgspec.json.encode(WalletNews(self._node_id, list(changes)))
        with contextlib.suppress(StoreError):
            self._room_store.send("PUBLISH", keys.WALLET_NEWS, news).add_done_callback(_retrieve)

    def on_news(self, payload: bytes) -> None:
        """Tell the balances that another node changed."""
        news = _WALLET_NEWS.decode(payload)
        if news.node != self._node_id:
            self._tell(news.changes)

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            for member in self.of(change.user_id):
                member.late_coins = change.coins
                if not member.welcomed:  # the welcome will have it
                    continue
                member.say(WalletChanged(coins=change.coins, cause=change.cause, ref=change.ref, entry=change.entry))

    async def tell_reopened(self, wallet: Money) -> None:
        """Tell the balance to members whose welcome had none, unless they have had a newer one since.

        One whose partition is closed keeps waiting, and holds up nobody.
        """
        waiting, untold = self.waiting, set[Member]()
        try:
            while waiting and wallet.up:
                some = [waiting.pop() for _ in range(min(len(waiting), limits.FLUSH_CHUNK))]
                untold.update(some)
                found = await asyncio.gather(*(wallet.coins(member.user_id) for member in some))
                for member, coins in zip(some, found, strict=True):
                    if coins is None:
                        continue
                    untold.discard(member)
                    if member.late_coins is None:
                        member.say(WalletChanged(coins=coins, cause=Cause.REOPENED, ref=None, entry=None))
        finally:
            waiting.update(member for member in untold if not member.sink.closing)


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Ignore a failure to publish: every reply and welcome has the balance, too."""
    if not future.cancelled():
        future.exception()
