"""Coins that were bought in packages or at a price: what was paid stands with the lot, once, and stays."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import update

from server import limits
from server.entries import Sale
from server.journal.database import reading
from server.journal.ordered import verify_orders
from server.journal.tables import entries, topups
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import rows
from tests.site import Site
from tests.test_coin_packages import TOML, written

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def desk(another_site: MakeSite, stores: Stores, tmp_path: Path) -> AsyncIterator[Desk]:
    site = await another_site(LIVEROOM_PACKAGES=str(written(tmp_path)))
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


async def buy(site: Site, id: str, user: str = "cleo", **order: Any) -> httpx.Response:
    return await site.http.post(f"/v1/wallets/{user}/topups", json={"id": id, "source": "shop", **order})


def sales(desk: Desk) -> dict[str, Any]:
    """What was paid for each top-up: the same in its entry and in its row."""
    engine = desk.site.node.engine
    of_rows = {row.id: row.sale and msgspec.json.decode(row.sale) for row in rows(engine, topups)}
    journaled = rows(engine, entries, entries.c.kind == "topup")
    of_entries = {row.ref: msgspec.json.decode(row.body).get("sale") for row in journaled}
    assert of_rows == of_entries
    return of_rows


async def test_a_package_is_bought_at_its_price(desk: Desk, another_site: MakeSite, tmp_path: Path) -> None:
    """The region decides it. Repeated, it is the first one, though another node sells at another price by now."""
    site = desk.site
    assert (await buy(site, "t1", package="small", region="JP")).json() == {
        "id": "t1",
        "duplicate": False,
        "coins": 100,
    }
    assert (await buy(site, "t2", package="small")).status_code == 201
    assert (await buy(site, "t3", coins=7, price={"currency": "KWD", "minor": 50})).status_code == 201
    assert (await buy(site, "t4", coins=5)).status_code == 201
    dear = await another_site(LIVEROOM_PACKAGES=str(written(tmp_path, TOML.replace("minor = 220", "minor = 250"))))
    gone = await another_site(LIVEROOM_PACKAGES=str(written(tmp_path, TOML.replace("small", "little"))))
    for node in (dear, gone):
        assert (await buy(node, "t1", package="small", region="JP")).json()["duplicate"]
    await desk.journal()
    for node in (dear, gone):
        assert (await buy(node, "t1", package="small", region="JP")).json()["duplicate"]
    assert {id: sale for id, sale in sales(desk).items() if id.startswith("t")} == {
        "t1": {"currency": "JPY", "minor": 220, "package": "small", "region": "JP"},
        "t2": {"currency": "USD", "minor": 149, "package": "small", "region": "default"},
        "t3": {"currency": "KWD", "minor": 50},
        "t4": None,
    }
    for order in ({"package": "small"}, {"coins": 100}, {"coins": 100, "price": {"currency": "JPY", "minor": 221}}):
        assert (await buy(site, "t1", **order)).json()["error"]["reason"] == "conflict"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({}, "coins_or_package"),
        ({"coins": 5, "package": "small"}, "coins_or_package"),
        ({"package": "small", "price": {"currency": "EUR", "minor": 1}}, "coins_or_package"),
        ({"coins": 5, "price": {"currency": "EUX", "minor": 1}}, "no_such_currency"),
        ({"coins": 5, "price": {"currency": "EUR", "minor": -1}}, "bad_request"),
        ({"package": "large"}, "no_such_package"),
        ({"package": "kuwait", "region": "DE"}, "no_such_package"),
    ],
)
async def test_orders_that_are_refused(desk: Desk, order: dict[str, Any], reason: str) -> None:
    """Nothing is written of them."""
    assert (await buy(desk.site, "t1", **order)).json()["error"]["reason"] == reason
    assert [row for row in rows(desk.site.node.engine, topups) if row.id == "t1"] == []


async def test_a_lost_row_and_a_changed_price(desk: Desk) -> None:
    """The entry knows the price of a lost row; a row with another price than its entry is wrong."""
    engine = desk.site.node.engine
    await buy(desk.site, "t1", package="small", region="JP")
    await desk.journal()
    [row] = rows(engine, topups, topups.c.id == "t1")
    with engine.begin() as connection:
        connection.execute(topups.delete().where(topups.c.id == "t1"))
    assert (await buy(desk.site, "t1", package="small", region="JP")).json()["duplicate"]
    assert (await buy(desk.site, "t1", package="small")).json()["error"]["reason"] == "conflict"
    with engine.begin() as connection:
        connection.execute(topups.insert().values({**row._mapping, "sale": '{"currency":"JPY","minor":1}'}))
    with reading(engine).connect() as connection:
        [wrong] = verify_orders(connection)
    assert (wrong.where, "sale is" in wrong.what) == ("top-up t1", True)
    with engine.begin() as connection:
        connection.execute(update(topups).where(topups.c.id == "t1").values(sale=row.sale))


async def test_an_order_left_behind_keeps_its_price(desk: Desk) -> None:
    """A node that died between the row and the wallet: another one carries the order out, at the price of then."""
    node, engine = desk.site.node, desk.site.node.engine
    late = {"id": "t2", "user_id": "cleo", "coins": 9, "source": "shop", "state": "pending", "balance": None}
    old_ms = node.clock.now_ms() - limits.RECOVER_AFTER_MS - 1
    with engine.begin() as connection:
        connection.execute(topups.insert().values(late | {"at_ms": old_ms, "sale": '{"currency":"EUR","minor":9}'}))
    await node.recovery.once()
    await desk.journal()
    assert msgspec.convert(sales(desk)["t2"], Sale) == Sale("EUR", 9)


async def test_what_the_coins_really_cost(desk: Desk) -> None:
    """By currency, of the coins that are left, and of those without a price so many."""
    site = desk.site
    await buy(site, "t1", package="small", region="JP")
    await buy(site, "t2", coins=10)
    await buy(site, "t3", package="small")
    await desk.give("cleo", 30)
    await desk.journal()
    assert (await site.http.get("/v1/wallets/cleo/paid")).json() == {
        "user_id": "cleo",
        "coins": 180,
        "unknown": 10,
        "parts": [
            {"currency": "JPY", "exponent": 0, "coins": 70, "minor": 154},
            {"currency": "USD", "exponent": 2, "coins": 100, "minor": 149},
        ],
    }
    assert (await site.http.get("/v1/wallets/nobody/paid")).json()["parts"] == []
    for user, status in (("cleo", 200), ("dora", 403)):
        token = (await site.http.post("/v1/tokens", json={"sub": user, "name": user, "role": "viewer"})).json()["token"]
        own = await site.http.get("/v1/wallets/cleo/paid", headers={"Authorization": f"Bearer {token}"})
        assert own.status_code == status


async def test_everybody_may_see_packages(desk: Desk) -> None:
    """Those of a region, with their price there."""
    shown = await desk.site.http.get("/v1/packages?region=KW", headers={"Authorization": ""})
    assert shown.json() == {
        "region": "KW",
        "packages": [
            {"id": "small", "coins": 100, "currency": "USD", "minor": 149, "exponent": 2},
            {"id": "kuwait", "coins": 500, "currency": "KWD", "minor": 1750, "exponent": 3},
        ],
    }
    assert [each["id"] for each in (await desk.site.http.get("/v1/packages")).json()["packages"]] == ["small"]
