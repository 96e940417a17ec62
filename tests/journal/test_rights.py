"""The journal process says which right its user lacks, `/readyz` says it too, and all is well once it is given."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from server.journal import rights
from server.journal.audit import SCRIPTS, Audit
from server.journal.drain import Drain
from server.journal.rights import LACKS, Rights
from server.processes.journal import audit_once
from server.processes.retell import drain_and_retell
from server.store import guard
from server.store.client import Store, StoreRefused
from tests.conftest import Stores
from tests.program import eventually
from tests.site import WAIT_S, Site
from tests.tree import ROOT
from tests.wallet.test_rights import ALWAYS, ASKED, words_of

# The modules of the journal process that talk to the wallet store.
SENDERS = [
    *(
        ROOT / f"server/journal/{name}.py"
        for name in ("drain", "log", "compare", "scan", "claimed", "moneytime", "memory")
    ),
    ROOT / "server/store/client.py",
    ROOT / "server/store/receipts.py",
]


@pytest.fixture
async def money(stores: Stores) -> AsyncIterator[Store]:
    """The journal's connection to the wallet store, as a user of its own."""
    with stores.wallet.client() as look:
        look.execute_command("ACL", "SETUSER", "books", "reset", "on", ">secret", "~*", "&*", "+@all")
        made = Store("wallet", f"unix://books:secret@{stores.wallet.socket}", scripts=SCRIPTS)
        await made.start()
        await made.wait_up(WAIT_S)
        yield made
        await made.stop()
        look.execute_command("ACL", "DELUSER", "books")


def let(stores: Stores, *rules: str) -> None:
    with stores.wallet.client() as look:
        look.execute_command("ACL", "SETUSER", "books", *rules)


def drain_of(site: Site, money: Store) -> Drain:
    return drain_and_retell(site.node.engine, money, site.node.history, site.node.clock)


def test_what_the_journal_sends_is_what_it_asks_for() -> None:
    """No command is missing from the list, and none stands there that nobody sends."""
    sent = set().union(*map(words_of, SENDERS)) - ALWAYS - ASKED
    assert sent == {command[0] for command in guard.SENT_BY_JOURNAL}


async def test_the_rights_that_it_asks_for_are_enough(site: Site, stores: Stores, money: Store) -> None:
    """Draining, audits and money time need no command that it does not ask for."""
    names = {f"{c[0]}|{c[1]}" if c[0] == "SCRIPT" else c[0] for c in rights.COMMANDS}
    let(
        stores,
        "resetkeys",
        "~{w*",
        "~audit:newest",
        "-@all",
        "+acl|whoami",
        "+acl|dryrun",
        *(f"+{each}" for each in names),
    )
    found = Rights(money)
    await found.look()
    assert found.lacks is None
    await site.http.post("/v1/wallets/cleo/topups", json={"id": "t", "coins": 5, "source": "test"})
    drain = drain_of(site, money)
    while await drain.drain_once():
        pass
    assert (await Audit(site.node.engine, money, site.node.clock).run()).ok


@pytest.mark.parametrize("command", ["xrange", "xtrim"])
async def test_a_missing_right_is_said(site: Site, stores: Stores, money: Store, command: str) -> None:
    """One without which nothing is drained, and one that nobody would miss until the log is full."""
    drain, found = drain_of(site, money), Rights(money)
    audit = Audit(site.node.engine, money, site.node.clock)
    let(stores, f"-{command}")
    with capture_logs() as logged:
        for _ in range(2):
            await found.look()
    sentence = f"{LACKS}: the store's user may not run {command.upper()}"
    said = [line["why"] for line in logged if line["event"] == "journal_lacks_right"]
    assert [each.partition(" (")[0] for each in said] == [sentence], "once"
    await audit_once(audit, drain, site.node.engine, found.lacks)
    assert await degraded(site, "drain") == sentence
    let(stores, f"+{command}")
    with capture_logs() as logged:
        await found.look()
    assert [line["event"] for line in logged] == ["journal_has_all_rights"]
    assert found.lacks is None
    while await drain.drain_once():
        pass
    await audit_once(audit, drain, site.node.engine, found.lacks)
    assert await degraded(site, "drain") is None


async def degraded(site: Site, what: str) -> str | None:
    """What `/readyz` says, once the node has read the newest report."""
    watch = site.node.audit_watch
    await watch.stop()
    watch.report = None
    await watch.start()
    await eventually(lambda: watch.report is not None, WAIT_S, "a report")
    found: str | None = (await site.http.get("/readyz")).json()["degraded"].get(what)
    return found


async def test_a_user_who_may_not_ask(site: Site, stores: Stores, money: Store) -> None:
    """Nothing is wrong as long as the store refuses nothing. What it refuses is said once, and later it goes on."""
    let(stores, "-acl")
    found, drain = Rights(money), drain_of(site, money)
    await found.look()
    assert found.lacks is None
    let(stores, "-xrange")
    with pytest.raises(StoreRefused), capture_logs() as logged:
        await drain.drain_once()
    with capture_logs() as logged:
        for _ in range(2):
            assert await drain._step() == 0
    assert [line["log_level"] for line in logged if line["event"].startswith("drain_")] == ["error"]
    assert not drain.began.is_set()
    let(stores, "+xrange")
    await drain._step()
    assert drain.began.is_set()
