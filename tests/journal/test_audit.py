"""The audit beside a drain at full load: no false alarm, a real difference is found, and an alarm can be undone."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import insert, select, text, update

from server import limits
from server.clock import Clock
from server.journal import derived
from server.journal.audit import Audit
from server.journal.database import reading
from server.journal.repair import NotFrozen, Repair, StillWrong
from server.journal.tables import entries, positions, quarantine, watermarks
from server.store import keys
from tests.journal.desk import Desk, a_desk
from tests.journal.tampering import tamper
from tests.money import a_gift
from tests.site import Site

AUDITS = 4
GIVERS = 4


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


@pytest.fixture
def audit(desk: Desk) -> Audit:
    return Audit(desk.site.node.engine, desk.money, desk.site.node.clock)


@pytest.fixture
def repair(desk: Desk) -> Repair:
    return Repair(desk.site.node.engine, desk.money, desk.site.node.clock)


async def _until(stopping: asyncio.Event, act: Callable[[], Awaitable[object]]) -> None:
    while not stopping.is_set():
        await act()


async def test_no_alarm_beside_a_drain_at_full_load(desk: Desk, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every partition is compared while its givers never stop: store and journal as of one log id."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 30.0)  # a busy machine may give the drain no turn for long
    monkeypatch.setattr(limits, "AUDIT_WAIT_S", 30.0)
    givers = [f"giver{n}" for n in range(GIVERS)]
    for giver in givers:
        await desk.buy(giver, 1_000_000)
    await desk.journal()
    stopping = asyncio.Event()
    wallet = desk.site.node.wallet
    async with desk.journaling():
        load = [asyncio.create_task(_until(stopping, lambda g=g: wallet.spend(a_gift(g, 1)))) for g in givers]
        try:
            reports = [await audit.run(freeze=True, everything=False) for _ in range(AUDITS)]
        finally:
            stopping.set()
            await asyncio.gather(*load)
    assert [report.wrong for report in reports] == [[]] * len(reports)
    assert reports[-1].entries > reports[0].entries, "nothing moved meanwhile"
    assert [report.not_compared for report in reports] == [{}] * len(reports), "a partition under load was skipped"
    assert [report.ok for report in reports] == [True] * len(reports)


async def test_statements_of_a_reader_see_one_moment(desk: Desk) -> None:
    """A reader's transaction does not see what is written between two of its statements."""
    engine = desk.site.node.engine
    with reading(engine).connect() as connection:
        before = connection.execute(select(watermarks)).all()
        await desk.buy("late", 5)
        await desk.journal()
        assert connection.execute(select(watermarks)).all() == before
        assert connection.execute(select(entries.c.n).where(entries.c.user_id == "late")).all() == []
    with reading(engine).connect() as connection:
        assert connection.execute(select(watermarks)).all() != before


async def test_a_reader_cannot_write_on_postgresql(desk: Desk) -> None:
    """Readers use REPEATABLE READ READ ONLY, writers READ COMMITTED."""
    engine = desk.site.node.engine
    if engine.dialect.name == "sqlite":
        return
    shown = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
    with reading(engine).connect() as connection:
        assert tuple(connection.execute(text(shown)).one()) == ("repeatable read", "on")
    with engine.begin() as connection:
        assert tuple(connection.execute(text(shown)).one()) == ("read committed", "off")


async def _corrupt(desk: Desk, user: str, by: int) -> None:
    """Change one number in the journal, as a person or a bad disk might."""
    with desk.site.node.engine.begin() as connection:
        where = positions.c.account == f"viewer:{user}"
        connection.execute(update(positions).where(where).values(balance=positions.c.balance + by))


async def test_a_real_difference_is_found_and_freezes_only_when_told(desk: Desk, audit: Audit, repair: Repair) -> None:
    """The command only reports; with `--freeze` it freezes the wrong partition, and no other."""
    await desk.buy("cleo", 100)
    await desk.journal()
    await _corrupt(desk, "cleo", 7)
    partition = keys.partition_of("cleo")
    report = await audit.run()
    assert {wrong.partition for wrong in report.wrong} == {partition}
    assert desk.rows(select(quarantine)) == []
    await audit.run(freeze=True)
    assert [row.partition for row in desk.rows(select(quarantine))] == [partition]
    await _corrupt(desk, "cleo", -7)
    await repair.thaw(partition)


