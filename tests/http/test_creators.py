"""Creators over HTTP: their gifts with how far each is, sums, supporters, whole lists as CSV; and whose they are."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

from server import limits
from server.booked import HoldEntry, Money, PaidEntry
from server.http.api import HttpError
from server.http.creators import Creators, as_csv
from server.journal import moments, pen
from server.journal.maturity import ripe_at_ms, ripe_day
from tests.journal.ledger import pay
from tests.site import Site


async def journal(site: Site) -> None:
    async with site.draining() as drain:
        while await drain.drain_once():
            pass


def token(site: Site, sub: str, role: str = "host", **more: Any) -> dict[str, str]:
    now_s = site.node.clock.now_ms() / 1000
    made = site.node.tokens.sign(sub=sub, name="X", role=role, exp_s=now_s + 60, iat_s=now_s, **more)  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {made}"}


async def test_a_creators_gifts(site: Site) -> None:
    """Each gift with its stage, the newest first, page by page. What was taken back of it is said."""
    await site.give_coins("alice", 1_000)
    ids = [await pay(site, "alice", 10 + n) for n in range(5)]
    await journal(site)
    (await site.http.post(f"/v1/gifts/{ids[0]}/refund", json={})).raise_for_status()
    await journal(site)
    first = (await site.http.get("/v1/creators/creator/gifts?limit=3")).json()
    second = (await site.http.get(f"/v1/creators/creator/gifts?{first['next']}")).json()
    gifts = first["gifts"] + second["gifts"]
    assert {gift["id"] for gift in gifts} == set(ids)
    assert [gift["at_ms"] for gift in gifts] == sorted((gift["at_ms"] for gift in gifts), reverse=True)
    assert second["next"] is None
    by_id = {gift["id"]: gift for gift in gifts}
    assert by_id[ids[0]]["taken_back"] == by_id[ids[0]]["diamonds"] > 0
    assert by_id[ids[1]]["taken_back"] == 0
    assert {(gift["from_id"], gift["stage"]) for gift in gifts} == {("alice", "pending")}
    assert by_id[ids[1]]["ripe_at_ms"] == ripe_at_ms(
        ripe_day(by_id[ids[1]]["at_ms"] // limits.DAY_MS, limits.MATURITY_DAYS)
    )
    whole = (await site.http.get("/v1/creators/creator/gifts?format=csv")).text
    rows = list(csv.DictReader(io.StringIO(whole)))
    assert [row["id"] for row in rows] == [gift["id"] for gift in gifts]
    lines = (await site.http.get("/v1/creators/creator/gifts?format=json")).text
    assert [json.loads(line) for line in lines.splitlines()] == gifts


async def test_sums_and_supporters(site: Site) -> None:
    """Days, months and broadcasts sum to the earnings. Who gave most comes first, but nobody anonymous."""
    for fan, coins in (("alice", 30), ("bob", 50), ("alice", 40)):
        await site.give_coins(fan, 100)
        await pay(site, fan, coins)
    bob = await site.join("bob")
    assert (await bob.gift("coffee", 20, anonymous=True))["type"] == "ok"
    await journal(site)
    earned = (await site.http.get("/v1/creators/creator/earnings")).json()
    for by in ("day", "month", "broadcast"):
        found = (await site.http.get(f"/v1/creators/creator/statements?by={by}")).json()["statements"]
        assert [(each["gifts"], each["credited"], each["taken_back"]) for each in found] == [(4, earned["credited"], 0)]
    fans = (await site.http.get("/v1/creators/creator/supporters")).json()["supporters"]
    assert [(fan["user_id"], fan["gifts"], fan["coins"]) for fan in fans] == [("alice", 2, 70), ("bob", 1, 50)]
    for wrong in ("statements?by=year", "statements?since=now", "supporters?limit=0", "earnings?as_of=tomorrow"):
        assert (await site.http.get(f"/v1/creators/creator/{wrong}")).status_code == 400
    for no_day in ("statements?since=2026-02-30", "gifts?until=2026-13-01", "earnings?as_of=2025-02-29"):
        assert (await site.http.get(f"/v1/creators/creator/{no_day}")).status_code == 404
    assert (await site.http.get("/v1/creators/creator/statements?until=2020-01-01")).json() == {"statements": []}


async def test_earnings_as_of(site: Site) -> None:
    """Right after an entry, and at the end of a day, the figures are what they were."""
    await site.give_coins("alice", 100)
    for coins in (10, 20):
        await pay(site, "alice", coins)
    await journal(site)
    gifts = (await site.http.get("/v1/creators/creator/gifts")).json()["gifts"]
    then = (await site.http.get(f"/v1/creators/creator/earnings?as_of={gifts[-1]['entry']}")).json()
    assert then["credited"] == gifts[-1]["diamonds"]
    today = (moments.FIRST.fromordinal(moments.FIRST.toordinal() + gifts[0]["at_ms"] // limits.DAY_MS)).isoformat()
    assert (await site.http.get(f"/v1/creators/creator/earnings?as_of={today}")).json()["credited"] == sum(
        gift["diamonds"] for gift in gifts
    )
    assert (await site.http.get("/v1/creators/creator/earnings?as_of=2020-01-01")).json()["credited"] == 0
    assert (await site.http.get("/v1/creators/creator/earnings?as_of=3:9-9")).status_code == 404


@pytest.mark.parametrize("path", ["earnings", "gifts", "statements", "supporters"])
async def test_creators_see_their_own(site: Site, path: str) -> None:
    """With a token of role host, `sub` is whose figures one sees. The service key sees all."""
    async with httpx.AsyncClient(base_url=site.url) as http:
        one = f"/v1/creators/ann/{path}"
        assert (await http.get(one, headers=token(site, "ann"))).status_code == 200
        assert (await http.get(one, headers=token(site, "ben"))).status_code == 403
        assert (await http.get(one, headers=token(site, "ann", "viewer"))).status_code == 403
        assert (await http.get(one, headers={"Authorization": "Bearer nonsense"})).status_code == 401
        assert (await http.get(one)).status_code == 401
        old = token(site, "ann")
        await site.node.revocations.revoke("ann", None)
        assert (await http.get(one, headers=old)).status_code == 403


async def test_one_reads_every_gift_once_at_a_time(site: Site) -> None:
    """Who has not read to the end cannot begin again, with the own token. Others can."""
    await site.give_coins("alice", 100)
    await pay(site, "alice", 10)
    await journal(site)
    creators = Creators(site.node.engine, site.node.clock)
    lines = creators.alone("creator", creators.stream("creator", (0, 2**62), as_csv, b"head"))
    assert await anext(lines) == b"head"
    with pytest.raises(HttpError) as refused:
        creators.check_alone("creator")
    assert refused.value.status == 429
    creators.check_alone("ann")
    await lines.aclose()
    creators.check_alone("creator")


async def test_viewers_see_their_own_wallet(site: Site) -> None:
    """Balance and entries, but nobody else's, and they can change nothing with it."""
    await site.give_coins("alice", 100)
    await journal(site)
    async with httpx.AsyncClient(base_url=site.url) as http:
        mine = token(site, "alice", "viewer")
        assert (await http.get("/v1/wallets/alice", headers=mine)).json()["coins"] >= 100
        assert (await http.get("/v1/wallets/alice/entries", headers=mine)).json()["entries"]
        for path in ("/v1/wallets/bob", "/v1/wallets/bob/entries"):
            assert (await http.get(path, headers=mine)).status_code == 403
        topup = {"id": "t", "coins": 5, "source": "s"}
        assert (await http.post("/v1/wallets/alice/topups", json=topup, headers=mine)).status_code == 401


