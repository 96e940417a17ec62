"""The way back from an alarm: rows from log or backup, columns from entries, the store's side from the journal."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from server import limits
from server.journal import database, pen
from server.journal.correct import NotFrozen
from server.journal.imports import NotOurs, Source
from server.journal.pen import BooksFrozen
from server.journal.rebuild import Broken
from server.journal.repair import SCRIPTS, Repair, StillWrong
from server.journal.tables import quarantine
from server.journal.unlocked import unlocked
from server.store import keys
from server.store.client import Store
from tests.journal.copies import copied, restored
from tests.journal.desk import Desk, a_desk
from tests.journal.small import fill_books
from tests.journal.tampering import tamper
from tests.journal.test_corruptions_store import contents
from tests.site import WAIT_S, Site

CLEOS = keys.partition_of("cleo")
DERIVED = ("entries", "legs", "positions", "watermarks")  # what a rebuild puts right


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


@pytest.fixture
async def repair(desk: Desk) -> AsyncIterator[Repair]:
    wallet = Store("wallet", desk.site.settings.wallet_address, scripts=SCRIPTS)
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    yield Repair(desk.site.node.engine, wallet, desk.site.node.clock)
    await wallet.stop()


@pytest.fixture
def backup(request: pytest.FixtureRequest, journal: str, empty_journal: Path, tmp_path: Path) -> Iterator[Engine]:
    """Another, empty journal."""
    path = tmp_path / "backup.sqlite3"
    shutil.copyfile(empty_journal, path)
    server = None if journal.startswith("sqlite") else request.getfixturevalue("postgres")
    engine = database.connect(f"sqlite:///{path}" if server is None else server.journal())
    yield engine
    engine.dispose()


async def trim(desk: Desk) -> None:
    """Trim every log, as if its entries had been journaled long ago."""
    for partition in range(limits.WALLET_PARTITIONS):
        await desk.money.call("XTRIM", keys.log(partition), "MAXLEN", 0)


def books(desk: Desk) -> dict[str, Any]:
    """The rows that follow from entries."""
    return {name: rows for name, rows in copied(desk.site.node.engine).items() if name in DERIVED}


# --- a log that was trimmed too far ----------------------------------------------------------------------------------
async def test_rows_that_the_log_has_trimmed_come_from_a_backup(desk: Desk, repair: Repair, backup: Engine) -> None:
    """An old journal misses rows that the log no longer has. A newer backup continues it, row by row."""
    await desk.buy("cleo", 100)
    await desk.journal()
    old = copied(desk.site.node.engine)
    topup = await desk.buy("cleo", 50)
    await desk.give("cleo", 30)
    await desk.journal()
    restored(backup, copied(desk.site.node.engine))
    await trim(desk)
    restored(desk.site.node.engine, old)
    await desk.give("cleo", 10)
    await desk.journal()

    [found] = await repair.frozen()
    assert (found.partition, found.missing) == (CLEOS, ("1-2", "1-3"))
    assert "--import" in found.advice
    [taken] = await repair.take(Source(backup))
    assert (taken.partition, taken.rows, taken.last) == (CLEOS, 2, "1-3")
    assert await repair.take(Source(backup)) == [], "the log goes on where the journal ends"
    await repair.thaw(CLEOS)
    await desk.journal()
    await desk.give("cleo", 10)
    assert (await desk.charge_back(topup)).coins == -50


async def test_only_a_continuation_is_taken(desk: Desk, repair: Repair, backup: Engine) -> None:
    """A backup that has another last entry, or a changed row, gives nothing."""
    await desk.buy("cleo", 100)
    await desk.journal()
    old = copied(desk.site.node.engine)
    await desk.give("cleo", 30)
    await desk.give("cleo", 20)
    await desk.journal()
    new = copied(desk.site.node.engine)
    await trim(desk)
    restored(desk.site.node.engine, old)
    await desk.give("cleo", 10)
    await desk.journal()
    wrong: tuple[Callable[[dict[str, Any]], bool], ...] = (
        lambda row: row["kind"] == "topup" and row["user_id"] == "cleo",
        lambda row: row["kind"] == "gift",
    )
    for is_wrong in wrong:
        rows = [{**row, "hash": "f" * 64} if is_wrong(row) else row for row in new["entries"]]
        restored(backup, {**new, "entries": rows})
        with pytest.raises(NotOurs):
            await repair.take(Source(backup))
    restored(backup, new)
    assert len(await repair.take(Source(backup))) == 1
    await repair.thaw(CLEOS)


# --- changed rows ----------------------------------------------------------------------------------------------------
GIFT = f"kind = 'gift' AND partition = {CLEOS}"
CHANGES = {
    "a creator": f"UPDATE entries SET creator_id = 'eve' WHERE {GIFT}",
    "an amount": f"UPDATE entries SET coins = coins + 1 WHERE {GIFT}",
    "a body": f"UPDATE entries SET body = replace(body, '\"coins\":30', '\"coins\":31') WHERE {GIFT}",
    "a hash": f"UPDATE entries SET hash = '{'0' * 64}' WHERE {GIFT}",
    "no row": f"DELETE FROM entries WHERE {GIFT} AND coins = 30",
    "no last row": f"DELETE FROM entries WHERE {GIFT} AND coins = 20",
    "one row more": "INSERT INTO entries SELECT partition, epoch, n + 50, kind, user_id, 'x', room_id, creator_id,"
    f" coins, diamonds, balance, credited, combo_count, at_ms, body, hash, version, text"
    f" FROM entries WHERE {GIFT} AND coins = 20",
    "a leg of a gift": f"INSERT INTO legs VALUES ({CLEOS}, 1, 2, 0, 'coins', 'viewer:cleo', -30)",
    "a leg of nothing": f"INSERT INTO legs VALUES ({CLEOS}, 1, 99, 0, 'coins', 'viewer:eve', 7)",
    "a position": f"UPDATE positions SET balance = balance + 7 WHERE partition = {CLEOS}",
    "no position": f"DELETE FROM positions WHERE partition = {CLEOS}",
    "a position of nobody": f"INSERT INTO positions VALUES ({CLEOS}, 'viewer:eve', 7)",
    "no watermark": f"DELETE FROM watermarks WHERE partition = {CLEOS}",
}
LEGS = {
    "amounts": f"UPDATE legs SET amount = amount * 2 WHERE partition = {CLEOS} AND asset = 'diamonds'",
    "an account": f"UPDATE legs SET account = 'creator:eve' WHERE partition = {CLEOS} AND leg = 3",
    "no leg": f"DELETE FROM legs WHERE partition = {CLEOS} AND leg = 1",
    "no legs": f"DELETE FROM legs WHERE partition = {CLEOS}",
}
IN_ENTRIES = ("a body", "no row", "no last row")  # these need another copy of the entry


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection, unlocked(connection):
        assert connection.exec_driver_sql(statement).rowcount


async def some_gifts(desk: Desk) -> None:
    await desk.buy("cleo", 100)
    await desk.give("cleo", 30)
    await desk.give("cleo", 20)
    await desk.journal()


@pytest.mark.parametrize("changed", CHANGES)
async def test_a_changed_row_is_put_right(desk: Desk, repair: Repair, changed: str) -> None:
    """The entries, and the log behind them, say what every row was."""
    await some_gifts(desk)
    before = books(desk)
    change(desk.site.node.engine, CHANGES[changed])
    assert books(desk) != before
    [done] = await repair.rebuild([CLEOS], None)
    assert done.changed
    assert done.legs == ("leg" in changed)
    assert books(desk) == before
    [done] = await repair.rebuild([CLEOS], None)
    assert not done.changed


@pytest.mark.parametrize("changed", LEGS)
async def test_changed_legs_are_put_right(desk: Desk, repair: Repair, changed: str) -> None:
    """A chargeback's entry says what it took of whom."""
    topup = await desk.buy("cleo", 100)
    await desk.give("cleo", 30)
    await desk.charge_back(topup)
    await desk.journal()
    before = books(desk)
    change(desk.site.node.engine, LEGS[changed])
    assert books(desk) != before
    [done] = await repair.rebuild([CLEOS], None)
    assert (done.entries, done.legs, done.positions) == (0, 1, 0)
    assert books(desk) == before


