"""Payouts over HTTP, on a whole site: creators ask with their token, staff decides, the service pays and says so."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.clock import Clock
from server.journal.audit import Audit
from server.payouts.making import Payouts
from server.store.cluster import open_store
from tests.providers.bank import API_KEY, SECRET, Bank, webhook
from tests.site import AUDIT_SCRIPTS, WAIT_S, Site

MakeSite = Callable[..., Awaitable[Site]]
METHOD = {"provider": "service", "name": "Ann", "account": "acct_123456"}
RATES = """
version = "1"
[regions.default]
currency = "EUR"
money = { diamonds = 2, minor = 1 }
maturity_days = 0
processing_days = 5
minimum = 10
daily_max = 100000
weekly_max = 100000
"""


@pytest.fixture
def journal(empty_journal: Path, tmp_path: Path) -> str:
    """One database is enough here: the desk's own tests have both."""
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(empty_journal.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
async def shop(another_site: MakeSite, bank: Bank, tmp_path: Path) -> Site:
    """A site with that service; alice has given `creator` 5,000 diamonds, which are ripe."""
    for name, secret in (("key", API_KEY), ("hook", SECRET)):
        (tmp_path / name).write_text(secret)
    (tmp_path / "rates.toml").write_text(RATES)
    config = f'[service]\nkind = "http"\nurl = "{bank.url}"\napi_key_file = "key"\nwebhook_secret_files = ["hook"]\n'
    (tmp_path / "providers.toml").write_text(config)
    files = {"LIVEROOM_PROVIDERS": "providers.toml", "LIVEROOM_RATES": "rates.toml"}
    site = await another_site(**{name: str(tmp_path / file) for name, file in files.items()})
    alice = await site.join("alice")
    for _ in range(2):
        assert (await alice.gift("crown", 20))["type"] == "ok"
    await site.settled()
    return site


def ahead(site: Site, days: int) -> None:
    """The node's clock is so many days ahead."""
    clock = Clock(lambda: site.node.clock.now_ms() / 1000 + days * 86_400)
    site.node.payouts.clock = clock
    site.node.payouts.runner._clock = clock


async def audited(site: Site) -> None:
    """A real audit, with the payouts' clock."""
    wallet = open_store("wallet", site.settings.wallet_address, AUDIT_SCRIPTS)
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    report = await Audit(site.node.engine, wallet, site.node.payouts.clock).run()
    await wallet.stop()
    assert report.ok, report.why_not()


def as_host(site: Site, user: str = "creator", role: str = "host") -> dict[str, str]:
    return {"Authorization": f"Bearer {site.token(user, role)}"}


async def said(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_journey(shop: Site, bank: Bank) -> None:
    """From the creator's request to the service's webhook, with a real audit in between."""
    asked = {"id": "p1", "diamonds": 1_000, "method": METHOD}
    path, host = "/v1/creators/creator/payouts", as_host(shop)
    have = await said(await shop.http.post(path, json=asked, headers=host), 409)
    assert have["error"]["reason"] == "insufficient_diamonds"
    ahead(shop, 20)
    shown = await said(
        await shop.http.post(path, json=asked, headers={"Authorization": as_host(shop)["Authorization"]}), 401
    )
    assert shown["error"]["reason"] == "unauthorized", "its token has expired by then"
    shown = await said(await shop.http.post(path, json=asked), 201)
    assert (shown["state"], shown["net"], shown["currency"], shown["account"]) == ("reviewing", 500, "EUR", "3456")
    assert (await said(await shop.http.post(path, json=asked), 200))["id"] == "p1"
    queue = await said(await shop.http.get("/v1/payouts?state=reviewing"), 200)
    assert [each["flags"] for each in queue["payouts"]] == [["fresh_topups", "one_fan", "new_account"]]
    await said(await shop.http.post("/v1/payouts/p1/approve", json={"by": "olga"}), 200)
    no = await said(await shop.http.post("/v1/payouts/p1/approve", json={"by": "pat"}), 409)
    assert (no["error"]["reason"], no["error"]["last"]["by"]) == ("wrong_state", "olga")
    payouts: Payouts = shop.node.payouts
    payouts.runner.once()
    assert bank.requests == [], "no audit yet"
    await audited(shop)
    payouts.runner.once()
    (key,) = bank.payouts
    now_s = payouts.clock.now_ms() // 1000
    bank.becomes(key, "paid")
    headers, body = webhook("evt_1", dict(bank.payouts[key]), at_s=now_s)
    for _ in range(2):
        heard = await shop.http.post("/v1/providers/service/webhook", content=body, headers=headers)
        assert await said(heard, 200) == {"known": 1}
    shown = await said(await shop.http.get("/v1/payouts/p1"), 200)
    assert [act["act"] for act in shown["acts"]] == ["request", "review", "approve", "submit", "paid"]
    await audited(shop)
    figures = await said(await shop.http.get("/v1/creators/creator/earnings"), 200)
    assert (figures["held"], figures["paid"]) == (0, 1_000)
    lost = await said(await shop.http.post("/v1/payouts/p1/cancel", json={"by": "olga"}), 409)
    assert lost["error"]["last"]["by"] == "provider:service"


async def test_who_may(shop: Site) -> None:
    """Creators reach their own payouts, and see no rules; nobody else reaches any."""
    path = "/v1/creators/creator/payouts"
    asked = {"id": "p1", "diamonds": 1_000, "method": METHOD}
    for headers, status in (
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        (as_host(shop, "other"), 403),
        (as_host(shop, role="viewer"), 403),
    ):
        await said(await shop.http.post(path, json=asked, headers=headers), status)
    ahead(shop, 20)
    await said(await shop.http.post(path, json=asked), 201)
    ahead(shop, 0)
    own = await said(await shop.http.get("/v1/payouts/p1", headers=as_host(shop)), 200)
    assert (own["flags"], own["acts"], own["eyes"]) == (None, None, None)
    await said(await shop.http.get("/v1/payouts/p1", headers=as_host(shop, "other")), 404)
    await said(await shop.http.get("/v1/payouts", headers=as_host(shop)), 401)
    await said(await shop.http.post("/v1/payouts/p1/approve", json={"by": "creator"}, headers=as_host(shop)), 403)
    await said(await shop.http.post("/v1/payouts/p1/approve", json={"by": "creator"}), 409)
    await said(await shop.http.post("/v1/payouts/p1/cancel", json={}, headers=as_host(shop, "other")), 404)
    cancelled = await said(await shop.http.post("/v1/payouts/p1/cancel", json={}, headers=as_host(shop)), 200)
    assert cancelled["state"] == "cancelled"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/payouts/none/approve", {"by": "olga"}, 404),
        ("/v1/payouts/none/dance", {"by": "olga"}, 404),
        ("/v1/payouts/none/approve", {}, 400),
        ("/v1/creators/creator/payouts", {"id": "p 1", "diamonds": 1, "method": METHOD}, 400),
        ("/v1/creators/creator/payouts", {"id": "p1", "diamonds": 0, "method": METHOD}, 400),
        ("/v1/creators/creator/payouts", {"id": "p1", "diamonds": 1.5, "method": METHOD}, 400),
        ("/v1/creators/creator/payouts", {"id": "p1", "diamonds": 1000, "method": {**METHOD, "name": "a\x00"}}, 400),
        ("/v1/providers/cash/webhook", {}, 404),
        ("/v1/providers/service/webhook", {}, 403),
    ],
)
async def test_bad_requests(shop: Site, path: str, body: Any, status: int) -> None:
    """They are refused, and change nothing."""
    await said(await shop.http.post(path, json=body), status)
    assert (await shop.http.get("/v1/payouts")).json() == {"payouts": [], "next": None}
