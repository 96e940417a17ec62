"""The audit goes round: it compares everything within a stated time, and says how old its oldest comparison is."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text

from server import limits
from server.journal import findings
from server.journal.audit import Audit
from server.journal.findings import Report
from server.journal.tables import quarantine
from server.journal.troubles import AWAY, Trouble
from server.journal.turn import Turn
from server.processes.journal import audit_once
from server.store import keys
from server.store.client import Store
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import forged
from tests.journal.test_corruptions_store import audit_of, user_of
from tests.site import WAIT_S, Site

PARTITION = 7
EVERYBODY = 12 + 2  # and the two of the demo
MINUTE_MS = 60_000


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


@pytest.fixture
async def users(desk: Desk) -> list[str]:
    """Twelve people of one partition, in order."""
    found = [user for n in range(3_000) if keys.partition_of(user := f"user{n:04}") == PARTITION][:12]
    for user in found:
        await desk.buy(user, 10)
    await desk.journal()
    return found


async def changed(desk: Desk, user: str, by: int) -> None:
    await desk.money.call("HINCRBY", keys.wallet(user), "c", by)


def wheres(report: Report) -> list[str]:
    return [wrong.where for wrong in report.wrong]


async def test_one_run_compares_every_wallet(desk: Desk, users: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However few fit into one script: the last wallet of many is compared as well, and so is an invented one."""
    monkeypatch.setattr(limits, "AUDIT_WALLETS", 4)
    monkeypatch.setattr(limits, "AUDIT_LOG", 3)
    report = await audit_of(desk).run()
    assert (report.ok, report.wallets_compared) == (True, EVERYBODY)
    ghost = user_of(PARTITION, "ghost")
    await changed(desk, users[-1], 1_000_000)
    await changed(desk, ghost, 1_000_000)
    assert sorted(wheres(await audit_of(desk).run())) == [f"viewer:{ghost}", f"viewer:{users[-1]}"]
    await changed(desk, users[-1], -1_000_000)
    await desk.money.call("DEL", keys.wallet(ghost))