async def test_where_a_gift_is(site: Site) -> None:
    """It is paid, journaled, shown, ripe and paid out, and says what it waits for."""
    await site.give_coins("alice", 100)
    gift = await pay(site, "alice", 10)
    where = f"/v1/gifts/{gift}"

    async def told(query: str = "") -> tuple[list[str], str | None]:
        found = (await site.http.get(where + query)).json()
        return [each["stage"] for each in found["stages"]], found["waits_for"]

    assert (await site.http.get(where)).status_code == 404, "the journal has not got it"
    assert (await site.http.get(f"{where}?user_id=bob")).status_code == 404
    assert await told("?user_id=alice") == (["sent", "paid"], "journal")
    await journal(site)
    assert await told() == (["sent", "paid", "journaled"], "room")
    alice = await site.join("alice")
    given = await alice.gift("coffee", 1)
    await journal(site)
    where = f"/v1/gifts/{given['id']}"
    assert await told() == (["sent", "paid", "journaled", "shown"], "maturity")
    real_ms = site.node.clock.now_ms
    site.node.clock.now_ms = lambda: real_ms() + (limits.MATURITY_DAYS + 2) * limits.DAY_MS  # type: ignore[method-assign]
    assert await told() == (["sent", "paid", "journaled", "shown", "ripe"], "payout")
    diamonds = (await site.http.get("/v1/creators/creator/earnings")).json()["available"]
    step: dict[str, Any] = {"id": "p1", "creator": "creator", "diamonds": diamonds}
    with site.node.engine.begin() as connection:
        pen.write(connection, HoldEntry(**step), real_ms())
        pen.write(connection, PaidEntry(**step, provider="bank", money=Money(currency="EUR", net=1)), real_ms())
    assert await told() == (["sent", "paid", "journaled", "shown", "ripe", "paid_out"], None)
