"""The wallet: every outcome in order of precedence, many gifts in one call, and no coin lost or invented."""

import asyncio
import json
import random
from typing import Any

import pytest

from protocol.ids import uuid7_ms
from protocol.refusals import Refused
from server import limits
from server.journal.opening import OPEN
from server.money.results import Paid, TopUpConflict
from server.store import keys
from tests.money import Purse, a_gift, assert_conserved, books
from tests.site import new_gift_id

HOUR_MS = 3600 * 1000
OLD, AHEAD = -(2 * HOUR_MS + 60_000), 11 * 60_000

# In order of precedence: each row could also be refused for the reasons of all rows below it.
# (name, coins held, is the wallet frozen, age of the id, what was paid under this id before, outcome)
ORDER: list[tuple[str, int, bool, int, str | None, str]] = [
    ("the same again, when all is gone and frozen", 10, True, 0, "the same", "duplicate 0"),
    ("the same again, when all is gone", 10, False, 0, "the same", "duplicate 0"),
    ("another payload, frozen, too poor", 10, True, 0, "another", "conflict"),
    ("another payload, too poor", 10, False, 0, "another", "conflict"),
    ("too old, frozen, too poor", 5, True, OLD, None, "expired_id"),
    ("too far ahead, frozen, too poor", 5, True, AHEAD, None, "expired_id"),
    ("too old, rich", 1_000, False, OLD, None, "expired_id"),
    ("too far ahead, rich", 1_000, False, AHEAD, None, "expired_id"),
    ("of the year 1970", 1_000, False, -1_700_000_000_000, None, "expired_id"),
    ("frozen, too poor", 5, True, 0, None, "wallet_frozen"),
    ("frozen, rich", 1_000, True, 0, None, "wallet_frozen"),
    ("too poor", 9, False, 0, None, "insufficient_coins"),
    ("no coins at all", 0, False, 0, None, "insufficient_coins"),
    ("exactly enough", 10, False, 0, None, "ok 0"),
    ("enough", 1_000, False, 0, None, "ok 990"),
    ("nearly too old", 10, False, -2 * HOUR_MS + 60_000, None, "ok 0"),
    ("nearly too far ahead", 10, False, 9 * 60_000, None, "ok 0"),
]


@pytest.mark.parametrize(
    ("coins", "frozen", "shift_ms", "before", "outcome"), [r[1:] for r in ORDER], ids=[r[0] for r in ORDER]
)
async def test_one_gift(
    purse: Purse, coins: int, frozen: bool, shift_ms: int, before: str | None, outcome: str
) -> None:
    """A gift has one outcome: the first check that fails decides. A refused gift changes nothing."""
    id = new_gift_id(shift_ms)
    if coins:
        await purse.buy("alice", coins)
    if before == "the same":
        assert await purse.outcome(a_gift(id=id)) == "ok 0"
    elif before == "another":
        assert await purse.outcome(a_gift(id=id, coins=8)) == "ok 2"
    if frozen:
        purse.look.hset(keys.wallet("alice"), "st", "frozen")
    was = books(purse.look)
    assert await purse.outcome(a_gift(id=id)) == outcome
    if not outcome.startswith("ok"):
        assert books(purse.look) == was


async def test_what_a_refusal_says(purse: Purse) -> None:
    """A refusal for too few coins says how many are needed and how many there are, and nothing else."""
    await purse.buy("alice", 30)
    refused = await purse.pay(a_gift(coins=31))
    assert isinstance(refused, Refused)
    assert refused.data == {"need": 31, "have": 30}
    assert refused.retry_after_ms is None