@pytest.mark.parametrize("changed", IN_ENTRIES)
async def test_a_changed_entry_comes_from_a_backup(desk: Desk, repair: Repair, backup: Engine, changed: str) -> None:
    """When the log was trimmed, nothing is changed without a backup that leads to the watermark's hash."""
    await some_gifts(desk)
    before, whole = books(desk), copied(desk.site.node.engine)
    await trim(desk)
    change(desk.site.node.engine, CHANGES[changed])
    after = books(desk)
    with pytest.raises(Broken):
        await repair.rebuild([CLEOS], None)
    assert books(desk) == after
    restored(backup, whole)
    change(backup, f"UPDATE entries SET at_ms = at_ms + 1 WHERE {GIFT}")
    with pytest.raises(Broken):
        await repair.rebuild([CLEOS], Source(backup))
    assert books(desk) == after
    restored(backup, whole)
    assert (await repair.rebuild([CLEOS], Source(backup)))[0].changed
    assert books(desk) == before


async def test_orders_come_back_from_entries(desk: Desk, repair: Repair) -> None:
    """Deleted rows of top-ups and reversals are written again."""
    await some_gifts(desk)
    gift = await desk.give("cleo", 5)
    await desk.journal()
    await desk.refund(gift)
    await desk.journal()
    names = ("topups", "reversals")
    before = copied(desk.site.node.engine)
    for name in names:
        change(desk.site.node.engine, f"DELETE FROM {name}")
    await repair.rebuild(range(limits.WALLET_PARTITIONS), None)
    after = copied(desk.site.node.engine)
    for name, known in (("topups", ("id", "user_id", "coins", "source", "balance")), ("reversals", ("ref", "user_id"))):
        assert [[row[each] for each in known] for row in after[name]] == [
            [row[each] for each in known] for row in before[name] if row["state"] == "posted"
        ]