async def test_a_turn_compares_every_wallet(desk: Desk, users: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal process compares a share each time: what is changed is found within one turn."""
    monkeypatch.setattr(limits, "AUDIT_PART_MIN", 5)
    audit = audit_of(desk)
    first = await audit.run(everything=False)
    assert (first.ok, first.wallets_compared) == (True, EVERYBODY)
    for user in (users[0], users[6], users[-1]):
        await changed(desk, user, 1)
        reports = [await audit.run(everything=False) for _ in range(3)]
        assert {where for report in reports for where in wheres(report)} == {f"viewer:{user}"}
        assert max(report.wallets_compared for report in reports) < EVERYBODY
        await changed(desk, user, -1)


def test_the_share_follows_from_the_time_that_has_passed() -> None:
    """A turn takes AUDIT_TURN_S however often the audit runs; before the first whole turn everything is due."""
    turn = Turn()
    assert turn.share(60) > 10**9
    turn.begin(5)
    turn.seen = 30_000
    turn.end()
    assert (turn.verified_ms, turn.share(limits.AUDIT_TURN_S / 10)) == (5, limits.AUDIT_PART_MIN + 3_000)
    assert turn.share(limits.AUDIT_TURN_S * 9) == limits.AUDIT_PART_MIN + 30_000


def test_a_turn_begins_with_nothing_seen() -> None:
    """Also the second one; what is under way goes on."""
    turn = Turn(at="viewer:zoe", seen=30_000)
    for _ in range(2):
        turn.begin(5)
        assert (turn.at, turn.seen, turn.begun_ms) == ("", 0, 5)
        turn.at, turn.seen = "viewer:bob", 7
        turn.begin(6)
        assert (turn.at, turn.seen, turn.begun_ms) == ("viewer:bob", 7, 5)
        turn.end()


async def test_what_was_compared_too_long_ago_is_not_ok(desk: Desk, users: list[str]) -> None:
    """An audit that finds nothing is not ok any more when no other follows it."""
    report = await audit_of(desk).run()
    old_ms = int(limits.AUDIT_OLD_S * 1000)
    assert report.seen_at(report.finished_ms + old_ms // 2).ok
    late = report.seen_at(report.finished_ms + old_ms + MINUTE_MS)
    assert (late.ok, late.why_not()) == (False, "the newest audit failed: no audit has finished lately")
    watch = desk.site.node.audit_watch
    watch.report = late
    assert "liveroom_audit_ok 0.0" in (await desk.site.http.get("/metrics")).text


async def test_a_store_that_is_behind_is_an_alarm(desk: Desk, users: list[str]) -> None:
    """A restored store gets its entries back from the journal: until then audits are not ok, and freeze nothing."""
    audit, log = audit_of(desk), keys.log(PARTITION)
    kept = await desk.money.call("DUMP", log)
    await desk.money.call("XTRIM", log, "MAXLEN", 0)
    await desk.money.call("DEL", log)
    for _ in range(3):
        report = await audit.run(freeze=True)
        assert (report.ok, report.wrong, report.partitions_behind) == (False, [], 1)
        assert "the store is behind the journal" in report.not_compared[PARTITION]
    assert desk.rows(select(quarantine)) == []
    await desk.money.call("RESTORE", log, 0, kept)
    assert (await audit.run(freeze=True)).ok


async def test_what_nobody_journals_is_not_compared(
    desk: Desk, users: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a drain the audit waits a little, and then says which partition it has not compared, and why."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.2)
    await desk.buy(users[0], 1)
    report = await audit_of(desk).run()
    assert (report.ok, report.wrong, list(report.not_compared)) == (False, [], [PARTITION])
    assert report.oldest_check_ms is None
    await desk.journal()


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # it runs no SQL of its own
async def test_entries_that_went_before_they_were_journaled(
    desk: Desk, users: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was trimmed too far is named: its next entry is not the journal's next, or it has none."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.1)
    log = keys.log(PARTITION)
    for _ in range(2):
        await desk.buy(users[0], 1)
    kept = await desk.money.call("DUMP", log)
    for left in (1, 0):
        await desk.money.call("XTRIM", log, "MAXLEN", left)
        report = await audit_of(desk).run()
        assert [(each.partition, each.where) for each in report.wrong] == [(PARTITION, "log")]
    await desk.money.call("DEL", log)
    await desk.money.call("RESTORE", log, 0, kept)
    await desk.journal()


async def test_an_audit_that_fails_is_reported(desk: Desk, users: list[str]) -> None:
    """The last `ok` does not stay: the next report has its figures, and why the newest audit did not finish."""
    engine = desk.site.node.engine
    audit = audit_of(desk)
    await audit_once(audit, desk.drain, engine)
    before = findings.latest(engine)
    assert before is not None
    assert before.ok
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE positions RENAME TO away"))
    await audit_once(audit, desk.drain, engine)
    failed = findings.latest(engine)
    assert failed is not None
    assert (failed.ok, failed.entries, failed.finished_ms) == (False, before.entries, before.finished_ms)
    assert "positions" in failed.why_not()
    assert (await desk.site.http.get("/v1/audit")).json()["ok"] is False
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO positions"))
    await audit_once(audit, desk.drain, engine)
    assert (await desk.site.http.get("/v1/audit")).json()["ok"] is True


async def test_an_unreadable_entry_ends_no_audit(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the journal, which sets it aside: the audit says that its partition was not compared."""
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.2)
    forged(stores, user_of(PARTITION), {"what": "nonsense"})
    async with site.draining() as drain:
        store = Store("wallet", site.settings.wallet_address)
        await store.start()
        await store.wait_up(WAIT_S)
        audit = Audit(site.node.engine, store, site.node.clock)
        report = await audit.run(freeze=True)
        assert (report.ok, report.wrong, list(report.not_compared)[-1:]) == (False, [], [63])
        assert PARTITION in report.not_compared
        await drain.drain_once()
        report = await audit.run(freeze=True)
        assert (list(report.not_compared), list(report.stuck)) == ([PARTITION], [PARTITION])
        await store.stop()


async def test_readyz_says_what_is_degraded(desk: Desk, users: list[str]) -> None:
    """It does not fail for it: chat goes on, and so does money in other partitions."""
    node, http = desk.site.node, desk.site.http
    node.audit_watch.report = await audit_of(desk).run()
    assert (await http.get("/readyz")).json()["degraded"] == {}
    await changed(desk, users[0], 1)
    audit = audit_of(desk)
    await audit.run(freeze=True)
    node.audit_watch.report = await audit.run(freeze=True)
    node.audit_watch.frozen, node.audit_watch.trouble = [PARTITION], Trouble(AWAY, "it is away")
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (
        200,
        {
            "journal": "SQL does not answer",
            "partitions": f"frozen: {PARTITION}",
            "audit": "not ok: GET /v1/audit says why",
        },
    )
    await changed(desk, users[0], -1)
    with desk.site.node.engine.begin() as connection:
        connection.execute(quarantine.delete())
