"""What may be wrong in the wallet store: an audit finds each corruption, names it, and freezes only its partition."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from protocol.ids import uuid7_ms
from server import limits
from server.journal.audit import Audit
from server.journal.findings import Report
from server.journal.repair import Repair
from server.journal.tables import quarantine
from server.processes.retell import drain_and_retell
from server.store import keys
from server.store.client import Store
from tests.journal.desk import Desk
from tests.site import WAIT_S, Site, new_gift_id

Corrupt = Callable[[Desk, str, str], Awaitable[object]]  # with a user of the partition, and a gift of theirs


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    """A desk whose store a test makes wrong, so that nothing is sound at the end."""
    store = Store("wallet", site.settings.wallet_address)
    await store.start()
    await store.wait_up(WAIT_S)
    node = site.node
    yield Desk(site, drain_and_retell(node.engine, store, node.history, node.clock), store)
    await store.stop()


def audit_of(desk: Desk) -> Audit:
    return Audit(desk.site.node.engine, desk.money, desk.site.node.clock)


def user_of(partition: int, name: str = "u") -> str:
    """A user of this partition."""
    return next(f"{name}{n}" for n in range(100_000) if keys.partition_of(f"{name}{n}") == partition)


def log_of(user: str) -> str:
    return keys.log(keys.partition_of(user))


def meta_of(user: str) -> str:
    return keys.wallet_meta(keys.partition_of(user))


def counter_of(user: str, creator: str = "ann") -> str:
    return keys.credit(keys.partition_of(user), creator)


def receipt_of(user: str, gift: str) -> tuple[str, str]:
    """The hash and the field of a gift's receipt."""
    return keys.receipts(keys.partition_of(user), uuid7_ms(gift)), keys.receipts_field(user, gift)


# --- the corruptions -------------------------------------------------------------------------------------------------
def do(*command: Any) -> Corrupt:
    """One command. Its callable arguments get the user, `GIFT` stands for hash and field of the gift's receipt."""

    async def corrupt(desk: Desk, user: str, gift: str) -> None:
        args: list[Any] = []
        for each in command:
            args += receipt_of(user, gift) if each is GIFT else [each(user) if callable(each) else each]
        await desk.money.call(*args)

    return corrupt


GIFT = object()


async def invented_wallet(desk: Desk, user: str, _gift: str) -> None:
    await desk.money.call("HSET", keys.wallet(user_of(keys.partition_of(user), "ghost")), "c", 1_000_000)


async def anothers_wallet(desk: Desk, user: str, _gift: str) -> None:
    await desk.money.call("HSET", keys.wallet(user).replace(user, user_of(0, "lost")), "c", 5)


async def invented_receipt(desk: Desk, user: str, _gift: str) -> None:
    await desk.money.call("HSET", *receipt_of(user, new_gift_id()), "f 60 0 1-2")


async def receipt_of_a_later_entry(desk: Desk, user: str, _gift: str) -> None:
    await desk.money.call("HSET", *receipt_of(user, new_gift_id()), "f 60 0 999-1")


async def receipt_of_another_price(desk: Desk, user: str, gift: str) -> None:
    at = receipt_of(user, gift)
    fingerprint, _, rest = (await desk.money.call("HGET", *at)).decode().split(" ", 2)
    await desk.money.call("HSET", *at, f"{fingerprint} 1000 {rest}")


async def deleted_order(desk: Desk, user: str, _gift: str) -> None:
    await desk.money.call("DEL", keys.receipt(user, f"topup:t-{user}"))


async def thawed_alone(desk: Desk, user: str, _gift: str) -> None:
    row = {"partition": keys.partition_of(user), "epoch": 0, "n": 0, "reason": "a test", "body": "", "at_ms": 1}
    with desk.site.node.engine.begin() as connection:
        connection.execute(insert(quarantine).values(**row))


async def changed_entry(desk: Desk, user: str, _gift: str) -> None:
    """The same log with another body in one entry."""
    rows = await desk.money.call("XRANGE", log_of(user), "-", "+")
    await desk.money.call("DEL", log_of(user))
    for id, fields in rows:
        changed = [field.replace(b'"coins":30', b'"coins":31') for field in fields]
        await desk.money.call("XADD", log_of(user), id, *changed)