# --- the store's side ------------------------------------------------------------------------------------------------
async def test_the_store_is_corrected_from_the_journal(desk: Desk, repair: Repair) -> None:
    """Balances, counters and totals become what the journal and the waiting entries say; only while frozen."""
    await some_gifts(desk)
    await desk.give("cleo", 10)  # not journaled
    await desk.money.call("HINCRBY", keys.wallet("cleo"), "c", 1_000)
    await desk.money.call("INCRBY", keys.credit(CLEOS, "ann"), 7)
    await desk.money.call("HINCRBY", keys.wallet_meta(CLEOS), "coins", -1)
    with pytest.raises(NotFrozen):
        await repair.correct(CLEOS)
    await desk.money.call("HSET", keys.wallet_meta(CLEOS), "frozen", "1")
    [found] = await repair.frozen()
    side = next(side for side in found.sides if side.where == "viewer:cleo")
    assert ("position 50" in side.journal, side.store) == (True, "1040")
    assert f"--correct {CLEOS}" in found.advice
    with pytest.raises(StillWrong):
        await repair.thaw(CLEOS)
    assert len(await repair.correct(CLEOS)) == 3
    assert await repair.correct(CLEOS) == []
    await repair.thaw(CLEOS)
    assert await desk.holds("cleo") == 40
    await desk.journal()  # nothing waits any more
    await desk.money.call("HINCRBY", keys.wallet("cleo"), "c", 1_000)
    await desk.money.call("HSET", keys.wallet_meta(CLEOS), "frozen", "1")
    assert len(await repair.correct(CLEOS)) == 1
    await repair.thaw(CLEOS)
    assert await desk.holds("cleo") == 40


async def test_everything_of_a_partition_comes_back(desk: Desk, repair: Repair) -> None:
    """Statuses, limits, the day's spending and receipts, too, as the entries say, journaled or not."""
    await desk.site.node.own_limits.set("cleo", "l1", 500)
    await some_gifts(desk)
    await desk.site.node.freezes.freeze("cleo", "f1")
    await desk.site.node.freezes.unfreeze("cleo", "u1")
    await desk.journal()
    await desk.site.node.own_limits.set("cleo", "l2", 900)  # from tomorrow; this and the next are not journaled
    await desk.give("cleo", 10)
    before = await contents(desk, CLEOS)
    await desk.money.call("HSET", keys.wallet_meta(CLEOS), "frozen", "1")
    for key in await desk.money.call("KEYS", keys.all_of(CLEOS)):
        if key.decode() not in (keys.log(CLEOS), keys.wallet_meta(CLEOS)):
            await desk.money.call("DEL", key)
    await desk.money.call("SET", keys.receipt("cleo", "topup:invented"), "f 7 1-1")
    await repair.correct(CLEOS)
    assert await repair.correct(CLEOS) == []
    await repair.thaw(CLEOS)
    assert await contents(desk, CLEOS) == before


