"""`docs/operations.md`, followed with exactly its commands, on PostgreSQL; in the long form on SQLite, too."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from server import limits
from server.journal.tables import quarantine
from server.journal.unlocked import unlocked
from server.orders.topups import TopUp
from server.store import keys
from server.store.embedded import WALLET
from tests.journal.ledger import rows
from tests.pair import Pair
from tests.postgres import Journals
from tests.program import eventually
from tests.torture import rounds
from tests.torture.bank import WAIT_S, Bank
from tests.torture.procedure import CHANGED, DOCUMENT, N, Procedure
from tests.torture.test_restore import restore

pytestmark = pytest.mark.timeout(300)  # each command is a program that starts; the machine may be busy


@pytest.fixture(scope="module")
def postgres() -> Iterator[Journals]:
    server = Journals()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=rounds(["postgresql"], ["sqlite", "postgresql"]))
def address(request: pytest.FixtureRequest) -> str | None:
    """The journal's address, or None for SQLite in the bank's folder."""
    if request.param == "sqlite":
        return None
    server: Journals = request.getfixturevalue("postgres")
    return server.journal()


@pytest.fixture
async def bank(new_bank: Callable[..., Bank], address: str | None) -> Bank:
    made = new_bank(**({} if address is None else {"LIVEROOM_JOURNAL_URL": address}))
    await made.open()
    return made


@pytest.fixture
async def follow(bank: Bank, address: str | None) -> AsyncIterator[Callable[[str], Procedure]]:
    """Open procedures of the document. At the end all of their commands were run, and the bank is sound."""
    opened: list[Procedure] = []

    def begin(title: str) -> Procedure:
        opened.append(Procedure(title, bank, address))
        return opened[-1]

    yield begin
    if not opened:  # the test was skipped
        return
    assert [procedure.left for procedure in opened if procedure.left] == []
    await bank.check()


Follow = Callable[[str], Procedure]


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection, unlocked(connection):
        assert connection.exec_driver_sql(statement).rowcount


def back_up(follow: Follow, name: str | None = None) -> None:
    """Make a backup as the document says, under another name if one is given."""
    procedure = follow("Backups")
    procedure.step("mkdir")
    procedure.step("python" if procedure.kind == "SQLite" else "pg_dump")
    made = procedure.bank.folder / "backup" / ("journal.sqlite3" if procedure.kind == "SQLite" else "journal.dump")
    made.rename(made.with_stem(name or made.stem))


def test_every_procedure_is_followed() -> None:
    """A section with commands that no test follows is not to be trusted."""
    here, sections = Path(__file__).read_text(), re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", DOCUMENT, re.MULTILINE)
    assert [title for title, text in sections if "```" in text and f'"{title}"' not in here] == []


async def test_a_lost_wallet_store(bank: Bank, follow: Follow) -> None:
    """An empty store is filled from the journal."""
    await bank.give(100)
    await bank.drain()
    journaled = list(bank.book.acked)
    procedure = follow("The wallet store was lost, or comes from a backup")
    await restore(bank, None)
    assert bank.lost(journaled) == []
    await bank.drain()
    assert '"ok": true' in procedure.step("python -m server audit")
    await bank.give(20)


async def test_an_older_wallet_store(bank: Bank, follow: Follow) -> None:
    """An old copy gets what it misses."""
    await bank.give(50)
    await bank.drain()
    old = Path(shutil.copytree(bank.data, bank.folder / "copy"))
    await bank.give(50)
    await bank.drain()
    procedure = follow("The wallet store was lost, or comes from a backup")
    await restore(bank, old)
    await bank.drain()
    procedure.step("python -m server audit")


async def test_a_replica_takes_over(new_bank: Callable[..., Bank], address: str | None) -> None:
    """The replica is promoted by the document's command; the journal gives back what it had not received."""
    async with Pair.running(WALLET) as pair:
        bank = new_bank(**({} if address is None else {"LIVEROOM_JOURNAL_URL": address}))
        bank.use_address(pair.address)
        await bank.open_node()
        await bank.give(50)
        await bank.drain(pair.address)
        await pair.until_in_step()
        procedure = Procedure("A replica takes over", bank, address)
        pair.primary.kill()
        where = f"unix://{pair.replica.socket}"
        assert "OK" in await asyncio.to_thread(procedure.step, "python -c", REPLICA_URL=where)
        pair.promote()
        await bank.node.until_usable()
        await bank.give(20)
        await bank.resolve()
        await bank.drain(pair.address)
        await asyncio.to_thread(procedure.step, "python -m server audit", LIVEROOM_WALLET_URL=pair.address)
        assert procedure.left == []