async def test_an_id_is_known_as_long_as_it_is_good(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same gift is a duplicate while its receipt exists and expired afterwards: it is never paid twice."""
    await purse.buy("alice", 100)
    gift = a_gift(id=new_gift_id(-HOUR_MS))
    assert await purse.outcome(gift) == "ok 90"
    receipts = keys.receipts(keys.partition_of("alice"), uuid7_ms(gift.gift_id))
    assert purse.look.ttl(receipts) == -1  # no clock of the store's may delete it
    monkeypatch.setattr(limits, "GIFT_ID_LIFE_MS", 1_000)  # as if the id had expired before its receipt
    assert await purse.outcome(gift) == "duplicate 90"
    purse.look.delete(receipts)
    assert await purse.outcome(gift) == "expired_id"


@pytest.mark.parametrize(
    "changed",
    [{"coins": 20}, {"count": 2}, {"creator": "other"}, {"combo": "c1"}, {"room": "other"}],
    ids=lambda changed: next(iter(changed)),
)
async def test_the_same_id_for_something_else(purse: Purse, changed: dict[str, Any]) -> None:
    """A gift that differs from the one paid under its id is a conflict, and costs nothing."""
    await purse.buy("alice", 100)
    id = new_gift_id()
    assert await purse.outcome(a_gift(id=id)) == "ok 90"
    assert await purse.outcome(a_gift(id=id, **changed)) == "conflict"
    assert await purse.holds("alice") == 90


async def test_an_id_belongs_to_its_sender(purse: Purse) -> None:
    """Two people may use the same id: neither sees or affects the other's gift."""
    await purse.buy("alice", 100)
    await purse.buy("bob", 100)
    id = new_gift_id()
    assert await purse.outcomes(a_gift("alice", 10, id=id), a_gift("bob", 70, id=id)) == ["ok 90", "ok 30"]
    assert await purse.outcomes(a_gift("alice", 10, id=id), a_gift("bob", 70, id=id)) == [
        "duplicate 90",
        "duplicate 30",
    ]


@pytest.mark.parametrize(("coins", "diamonds"), [(0, 0), (-5, 0), (1_000_000_000, 0), (5, -1), (5, 1_000_000_000)])
async def test_invalid_amounts(purse: Purse, coins: int, diamonds: int) -> None:
    """The script checks amounts, too: it refuses zero, negative numbers and ten digits, whatever the caller checked."""
    await purse.buy("alice", 100)
    assert await purse.outcome(a_gift(coins=coins, diamonds=diamonds)) == "wallet_unavailable"
    assert await purse.holds("alice") == 100


# --- group commit --------------------------------------------------------------------------------------------------
async def test_gifts_that_come_together_go_together(purse: Purse) -> None:
    """500 gifts of 50 people share a few calls. Each has its own outcome, in its sender's order."""
    people = [f"viewer-{n}" for n in range(50)]
    await asyncio.gather(*(purse.buy(person, 1_000) for person in people))
    before = purse.wallet.batches
    gifts = [a_gift(person, 10) for _ in range(10) for person in people]
    done = [paid for paid in await asyncio.gather(*map(purse.pay, gifts)) if isinstance(paid, Paid)]
    assert len(done) == 500
    assert purse.wallet.batches - before <= 10
    assert limits.SPEND_BATCH_MAX * (purse.wallet.batches - before) >= 500
    for start, person in enumerate(people):
        assert [paid.balance for paid in done[start::50]] == list(range(990, 890, -10)), person
    assert len({(gift.viewer, paid.entry_id) for gift, paid in zip(gifts, done, strict=True)}) == 500


async def test_two_gifts_that_one_wallet_cannot_pay(purse: Purse) -> None:
    """In one call the first gift is paid, and the second sees the coins that are left."""
    await purse.buy("alice", 100)
    batches = purse.wallet.batches
    first, second, third = await asyncio.gather(*(purse.pay(a_gift(coins=coins)) for coins in (60, 60, 40)))
    assert purse.wallet.batches == batches + 1
    assert isinstance(first, Paid)
    assert isinstance(second, Refused)
    assert isinstance(third, Paid)
    assert (first.balance, second.data, third.balance) == (40, {"need": 60, "have": 40}, 0)


async def test_one_id_twice_in_one_call(purse: Purse) -> None:
    """A client that sends an id twice at once pays once; a different gift under that id is a conflict."""
    await purse.buy("alice", 100)
    id = new_gift_id()
    batches = purse.wallet.batches
    sent = [a_gift(id=id), a_gift(id=id), a_gift(id=id, coins=50), a_gift(id=id)]
    assert await purse.outcomes(*sent) == ["ok 90", "duplicate 90", "conflict", "duplicate 90"]
    assert purse.wallet.batches == batches + 1


async def test_streaks_are_counted(purse: Purse) -> None:
    """A streak counts within one call and across calls, for one viewer alone; a duplicate gets the first count."""
    await purse.buy("alice", 1_000)
    await purse.buy("bob", 1_000)

    async def count(viewer: str, n: int, combo: str | None, id: str | None = None) -> int:
        paid = await purse.pay(a_gift(viewer, 10 * n, count=n, combo=combo, id=id))
        assert isinstance(paid, Paid)
        return paid.combo_count

    first = new_gift_id()
    together = await asyncio.gather(
        count("alice", 1, "c", first), count("alice", 5, "c"), count("bob", 2, "c"), count("alice", 3, "d")
    )
    assert together == [1, 6, 2, 3]
    assert await count("alice", 4, "c") == 10
    assert await count("alice", 1, "c", first) == 1
    assert await count("alice", 7, None) == 0
    assert await count("alice", 1, "c") == 11


async def test_random_gifts_of_many(purse: Purse) -> None:
    """Hundreds of concurrent gifts, repeats and conflicts end as if they had come one after the other."""
    chance = random.Random(7)
    people = [f"viewer-{n}" for n in range(8)]
    for person in people:
        await purse.buy(person, 500)
    sent = [a_gift(chance.choice(people), chance.choice([1, 5, 99, 120]), count=1) for _ in range(200)]
    sent += [chance.choice(sent) for _ in range(100)]
    chance.shuffle(sent)
    outcomes = await purse.outcomes(*sent)
    spent = dict.fromkeys(people, 0)
    paid: set[str] = set()
    for gift, outcome in zip(sent, outcomes, strict=True):
        if outcome.startswith("ok"):
            assert gift.gift_id not in paid
            paid.add(gift.gift_id)
            spent[gift.viewer] += gift.coins
        elif outcome.startswith("duplicate"):
            assert gift.gift_id in {other.gift_id for other in sent}
        else:
            assert outcome == "insufficient_coins"
            assert 500 - spent[gift.viewer] < gift.coins or gift.gift_id in paid
    assert {person: await purse.holds(person) for person in people} == {p: 500 - spent[p] for p in people}
    assert purse.wallet.gifts == len(paid)


async def test_who_is_told(purse: Purse) -> None:
    """Each changed balance is announced once with its ledger entry; duplicates and refusals announce nothing."""
    await purse.buy("alice", 100, "t-1")
    gift = a_gift(coins=30)
    paid = await purse.pay(gift)
    await purse.outcome(gift)
    await purse.outcome(a_gift(coins=71))
    assert isinstance(paid, Paid)
    told = [(change.user_id, change.coins, change.cause, change.ref) for change in purse.changes]
    assert told == [("alice", 100, "topup", "t-1"), ("alice", 70, "gift", gift.gift_id)]
    assert purse.changes[1].entry == paid.entry_id


async def test_the_ledger_entry(purse: Purse) -> None:
    """Gift and entry are written together: the log has the gift's own bytes and the balances after it."""
    await purse.buy("alice", 100)
    gift = a_gift(coins=30, diamonds=12, count=3, combo="c")
    paid = await purse.pay(gift)
    assert isinstance(paid, Paid)
    partition = keys.partition_of("alice")
    id, fields = purse.look.xrevrange(keys.log(partition), count=1)[0]
    assert id == paid.entry_id
    assert {name: fields[name] for name in "bdk"} == {"b": "70", "d": "12", "k": "3"}
    assert fields["e"].encode() == gift.entry
    assert purse.look.get(keys.credit(partition, "creator")) == "12"
    first = json.loads(purse.look.xrange(keys.log(partition), count=1)[0][1]["e"])
    assert first == {"kind": "open", "partition": partition}


async def test_an_opening(purse: Purse) -> None:
    """The marker has the store's time. An epoch that was opened already is nobody else's, and stays."""
    log, meta, link = keys.log(3), keys.wallet_meta(3), purse.store._money.link
    assert link is not None
    entry = '{"kind":"open","partition":3}'
    before_ms = at_ms(purse)
    for epoch, opened in ((7, "a"), (7, "b"), (6, "c")):
        group = {"log": log, "meta": meta, "epoch": epoch, "opened": opened, "entry": entry}
        assert await link.run(OPEN(each=[group])) == [b"7"]
    [(id, fields)] = purse.look.xrevrange(log, count=1)
    assert (id, fields["e"], purse.look.hmget(meta, "epoch", "opened")) == ("7-0", entry, ["7", "a"])
    assert before_ms <= int(fields["t"]) <= at_ms(purse)


def at_ms(purse: Purse) -> int:
    """The store's time."""
    seconds, micros = purse.look.time()
    return int(seconds) * 1000 + int(micros) // 1000


# --- corrupt keys --------------------------------------------------------------------------------------------------
def of_mallory(gift_id: str) -> dict[str, str]:
    """The keys that a gift of mallory touches."""
    _, names = keys.spend_keys("mallory", "creator", gift_id, uuid7_ms(gift_id), "c")
    return dict(zip(("wallet", "credit", "receipt", "receipts", "combo", "log", "meta"), names, strict=True))


def everything(purse: Purse) -> dict[str, Any]:
    """Every key with its value, of every type. A claim on a top-up's id may stay: it moves nothing."""
    found: dict[str, Any] = {}
    for key in purse.look.scan_iter(count=10_000):
        if "}:t:" in key:
            continue
        kind = purse.look.type(key)
        read: Any = {
            "hash": purse.look.hgetall,
            "string": purse.look.get,
            "stream": purse.look.xrange,
            "list": lambda k: purse.look.lrange(k, 0, -1),
        }
        found[key] = read[kind](key)
    return found


@pytest.mark.parametrize("corrupt", ["wallet", "credit", "receipts", "combo", "meta"])
async def test_a_key_of_a_wrong_type(purse: Purse, corrupt: str) -> None:
    """Only this viewer's gift is refused, and it changes nothing; the others in the same call are paid."""
    assert len({keys.partition_of(name) for name in ("alice", "bob", "mallory")}) == 3
    for person in ("alice", "bob", "mallory"):
        await purse.buy(person, 100)
    gift = a_gift("mallory", 10, combo="c")
    key = of_mallory(gift.gift_id)[corrupt]
    held = purse.look.hgetall(key) if purse.look.type(key) == "hash" else {}
    purse.look.delete(key)
    purse.look.rpush(key, "corrupt")
    was = everything(purse)
    assert await purse.outcome(gift) == "wallet_unavailable"
    assert everything(purse) == was
    assert await purse.outcomes(a_gift("alice"), gift, a_gift("bob")) == ["ok 90", "wallet_unavailable", "ok 90"]
    purse.look.delete(key)
    if held:
        purse.look.hset(key, mapping=held)
    assert await purse.outcome(gift) == "ok 90"


@pytest.mark.parametrize("corrupt", ["wallet", "credit", "meta"])
@pytest.mark.parametrize("value", ["abc", "-5", "1.5", "", "00100", "9" * 20])
async def test_a_counter_that_is_not_a_number(purse: Purse, corrupt: str, value: str) -> None:
    """The same for a counter whose text is not a whole number within bounds."""
    for person in ("alice", "mallory"):
        await purse.buy(person, 100)
    gift = a_gift("mallory", 10, combo="c")
    key = of_mallory(gift.gift_id)[corrupt]
    field = {"wallet": "c", "meta": "coins"}.get(corrupt)
    held = purse.look.hget(key, field) if field else None
    purse.look.hset(key, field, value) if field else purse.look.set(key, value)
    was = everything(purse)
    assert await purse.outcomes(gift, a_gift("alice")) == ["wallet_unavailable", "ok 90"]
    tag = keys.PARTITION_TAGS[keys.partition_of("mallory")]
    now = everything(purse)
    assert {name: now[name] for name in was if tag in name} == {name: was[name] for name in was if tag in name}
    if field is None or held is None:
        purse.look.hdel(key, field) if field else purse.look.delete(key)
    else:
        purse.look.hset(key, field, held)
    assert await purse.outcome(gift) == "ok 90"


async def test_a_frozen_partition(purse: Purse) -> None:
    """A partition that the journal has frozen takes no gifts or top-ups; a paid gift is still a duplicate."""
    for person in ("alice", "bob"):
        await purse.buy(person, 100)
    paid = a_gift("alice")
    assert await purse.outcome(paid) == "ok 90"
    purse.look.hset(keys.wallet_meta(keys.partition_of("alice")), "frozen", "1")
    assert await purse.outcomes(a_gift("alice"), a_gift("bob"), paid) == ["wallet_unavailable", "ok 90", "duplicate 90"]
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.buy("alice", 5)


# --- top-ups -------------------------------------------------------------------------------------------------------
async def test_a_top_up_counts_once(purse: Purse) -> None:
    """The same order again is a duplicate with the first balance; another order under its id is a conflict."""
    first = await purse.buy("alice", 100, "order-1")
    assert (first.balance, first.duplicate) == (100, False)
    await purse.outcome(a_gift(coins=40))
    again = await purse.buy("alice", 100, "order-1")
    assert (again.balance, again.duplicate) == (100, True)
    for user, coins in (("alice", 101), ("bob", 100)):
        with pytest.raises(TopUpConflict):
            await purse.buy(user, coins, "order-1")
    assert (await purse.holds("alice"), await purse.holds("bob")) == (60, 0)


async def test_the_same_order_many_times_at_once(purse: Purse) -> None:
    """A shop that repeats an order credits it once."""
    done = await asyncio.gather(*(purse.buy("alice", 100, "order-1") for _ in range(20)))
    assert sum(not one.duplicate for one in done) == 1
    assert {one.balance for one in done} == {100}
    assert await purse.holds("alice") == 100


@pytest.mark.parametrize("corrupt", ["wallet", "receipt", "log", "meta", "meta.bought"])
async def test_a_top_up_on_a_corrupt_key(purse: Purse, corrupt: str) -> None:
    """A top-up that cannot be written completely changes nothing, and counts once when the key is repaired."""
    await purse.buy("mallory", 100)
    partition = keys.partition_of("mallory")
    name = {
        "wallet": keys.wallet("mallory"),
        "receipt": keys.receipt("mallory", "topup:order-2"),
        "log": keys.log(partition),
    }.get(corrupt, keys.wallet_meta(partition))
    purse.look.copy(name, "spare")
    if corrupt == "meta.bought":
        purse.look.hset(name, "bought", "many")
    else:
        purse.look.delete(name)
        purse.look.rpush(name, "corrupt")
    was = everything(purse)
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.buy("mallory", 50, "order-2")
    assert everything(purse) == was
    purse.look.delete(name)
    if purse.look.exists("spare"):
        purse.look.rename("spare", name)
    await purse.settled()
    await purse.buy("mallory", 50, "order-2")
    assert await purse.holds("mallory") == 150
    assert_conserved(purse.look)


async def test_a_wallet_has_a_bound(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wallet takes coins up to the largest number that a double holds exactly, and none above it."""
    monkeypatch.setattr(limits, "BALANCE_MAX", 150)
    await purse.buy("alice", 100)
    with pytest.raises(Refused):
        await purse.buy("alice", 51)
    await purse.buy("alice", 50)
    assert await purse.holds("alice") == 150
