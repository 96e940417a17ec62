"""Rate cards in SQL: a version always means the same, rows bear it, and a new card leaves them alone."""

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from server import limits, rates
from server.journal import database
from server.journal.rates import find, register
from server.journal.tables import entries, rate_cards
from server.settings import Unusable
from tests.conftest import Stores
from tests.journal.desk import a_desk
from tests.journal.ledger import rows
from tests.program import eventually
from tests.site import Site
from tests.test_rates import CARD, written

MakeSite = Callable[..., Awaitable[Site]]
WITH_SHARE = CARD.replace("money = { diamonds = 200", "share = { coins = 3, diamonds = 1 }\nmoney = { diamonds = 200")


async def test_a_version_always_means_the_same(journal: str, tmp_path: Path) -> None:
    """Equal cards are one row, also of many at once. Other rates under its version are refused in one sentence."""
    engine, card = database.connect(journal), rates.load(written(tmp_path))
    failed: list[BaseException] = []

    def start(now_ms: int) -> None:
        try:
            register(engine, card, now_ms)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(now_ms,)) for now_ms in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    [row] = rows(engine, rate_cards)
    assert (row.version, row.hash, row.at_ms in range(8)) == ("2026-01", card.hash, True)
    assert find(engine, "2026-01") == card
    assert find(engine, "2025") is None
    changed = rates.load(written(tmp_path, CARD.replace("minor = 7", "minor = 8")))
    with pytest.raises(Unusable, match=r"^The rate card's version 2026-01 has other rates since 1970-01-01 .*\.$"):
        register(engine, changed, 9)
    register(engine, msgspec.structs.replace(changed, version="2026-02"), 9)
    assert [row.version for row in rows(engine, rate_cards)] == ["2026-01", "2026-02"]
    for statement in ("UPDATE rate_cards SET hash = 'x'", "DELETE FROM rate_cards"):
        with pytest.raises(DBAPIError, match="insert-only"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()


async def test_gifts_bear_their_terms(stores: Stores, another_site: MakeSite, tmp_path: Path) -> None:
    """The card decides a gift's diamonds; a new card those of later gifts, and the first ones stay as they are."""
    path = written(tmp_path, WITH_SHARE)
    old = await another_site(LIVEROOM_RATES=str(path))
    alice = await old.join("alice")
    assert (await alice.gift("coffee", 2))["type"] == "ok"
    assert (await alice.happened("gifts.sent", coins=20))["diamonds"] == 6
    newer = tmp_path / "newer.toml"
    newer.write_text(CARD.replace("2026-01", "2026-02").replace("maturity_days = 14", "maturity_days = 0"))
    new = await another_site(LIVEROOM_RATES=str(newer))
    bob = await new.join("bob")
    assert (await bob.gift("coffee", 2))["type"] == "ok"
    assert (await bob.happened("gifts.sent", coins=20, diamonds=10))["to"]["user_id"] == "creator"
    async with a_desk(old, f"unix://{stores.wallet.socket}") as desk:
        await desk.journal()
        found = [row for row in rows(old.node.engine, entries, entries.c.kind == "gift")]
    said = sorted((row.user_id, row.diamonds, *_terms(row.body)) for row in found)
    assert said == [("alice", 6, "2026-01/default", 14), ("bob", 10, "2026-02/default", 0)]


def _terms(body: str) -> tuple[Any, Any]:
    entry = msgspec.json.decode(body)
    return entry["rate"], entry["maturity_days"]


async def test_everybody_may_read_the_rates(another_site: MakeSite, tmp_path: Path) -> None:
    """Today's card, and an earlier one by its version."""
    await another_site(LIVEROOM_RATES=str(written(tmp_path)))
    site = await another_site()
    now = await site.http.get("/v1/rates", headers={"Authorization": ""})
    assert (now.json()["version"], now.json()["current"]) == ("1", True)
    assert now.json()["regions"]["default"]["exponent"] == 2
    old = (await site.http.get("/v1/rates/2026-01", headers={"Authorization": ""})).json()
    assert (old["version"], old["current"], old["hash"]) == ("2026-01", False, rates.load(written(tmp_path)).hash)
    assert old["regions"]["JP"]["exponent"] == 0
    assert old["regions"]["JP"]["rates"]["money"] == {"diamonds": 10, "minor": 7}
    assert (await site.http.get("/v1/rates/x")).json()["error"]["reason"] == "no_such_card"
    assert (await site.http.get("/v1/rates/1")).json() == now.json()


async def test_a_node_with_a_changed_card(another_site: MakeSite, tmp_path: Path) -> None:
    """It does not start."""
    await another_site(LIVEROOM_RATES=str(written(tmp_path)))
    changed = written(tmp_path, CARD.replace("minor = 90", "minor = 91"))
    site = await another_site(LIVEROOM_RATES=str(changed))
    assert site.node.refused is not None
    assert "version 2026-01 has other rates" in site.node.refused


async def test_a_node_that_could_not_ask(
    another_site: MakeSite, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts without SQL, and says later that its card is refused."""
    monkeypatch.setattr(limits, "STORES_START_S", 0.3)
    monkeypatch.setattr(limits, "SQL_AGAIN_S", 0.05)
    changed = written(tmp_path, CARD.replace("minor = 90", "minor = 91"))
    site = await another_site(LIVEROOM_RATES=str(changed), LIVEROOM_JOURNAL_URL=empty_database)
    assert site.node.refused is None
    engine = database.connect(empty_database)
    database.migrate(engine)
    register(engine, rates.load(written(tmp_path)), 5)
    engine.dispose()
    await eventually(lambda: site.node.refused, what="the refusal")
    assert "version 2026-01" in (await site.http.get("/readyz")).json()["degraded"]["rates"]