@pytest.mark.parametrize("spoil", [("SET", keys.log(N), "no stream"), ("DEL", keys.log(N))])
async def test_a_partition_that_stays_closed(bank: Bank, follow: Follow, spoil: tuple[str, ...]) -> None:
    """Its log cannot be used. All its keys are deleted, and the journal gives back what they held."""
    await bank.one_more(CHANGED)
    await bank.drain()
    with bank.look() as look:
        look.execute_command(*spoil)
        bank.node.store.reopen()
        await eventually(lambda: bank.node.store.up and [*bank.node.store.closed] == [N], WAIT_S, "one closed")
        procedure = follow("A partition that stays closed")
        procedure.step("python -m server audit --freeze", code=1)
        assert f"python -m server repair --empty {N}" in procedure.step("python -m server repair", code=1)
        assert f"of partition {N}. The nodes fill it again." in procedure.step("python -m server repair --empty N")
    bank.node.store.reopen()
    await eventually(lambda: bank.node.store.up and not bank.node.store.closed, WAIT_S, "no closed partition")
    procedure.step("python -m server repair --thaw")
    await bank.drain()
    procedure.step("python -m server audit")
    await bank.one_more(CHANGED)


async def test_a_changed_row_and_a_lost_store(bank: Bank, follow: Follow) -> None:
    """An empty store gets nothing from a wrong row on. The journal is corrected first, then nodes fill the store."""
    await bank.one_more(CHANGED)
    await bank.drain()
    change(bank.engine, CHANGES["a creator"])
    await bank.kill_store()
    shutil.rmtree(bank.data)
    bank.store.start()
    here = bank.node.store
    await eventually(lambda: here.up and [*here.closed] == [N] and rows(bank.engine, quarantine), WAIT_S, "a reason")
    procedure = follow("A changed row in the journal")
    assert "creator_id is eve" in procedure.step("python -m server repair", code=1)
    assert f"Partition {N}: corrected" in procedure.step("python -m server repair --rebuild N")
    procedure.skip("python -m server repair --rebuild N --import")
    await here.open_closed()
    assert here.closed == {}
    procedure.step("python -m server repair --thaw")
    await bank.drain()
    procedure.step("python -m server audit")
    await bank.one_more(CHANGED)


async def test_a_false_alarm(bank: Bank, follow: Follow) -> None:
    """Nothing is wrong: the partition is thawed after one more look."""
    await bank.give(50)
    await bank.drain()
    with bank.engine.begin() as connection:
        row = {"partition": N, "epoch": 0, "n": 0, "reason": "audit: coins: a false alarm", "body": "", "at_ms": 1}
        connection.execute(insert(quarantine).values(row))
    await bank.drain()
    procedure = follow("A false alarm")
    said = procedure.step("python -m server repair", code=1)
    assert [words for words in (f"partition {N}", "nothing is wrong now") if words not in said] == []
    procedure.step("python -m server repair --thaw")
    procedure.step("python -m server audit")
    await bank.one_more(CHANGED)


CHANGES = {
    "a creator": f"UPDATE entries SET creator_id = 'eve' WHERE kind = 'gift' AND partition = {N}",
    "a body": f"UPDATE entries SET body = replace(body, 'rose', 'lily') WHERE kind = 'gift' AND partition = {N}",
    "a leg": f"INSERT INTO legs SELECT {N}, epoch, n, 9, 'coins', 'viewer:eve', 7 FROM entries WHERE partition = {N}",
}


@pytest.mark.parametrize("changed", CHANGES)
async def test_a_changed_row(bank: Bank, follow: Follow, changed: str) -> None:
    """The audit freezes the partition; the log or the entries themselves give the row back."""
    await bank.one_more(CHANGED)
    await bank.drain()
    change(bank.engine, CHANGES[changed])
    assert {wrong.partition for wrong in (await bank.audit()).wrong} <= {N}
    with bank.look() as look:
        look.hset(keys.wallet_meta(N), "frozen", "1")
    procedure = follow("A changed row in the journal")
    assert f"partition {N}" in procedure.step("python -m server repair", code=1)
    assert f"Partition {N}: corrected" in procedure.step("python -m server repair --rebuild N")
    procedure.skip("python -m server repair --rebuild N --import")
    procedure.step("python -m server repair --thaw")
    procedure.step("python -m server audit")


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)  # the address of another database is tried below
async def test_a_changed_row_of_a_backup(bank: Bank, follow: Follow) -> None:
    """Without the log a backup gives the row back."""
    await bank.one_more(CHANGED)
    await bank.drain()
    back_up(follow)
    change(bank.engine, CHANGES["a body"])
    with bank.look() as look:
        look.hset(keys.wallet_meta(N), "frozen", "1")
        look.xtrim(keys.log(N), maxlen=0, approximate=False)
    procedure = follow("A changed row in the journal")
    assert "--import" in procedure.step("python -m server repair", code=1)
    procedure.step("python -m server repair --rebuild N", code=2)
    procedure.step("python -m server repair --rebuild N --import")
    procedure.step("python -m server repair --thaw")
    procedure.step("python -m server audit")