async def deleted_entry(desk: Desk, user: str, _gift: str) -> None:
    rows = await desk.money.call("XRANGE", log_of(user), "-", "+")
    await desk.money.call("XDEL", log_of(user), rows[1][0])


async def trimmed_too_far(desk: Desk, user: str, _gift: str) -> None:
    await desk.give(user, 1)
    await desk.money.call("XTRIM", log_of(user), "MAXLEN", 0)


ROWS: dict[str, tuple[Corrupt, str]] = {  # what is changed, and where the audit says that something is wrong
    "a wallet gains": (do("HINCRBY", keys.wallet, "c", 5), "viewer:{user}"),
    "a wallet loses": (do("HINCRBY", keys.wallet, "c", -5), "viewer:{user}"),
    "a wallet is no number": (do("HSET", keys.wallet, "c", "many"), "viewer:{user}"),
    "a wallet is deleted": (do("DEL", keys.wallet), "viewer:{user}"),
    "a wallet is of another type": (do("SET", keys.wallet, "x"), "viewer:{user}"),
    "a wallet is invented": (invented_wallet, "viewer:{ghost}"),
    "a wallet is in another partition": (anothers_wallet, "w:{lost}"),
    "a wallet is frozen": (do("HSET", keys.wallet, "st", "frozen"), "viewer:{user}"),
    "a limit is lifted": (do("HDEL", keys.wallet, "limit"), "viewer:{user}"),
    "a limit is raised": (do("HSET", keys.wallet, "limit", 9_999), "viewer:{user}"),
    "what was spent today shrinks": (do("HSET", keys.wallet, "spent", 1), "viewer:{user}"),
    "what was spent is of another day": (do("HSET", keys.wallet, "day", 1, "spent", 0), "viewer:{user}"),
    "what was spent is forgotten": (do("HDEL", keys.wallet, "day", "spent"), "viewer:{user}"),
    "a counter gains": (do("INCRBY", counter_of, 7), "creator:ann"),
    "a counter loses": (do("DECRBY", counter_of, 1), "creator:ann"),
    "a counter is deleted": (do("DEL", counter_of), "creator:ann"),
    "a counter is invented": (do("SET", lambda user: counter_of(user, "bob"), 9), "creator:bob"),
    "a receipt is deleted": (do("HDEL", GIFT), "receipt:{user}:{gift}"),
    "a receipt is changed": (receipt_of_another_price, "receipt:{user}:{gift}"),
    "a receipt is not readable": (do("HSET", GIFT, "nonsense"), "receipt:{user}:{gift}"),
    "a receipt is invented": (invented_receipt, "receipt:{user}:"),
    "a receipt is of a later entry": (receipt_of_a_later_entry, "receipt:{user}:"),
    "an order's receipt is deleted": (deleted_order, "receipt:{user}:topup:"),
    "coins spent are changed": (do("HINCRBY", meta_of, "coins", -1), "coins spent"),
    "diamonds are changed": (do("HINCRBY", meta_of, "diamonds", 1), "diamonds"),
    "coins bought are deleted": (do("HDEL", meta_of, "bought"), "bought"),
    "coins refunded are invented": (do("HINCRBY", meta_of, "refunded", 1), "refunded"),
    "coins charged back are invented": (do("HINCRBY", meta_of, "charged_back", 1), "charged back"),
    "the time of a status is changed": (do("HSET", keys.wallet, "st_ms", 7), "viewer:{user}"),
    "the time of a limit is changed": (do("HINCRBY", keys.wallet, "limit_ms", 1), "viewer:{user}"),
    "the epoch is changed": (do("HSET", meta_of, "epoch", 99), "epoch"),
    "the opening is deleted": (do("HDEL", meta_of, "opened"), "opened"),
    "only the journal says frozen": (thawed_alone, "frozen"),
    "only the store says frozen": (do("HSET", meta_of, "frozen", 1), "frozen"),
    "an entry of the log is changed": (changed_entry, "{gift_entry}"),
    "an entry of the log is deleted": (deleted_entry, "1-1"),
    "the log is trimmed too far": (trimmed_too_far, "log"),
    "the totals are of another type": (do("SET", meta_of, "x"), "log"),
}
PARTITIONS = {name: number + 1 for number, name in enumerate(ROWS)}  # 0 stays as it is


