"""A node's wallet on a real store and journal, and the sums that must be right after every test."""

import asyncio
import json
import secrets
import time
from collections import Counter
from typing import Any

import msgspec
import redis

from protocol.gifts import Animation, GiftSent, ShownGift
from protocol.ids import uuid7_ms
from protocol.refusals import Refused
from protocol.wire import User, encode
from server.clock import Clock
from server.entries import GiftEntry
from server.journal import database
from server.journal.opening import Opening
from server.money.making import make_wallet_store
from server.money.results import Adjusted, Change, Paid, Spend, fingerprint
from server.money.wallet import Wallet
from server.orders.topups import Purchases, TopUp
from server.settings import Settings
from server.store import keys
from tests.boot import BootTime
from tests.site import WAIT_S, new_gift_id
from tests.stores import ValkeyProcess


def a_gift(
    viewer: str = "alice",
    coins: int = 10,
    *,
    id: str | None = None,
    creator: str = "creator",
    diamonds: int | None = None,
    count: int = 1,
    combo: str | None = None,
    room: str = "demo",
    broadcast: str | None = None,
) -> Spend:
    """A gift as the gifts feature hands it to the wallet, with its ledger entry."""
    id, diamonds = id or new_gift_id(), coins // 2 if diamonds is None else diamonds
    animation = Animation("float", "/web/gifts/rose.svg", 1_000)
    shown = GiftSent(
        id=id,
        from_=User(user_id=viewer, name=viewer.capitalize(), role="viewer"),
        to=User(user_id=creator, name=creator.capitalize(), role="host"),
        gift=ShownGift("rose", "Rose", coins // count, 1, animation),
        count=count,
        coins=coins,
        diamonds=diamonds,
        message=None,
        test=False,
        combo=None,
    )
    print_ = fingerprint(room, creator, "rose", count, coins, combo)
    entry = GiftEntry(
        id=id,
        viewer=viewer,
        creator=creator,
        room=room,
        broadcast=broadcast,
        gift="rose",
        count=count,
        coins=coins,
        diamonds=diamonds,
        combo=combo,
        salt=secrets.token_hex(16),
        fp=print_,
        viewer_name=viewer.capitalize(),
        show=msgspec.Raw(encode(shown)),
    )
    return Spend(
        gift_id=id,
        viewer=viewer,
        creator=creator,
        coins=coins,
        diamonds=diamonds,
        count=count,
        combo=combo,
        fingerprint=print_,
        entry=encode(entry),
    )


class Purse:
    """One node's wallet, and another client to look at the store."""

    def __init__(self, settings: Settings, store: ValkeyProcess) -> None:
        self.boot = BootTime()
        self.clock = clock = Clock(time.time, self.boot)
        self.settings = settings
        self.of = store
        self.engine = database.connect(settings.journal_address)
        self.store = make_wallet_store(settings, Opening(self.engine, clock), settings.wallet_address)
        self.changes: list[Change] = []
        self.wallet = Wallet(self.store, self.changes.extend)
        self.purchases = Purchases(self.engine, self.wallet, clock)
        self.look = store.client()

    async def start(self) -> None:
        await self.wallet.start()
        await self.wallet.wait_up(WAIT_S)

    async def stop(self) -> None:
        await self.wallet.stop()
        self.engine.dispose()
        self.look.close()

    async def settled(self) -> None:
        """Wait until the wallet is up, in case it has just dropped its connection."""
        for _ in range(5):
            await asyncio.sleep(0)
        await self.wallet.wait_up(WAIT_S)

    async def buy(self, user: str, coins: int, id: str | None = None) -> Adjusted:
        """A person buys coins."""
        return await self.purchases.top_up(user, TopUp(id or f"t-{new_gift_id()}", coins, "test"))

    async def pay(self, spend: Spend) -> Paid | Refused:
        """Pay a gift, in bounded time. Returns the result."""
        async with asyncio.timeout(WAIT_S * 2):
            try:
                return await self.wallet.spend(spend)
            except Refused as refused:
                return refused

    async def outcome(self, spend: Spend) -> str:
        """`ok <balance>`, `duplicate <balance>`, or the reason for refusal."""
        done = await self.pay(spend)
        if isinstance(done, Refused):
            return done.reason.value
        return f"{'duplicate' if done.duplicate else 'ok'} {done.balance}"

    async def outcomes(self, *spends: Spend) -> list[str]:
        """The same for gifts that are sent at once."""
        return list(await asyncio.gather(*map(self.outcome, spends)))

    async def holds(self, user: str) -> int:
        return (await self.wallet.view(user)).coins


def has_receipt(look: redis.Redis, viewer: str, gift_id: str) -> bool:
    """Whether the store keeps a gift's receipt."""
    receipts = keys.receipts(keys.partition_of(viewer), uuid7_ms(gift_id))
    return bool(look.hexists(receipts, keys.receipts_field(viewer, gift_id)))


def books(look: redis.Redis) -> Counter[str]:
    """All money in the wallet store, summed by balances, by totals, and by its log."""
    sums: Counter[str] = Counter()
    for key in look.scan_iter(count=10_000):
        _, _, rest = key.partition("}:")
        if rest == "m":
            moved = look.hgetall(key)
            sums.update({name: int(moved.get(name, 0)) for name in ("bought", "coins", "diamonds")})
        elif rest == "log":
            sums.update(_logged(look.xrange(key)))
        elif rest.startswith("w:") and look.type(key) == "hash":
            sums["held"] += int(look.hget(key, "c") or 0)
        elif rest.startswith("s:"):
            sums["credited"] += int(look.get(key))
    return sums


def _logged(rows: Any) -> Counter[str]:
    """The sum of a log's entries; each entry's balances must follow from those before it."""
    sums: Counter[str] = Counter()
    balances: Counter[str] = Counter()
    for id, fields in rows:
        body = json.loads(fields["e"])
        if body["kind"] == "gift":
            sums.update({"logged spent": body["coins"], "logged diamonds": body["diamonds"], "gifts": 1})
            balances.update({f"w:{body['viewer']}": -body["coins"], f"s:{body['creator']}": body["diamonds"]})
            assert int(fields["d"]) == balances[f"s:{body['creator']}"], f"{id} {fields}"
        elif body["kind"] == "topup":
            sums["logged bought"] += body["coins"]
            balances[f"w:{body['viewer']}"] += body["coins"]
        if "b" in fields:
            assert int(fields["b"]) == balances[f"w:{body['viewer']}"], f"{id} {fields}"
    return sums


def assert_conserved(look: redis.Redis) -> None:
    """Coins bought are held or spent, diamonds come from gifts, and the log agrees."""
    sums = books(look)
    assert sums["bought"] == sums["held"] + sums["coins"], sums
    assert sums["credited"] == sums["diamonds"], sums
    assert (sums["logged bought"], sums["logged spent"]) == (sums["bought"], sums["coins"]), sums
    assert sums["logged diamonds"] == sums["diamonds"], sums
