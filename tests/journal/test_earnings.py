"""What creators have earned, and the results of the audit in the metrics."""

import pytest

from server import limits
from server.clock import Clock
from server.journal.audit import SCRIPTS, Audit
from server.journal.earnings import Booked, Earnings, figures
from server.journal.maturity import ripe_at_ms, ripe_day
from server.store.client import Store
from tests.site import WAIT_S, Site


@pytest.mark.parametrize(
    ("credited", "taken_back", "unripe", "held", "paid", "split"),
    [
        (0, 0, 0, 0, 0, (0, 0, 0)),
        (100, 0, 100, 0, 0, (100, 0, 0)),
        (100, 0, 40, 0, 0, (40, 60, 0)),
        (100, 30, 40, 0, 0, (40, 30, 0)),
        (1500, 505, 995, 0, 0, (995, 0, 0)),
        (1500, 505, 490, 0, 0, (490, 505, 0)),
        (100, 0, 40, 20, 30, (40, 10, 0)),
        (100, 60, 0, 0, 100, (0, 0, 60)),
        (150, 60, 50, 0, 100, (50, 0, 60)),
    ],
)
def test_the_equation(
    credited: int, taken_back: int, unripe: int, held: int, paid: int, split: tuple[int, int, int]
) -> None:
    """What is ripe pays for what was held and paid; the rest is available, or debt. Nothing is lost."""
    told = figures("creator", credited, taken_back, unripe, Booked(held, paid))
    assert (told.pending, told.available, told.debt) == split
    assert credited - taken_back == told.pending + told.available + told.held + told.paid - told.debt


async def test_gifts_ripen(site: Site) -> None:
    """A journaled gift is pending at first and available later; a refund takes it from the pending ones."""
    alice = await site.join("alice")
    gift = await alice.gift("crown", 1)
    await alice.gift("coffee", 1)
    async with site.draining() as drain:
        while await drain.drain_once():
            pass
        answer = (await site.http.get("/v1/creators/creator/earnings")).json()
        nothing = {"available": 0, "held": 0, "paid": 0, "debt": 0}
        ripens = [
            {
                "at_ms": ripe_at_ms(ripe_day(site.node.clock.now_ms() // limits.DAY_MS, limits.MATURITY_DAYS)),
                "diamonds": 55,
            }
        ]
        of_all = {"credited": 55, "taken_back": 0, "adjusted": 0}
        assert answer == {"user_id": "creator", "pending": 55, **nothing, **of_all, "ripens": ripens}
        (await site.http.post(f"/v1/gifts/{gift['id']}/refund", json={})).raise_for_status()
        while await drain.drain_once():
            pass
    assert (await site.http.get("/v1/creators/creator/earnings")).json()["pending"] == 5
    late = Clock(lambda: site.node.clock.now_ms() / 1000 + (limits.MATURITY_DAYS + 1) * limits.DAY_MS / 1000)
    told = await Earnings(site.node.engine, late).of("creator")
    assert (told.pending, told.available) == (0, 5)


async def test_the_audit_is_told(site: Site) -> None:
    """The newest audit is at /v1/audit and in the metrics."""
    assert (await site.http.get("/v1/audit")).status_code == 404
    assert "liveroom_audit_ok -1.0" in (await site.http.get("/metrics")).text
    async with site.draining() as drain:
        while await drain.drain_once():
            pass
    store = Store("wallet", site.settings.wallet_address, scripts=SCRIPTS)
    await store.start()
    await store.wait_up(WAIT_S)
    report = await Audit(site.node.engine, store, site.node.clock).run()
    await store.stop()
    assert report.ok
    answer = (await site.http.get("/v1/audit")).json()
    assert (answer["ok"], answer["coins_sold"], answer["coins_held"]) == (True, 20_000, 20_000)
    site.node.audit_watch.report = report
    assert "liveroom_audit_coins_sold 20000.0" in (await site.http.get("/metrics")).text