async def set_up(desk: Desk) -> dict[str, str]:
    """A user in each partition with a limit, and a gift that they gave. Returns the gifts by user."""
    gifts = {}
    for partition in PARTITIONS.values():
        user = user_of(partition)
        await desk.buy(user, 100, id=f"t-{user}")
        await desk.site.node.own_limits.set(user, "l1", 5_000)
        gifts[user] = await desk.give(user, 30)
    await desk.journal()
    return gifts


def found(report: Report, partition: int) -> list[str]:
    return [wrong.where for wrong in report.wrong if wrong.partition == partition]


async def test_each_corruption_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One audit finds each, by its first wrong key, and freezes the partitions of these and no other."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.2)  # nobody drains while it looks
    gifts = await set_up(desk)
    report = await audit_of(desk).run(freeze=True)
    assert (report.ok, report.wrong, report.not_compared) == (True, [], {})
    assert report.counters_compared == len(PARTITIONS)
    for name, (corrupt, _) in ROWS.items():
        user = user_of(PARTITIONS[name])
        await corrupt(desk, user, gifts[user])
    report = await audit_of(desk).run(freeze=True)
    for name, (_, where) in ROWS.items():
        partition = PARTITIONS[name]
        user = user_of(partition)
        names = {"user": user, "ghost": user_of(partition, "ghost"), "lost": user_of(0, "lost")}
        expected = where.format(**names, gift=gifts[user], gift_entry="1-3")
        assert any(each.startswith(expected) for each in found(report, partition)), (name, found(report, partition))
    assert not report.ok
    assert {wrong.partition for wrong in report.wrong} == set(PARTITIONS.values())
    frozen = {row.partition for row in desk.rows(select(quarantine))}
    assert frozen == set(PARTITIONS.values())


# --- and corrected ---------------------------------------------------------------------------------------------------
NOT_CORRECTED = "the log is trimmed too far"  # only a backup has these entries
WITHOUT_TIME = "the totals are of another type"  # the journal process gives the partition its time again


NO_ENTRY = ("now", "forgot", "strings")


async def contents(desk: Desk, partition: int) -> dict[str, Any]:
    """All that the store has of a partition, but for its log, and for what no entry says."""
    found: dict[str, Any] = {}
    for key in await desk.money.call("KEYS", keys.all_of(partition)):
        name = key.decode()
        if name == keys.log(partition):
            continue
        of_type = await desk.money.call("TYPE", key)
        if of_type == b"hash":
            fields = await desk.money.call("HGETALL", key)
            found |= {f"{name} {field.decode()}": value for field, value in fields.items()}
        else:
            found[name] = await desk.money.call("GET", key)
    return {
        name: value for name, value in found.items() if not name.startswith(f"{keys.wallet_meta(partition)} opened")
    }


async def test_each_is_corrected(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards the store has exactly what it had before, the audit is content, and every partition is thawed."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.2)
    gifts = await set_up(desk)
    some = 1 if desk.site.node.engine.dialect.name == "sqlite" else 4  # each takes several transactions
    at = {name: partition for name, partition in [*PARTITIONS.items()][::some] if name != NOT_CORRECTED}
    before = {name: await contents(desk, partition) for name, partition in at.items()}
    for name, partition in at.items():
        await ROWS[name][0](desk, user_of(partition), gifts[user_of(partition)])
    await audit_of(desk).run(freeze=True)
    await desk.journal()
    repair = Repair(desk.site.node.engine, desk.money, desk.site.node.clock)
    looked = {each.partition: each for each in await repair.frozen()}
    for name, partition in at.items():
        wrong = not name.endswith("says frozen")
        assert (f"--correct {partition}" in looked[partition].advice) == wrong, (name, looked[partition])
        said = await repair.correct(partition)
        assert bool(said) == wrong, (name, said)
        await repair.thaw(partition)
        after = await contents(desk, partition)
        after = {key: value for key, value in after.items() if value != b"0" or key in before[name]}  # none is 0
        if name == WITHOUT_TIME:
            before[name] = {key: value for key, value in before[name].items() if key.split(" ")[-1] not in NO_ENTRY}
        assert after == before[name], name
    await desk.journal()
    report = await audit_of(desk).run()
    assert (report.ok, report.wrong, report.stuck) == (True, [], {})