async def test_a_false_alarm_has_a_way_back(desk: Desk, repair: Repair) -> None:
    """After a thaw a correct partition goes on, with what was paid before it was frozen."""
    await desk.buy("cleo", 100)
    await desk.journal()
    await desk.give("cleo", 10)  # paid, but not journaled yet when the alarm comes
    partition = keys.partition_of("cleo")
    with desk.site.node.engine.begin() as connection:
        row = {"partition": partition, "epoch": 0, "n": 0, "reason": "audit: coins: a false alarm", "body": ""}
        connection.execute(insert(quarantine).values(**row, at_ms=1))
    await desk.journal()
    assert await desk.outcome(desk.site.node.wallet.spend(a_gift("cleo", 1))) == "wallet_unavailable"

    [found] = await repair.frozen()
    assert (found.partition, found.reasons) == (partition, ["audit: coins: a false alarm"])
    assert (found.in_store, found.waiting, found.wrong) == (True, 1, [])
    assert desk.rows(select(quarantine)) != [], "looking changes nothing"

    await repair.thaw(partition)
    assert await repair.frozen() == []
    await desk.journal()
    await desk.give("cleo", 1)
    with pytest.raises(NotFrozen):
        await repair.thaw(partition)


async def test_a_wrong_partition_stays_frozen(desk: Desk, audit: Audit, repair: Repair) -> None:
    """A thaw first compares the journal with the store again."""
    await desk.buy("cleo", 100)
    await desk.journal()
    partition = keys.partition_of("cleo")
    await desk.money.call("HINCRBY", keys.wallet("cleo"), "c", 1_000)
    report = await audit.run(freeze=True)
    assert [wrong.where for wrong in report.wrong] == ["viewer:cleo"]
    await desk.journal()
    with pytest.raises(StillWrong, match="viewer:cleo"):
        await repair.thaw(partition)
    assert desk.rows(select(quarantine)) != []
    await desk.money.call("HINCRBY", keys.wallet("cleo"), "c", -1_000)
    await repair.thaw(partition)
    await desk.give("cleo", 1)


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # it runs no SQL of its own
async def test_all_that_are_right_are_thawed(desk: Desk, repair: Repair) -> None:
    """A thaw of all says which ones it thawed; those with something wrong stay frozen."""
    await desk.buy("cleo", 100)
    await desk.journal()
    for partition in (3, 9, wrong := keys.partition_of("cleo")):
        await desk.money.call("HSET", keys.wallet_meta(partition), "frozen", "1")
    await desk.money.call("HINCRBY", keys.wallet("cleo"), "c", 5)
    assert await repair.thaw_all() == [3, 9]
    assert [each.partition for each in await repair.frozen()] == [wrong]
    await desk.money.call("HINCRBY", keys.wallet("cleo"), "c", -5)
    assert await repair.thaw_all() == [wrong]