async def test_a_wrong_number_in_the_wallet_store(bank: Bank, follow: Follow) -> None:
    """The audit freezes the partition; the journal says what the number was."""
    await bank.one_more(CHANGED)
    await bank.drain()
    with bank.look() as look:
        look.hset(keys.wallet(CHANGED), mapping={"c": 1_000, "st": "frozen"})
    assert {wrong.partition for wrong in (await bank.audit()).wrong} == {N}
    await bank.drain()
    procedure = follow("A wrong number in the wallet store")
    assert f"viewer:{CHANGED} in the wallet store" in procedure.step("python -m server repair", code=1)
    assert f":w:{CHANGED} st frozen -> nothing" in procedure.step("python -m server repair --correct")
    procedure.step("python -m server repair --thaw")
    procedure.step("python -m server audit")
    await bank.one_more(CHANGED)


async def test_a_claim_that_no_top_up_has(bank: Bank, follow: Follow) -> None:
    """The audit names it, and freezes nothing. Once it is removed, the id buys."""
    await bank.one_more(CHANGED)
    await bank.drain()
    with bank.look() as look:
        look.set(keys.claim("invented"), "anything")
    report = await bank.audit()
    assert ([doubt for doubt in report.doubts if "invented" not in doubt], report.wrong) == ([], [])
    assert len(report.doubts) == 1
    procedure = follow("A claim that no top-up has")
    assert "claim:invented: no top-up has this id" in procedure.step("python -m server repair")
    assert "Removed the claim on invented" in procedure.step("python -m server repair --claims")
    assert '"ok": true' in procedure.step("python -m server audit")
    await bank.one_more(CHANGED)


async def test_wrong_derived_rows(bank: Bank, follow: Follow) -> None:
    """A wrong day is named, an invented part freezes its wallet's partition. Both are derived again."""
    await bank.one_more(CHANGED)
    await bank.drain()
    change(bank.engine, "UPDATE creator_days SET gifts = gifts + 1")
    change(bank.engine, f"INSERT INTO reversal_parts VALUES ('{CHANGED}', 'refund', 'x', 'x', 'ann', 1, 1, 1, 7)")
    assert {wrong.partition for wrong in (await bank.audit()).wrong} == {N}
    procedure = follow("Creators' days, parts of reversals, kept lots or the view of postings are wrong")
    assert "creator_days: " in procedure.step("python -m server audit", code=1)
    assert "so: 1 part of reversals." in procedure.step("python -m server repair --rebuild")
    procedure.step("python -m server repair --thaw all")
    procedure.step("python -m server audit")


async def test_a_lost_sql_database(bank: Bank, follow: Follow) -> None:
    """The newest backup comes back, and the log has the rest: the top-ups, too."""
    await bank.give(50)
    await bank.drain()
    back_up(follow)
    await bank.audit()
    bought = TopUp("bought-later", 100, "test")
    await bank.node.purchases.top_up(CHANGED, bought)
    bank.book.bought[CHANGED] += 100
    await bank.give(50)
    await bank.drain()
    procedure = follow("The SQL database was lost")
    put_back(bank, procedure)
    procedure.step("python -m server migrate")
    await bank.drain()
    assert (await bank.node.purchases.top_up(CHANGED, bought)).duplicate
    procedure.step("python -m server repair --rebuild")
    procedure.step("python -m server audit")


def put_back(bank: Bank, procedure: Procedure) -> None:
    bank.engine.dispose()
    if procedure.kind == "SQLite":
        procedure.step("rm")
        procedure.step("cp")
    else:
        procedure.step("pg_restore")


async def test_a_log_that_was_trimmed_too_far(bank: Bank, follow: Follow, request: pytest.FixtureRequest) -> None:
    """An old backup comes back, the log has not all, and a newer backup fills the gap."""
    await bank.give(50)
    await bank.drain()
    back_up(follow, "old")
    await bank.give(100)
    await bank.drain()
    back_up(follow, "newer")
    with bank.look() as look:
        for partition in range(limits.WALLET_PARTITIONS):
            look.xtrim(keys.log(partition), maxlen=0, approximate=False)
    lost = follow("The SQL database was lost")
    for made in (bank.folder / "backup").glob("old.*"):
        made.rename(made.with_stem("journal"))
    put_back(bank, lost)
    lost.step("python -m server migrate")
    await bank.give(50)
    await bank.drain()
    assert bank.set_aside()
    lost.left.clear()  # goes on in the next section

    procedure = follow("The log was trimmed too far")
    assert "--import" in procedure.step("python -m server repair", code=1)
    if procedure.kind == "PostgreSQL":
        server: Journals = request.getfixturevalue("postgres")
        procedure.environ["BACKUP_URL"] = server.journal("template1")
        procedure.step("pg_restore")
    procedure.step("python -m server repair --import")
    procedure.step("python -m server repair --thaw all")
    await bank.drain()
    procedure.step("python -m server repair --rebuild")
    procedure.step("python -m server audit")
    await bank.resolve()