async def test_emptying_a_partition(
    desk: Desk, repair: Repair, another_site: Callable[[], Awaitable[Site]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a frozen one. Log and totals go last and together: as long as one is there, no node fills it."""
    monkeypatch.setattr(limits, "AUDIT_SCAN", 2)
    await some_gifts(desk)
    with pytest.raises(NotFrozen):
        await repair.empty(CLEOS)
    every = await desk.money.call("KEYS", keys.all_of(CLEOS))
    others = await desk.money.call("DBSIZE") - len(every)
    with desk.site.node.engine.begin() as connection:
        row = {"partition": CLEOS, "epoch": 0, "n": 0, "reason": "a test", "body": "", "at_ms": 1}
        connection.execute(insert(quarantine).values(row))
    deleted: list[list[str]] = []
    call = repair._wallet.call

    async def noted(*command: Any) -> Any:
        if command[0] == "UNLINK":
            deleted.append([name if isinstance(name, str) else name.decode() for name in command[1:]])
        return await call(*command)

    monkeypatch.setattr(repair._wallet, "call", noted)
    assert await repair.empty(CLEOS) == len(every) > 4
    assert await call("KEYS", keys.all_of(CLEOS)) == []
    assert await call("DBSIZE") == others
    assert {*deleted[-1]} == {keys.log(CLEOS), keys.wallet_meta(CLEOS)}
    assert [len(names) for names in deleted[:-1]] == [2] * (len(every) // 2 - 1) + [1] * (len(every) % 2)
    monkeypatch.undo()
    await another_site()
    await repair.thaw(CLEOS)
    assert await desk.holds("cleo") == 50


async def test_both_sides_of_a_changed_row(desk: Desk, repair: Repair) -> None:
    """The explanation has the journal's row and the log's entry, and what a rebuild would correct."""
    await some_gifts(desk)
    change(desk.site.node.engine, CHANGES["a body"])
    await desk.money.call("HSET", keys.wallet_meta(CLEOS), "frozen", "1")
    before = books(desk)
    [found] = await repair.frozen()
    assert books(desk) == before, "looking changes nothing"
    side = found.sides[0]
    assert ('"coins":31' in side.journal, '"coins":30' in side.store) == (True, True)
    assert f"--rebuild {CLEOS}" in found.advice
    with pytest.raises(StillWrong):
        await repair.correct(CLEOS)
    await repair.rebuild([CLEOS], None)
    await repair.thaw(CLEOS)


# --- the books -------------------------------------------------------------------------------------------------------
TAMPERED = {
    "a column": ("UPDATE entries SET diamonds = 90 WHERE {} AND n = 1",),
    "a leg": ("UPDATE legs SET amount = amount * 2 WHERE {} AND n = 1",),
    "a body": ("UPDATE entries SET body = REPLACE(body, '480', '999') WHERE {} AND n = 1",),
    "an entry": ("DELETE FROM entries WHERE {} AND n = 1", "DELETE FROM legs WHERE {} AND n = 1"),
}


@pytest.mark.parametrize("changed", TAMPERED)
async def test_changed_books_are_put_right(desk: Desk, repair: Repair, backup: Engine, changed: str) -> None:
    """Only the books are frozen by it. What the entry says comes from itself, and the entry from a backup."""
    engine = desk.site.node.engine
    fill_books(engine)
    await desk.buy("cleo", 100)
    await desk.journal()
    right = books(desk)
    restored(backup, copied(engine))
    statements = [each.format(f"partition = {limits.BOOKS}") for each in TAMPERED[changed]]
    assert tamper(engine, *statements)

    report = await repair._audit.run(freeze=True)
    assert {each.partition for each in report.wrong} == {limits.BOOKS}
    await desk.give("cleo", 10)
    await desk.journal()
    with pytest.raises(BooksFrozen), engine.begin() as connection:
        pen.lock(connection)
    with pytest.raises(StillWrong):
        await repair.thaw(limits.BOOKS)
    [found] = await repair.frozen()
    by_itself = changed in ("a column", "a leg")
    assert (found.partition, "--import" in found.advice) == (limits.BOOKS, not by_itself)
    await repair.rebuild([limits.BOOKS], None if by_itself else Source(backup))
    await repair.thaw(limits.BOOKS)
    here = {name: [row for row in rows if row["partition"] == limits.BOOKS] for name, rows in books(desk).items()}
    assert here == {name: [row for row in rows if row["partition"] == limits.BOOKS] for name, rows in right.items()}