async def test_a_thaw_looks_at_every_wallet(desk: Desk, repair: Repair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thaw also checks wallets that an audit's first window does not reach."""
    monkeypatch.setattr(limits, "AUDIT_WALLETS", 4)
    partition = keys.partition_of("cleo")
    others = [f"u{n}" for n in range(2_000) if keys.partition_of(f"u{n}") == partition][:7]
    for user in (*others, "zoe-cleo"):
        await desk.buy(user, 10)
    await desk.journal()
    await desk.money.call("HSET", keys.wallet_meta(partition), "frozen", "1")
    last = max(others)
    await desk.money.call("HINCRBY", keys.wallet(last), "c", 5)
    [found] = await repair.frozen()
    assert [wrong.where for wrong in found.wrong] == [f"viewer:{last}"]
    await desk.money.call("HINCRBY", keys.wallet(last), "c", -5)
    await repair.thaw(partition)


async def test_a_running_journal_thaws_what_it_froze(desk: Desk) -> None:
    """The journal may freeze once more after the row is deleted; its next round thaws the partition."""
    await desk.buy("cleo", 100)
    partition = keys.partition_of("cleo")
    with desk.site.node.engine.begin() as connection:
        row = {"partition": partition, "epoch": 0, "n": 0, "reason": "audit: x", "body": "", "at_ms": 1}
        connection.execute(insert(quarantine).values(**row))
    await desk.journal()
    with desk.site.node.engine.begin() as connection:
        connection.execute(quarantine.delete())
    assert await desk.money.call("HGET", keys.wallet_meta(partition), "frozen") == b"1"
    await desk.journal()
    assert await desk.money.call("HGET", keys.wallet_meta(partition), "frozen") is None
    await desk.give("cleo", 1)


async def test_a_changed_order_freezes_only_its_partition(desk: Desk, audit: Audit, repair: Repair) -> None:
    """The audit compares orders with the entries that carried them out, and so does a thaw."""
    topup = await desk.buy("cleo", 100)
    await desk.buy("bob", 100)
    await desk.journal()
    engine, partition = desk.site.node.engine, keys.partition_of("cleo")
    assert partition != keys.partition_of("bob")
    assert tamper(engine, f"UPDATE topups SET coins = 900 WHERE id = '{topup}'") == 1
    report = await audit.run(freeze=True)
    assert [(wrong.partition, wrong.where) for wrong in report.wrong] == [(partition, f"top-up {topup}")]
    assert [row.partition for row in desk.rows(select(quarantine))] == [partition]
    await desk.journal()
    with pytest.raises(StillWrong, match="coins is 900, but 100 in its entry"):
        await repair.thaw(partition)
    tamper(engine, f"UPDATE topups SET coins = 100 WHERE id = '{topup}'")
    await repair.thaw(partition)


async def test_orders_are_compared_once_a_turn(desk: Desk) -> None:
    """A run over everything compares them, too. By a clock that stands, everything is compared just now."""
    now_s = [time.time()]
    audit = Audit(desk.site.node.engine, desk.money, Clock(lambda: now_s[0]))
    topup = await desk.buy("cleo", 100)
    await desk.journal()
    report = await audit.run(everything=False)
    assert (report.wrong, report.oldest_check_ms) == ([], 0)
    assert tamper(desk.site.node.engine, f"UPDATE topups SET coins = 900 WHERE id = '{topup}'") == 1
    assert (await audit.run(everything=False)).wrong == []
    now_s[0] += limits.AUDIT_TURN_S - 1
    assert (await audit.run(everything=False)).wrong == []
    now_s[0] += 1
    for everything in (False, True):
        assert [wrong.where for wrong in (await audit.run(everything=everything)).wrong] == [f"top-up {topup}"]
    tamper(desk.site.node.engine, f"UPDATE topups SET coins = 100 WHERE id = '{topup}'")


async def test_a_wrong_day_is_named_and_freezes_nothing(desk: Desk, audit: Audit) -> None:
    """A creator's day is of no partition. The report is not ok until a rebuild has written it again."""
    await desk.buy("cleo", 100)
    await desk.give("cleo", 10)
    await desk.journal()
    engine = desk.site.node.engine
    assert (await audit.run(everything=False)).ok
    tamper(engine, "UPDATE creator_days SET credited = 77")
    reports = [await audit.run(freeze=True, everything=False), await audit.run(freeze=True)]
    for report in reports:
        assert (report.ok, report.wrong, report.stuck) == (False, [], {})
        assert report.why_not().startswith("creator_days: ann on day "), report.why_not()
    assert desk.rows(select(quarantine)) == []
    derived.rebuild(engine)
    assert (await audit.run()).ok


async def test_wrong_parts_have_a_way_back(desk: Desk, audit: Audit, repair: Repair) -> None:
    """They freeze their wallet's partition. A thaw looks at them, too, and a rebuild derives them again."""
    await desk.buy("cleo", 100)
    gift = await desk.give("cleo", 10)
    await desk.journal()
    await desk.refund(gift)
    await desk.journal()
    engine, partition = desk.site.node.engine, keys.partition_of("cleo")
    invented = "INSERT INTO reversal_parts VALUES ('cleo', 'refund', 'x', 'x', 'ann', 1000, 1, 1, 7)"
    for changed in (invented, "UPDATE reversal_parts SET coins = 9", "DELETE FROM reversal_parts"):
        tamper(engine, changed)
        report = await audit.run(freeze=True)
        assert {(wrong.partition, wrong.where) for wrong in report.wrong} == {(partition, "reversal_parts:cleo")}
        await desk.journal()
        [found] = await repair.frozen()
        assert f"--rebuild {partition}" in found.advice
        with pytest.raises(StillWrong, match="reversal_parts"):
            await repair.thaw(partition)
        derived.rebuild(engine)
        await repair.thaw(partition)
        await desk.journal()
        assert (await audit.run()).ok
