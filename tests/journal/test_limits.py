"""Daily limits after a store has lost everything: the journal restores viewers' limits, and what they spent."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from protocol.refusals import Refused
from server.store import keys
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.money import a_gift
from tests.site import Site

AnotherSite = Callable[[], Awaitable[Site]]


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


async def limit(desk: Desk, user: str, coins: int | None) -> dict[str, Any]:
    answer = await desk.site.http.put(f"/v1/wallets/{user}/limit", json={"coins_per_day": coins})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def held(desk: Desk, user: str) -> list[bytes | None]:
    """What the store holds about a viewer's limit and day."""
    names = ("limit", "next_limit", "next_day", "day", "spent")
    found: list[bytes | None] = await desk.money.call("HMGET", keys.wallet(user), *names)
    return found


async def test_the_store_lost_everything(desk: Desk, another_site: AnotherSite) -> None:
    """Current, coming and lifted limits, and today's spending, are as they were."""
    users = ("lowered", "raised", "lifted", "spent", "none")
    for user in users:
        await desk.buy(user, 1_000)
    for user, orders in (("lowered", (50, 40)), ("raised", (50, 80)), ("lifted", (50, None)), ("spent", (70,))):
        await desk.give(user, 10)
        for coins in orders:
            await limit(desk, user, coins)
        await desk.give(user, 25)
    await desk.give("none", 5)
    await desk.journal()
    before = [await held(desk, user) for user in users]
    assert before[0][:3] == [b"40", None, None]
    assert before[1][:2] == [b"50", b"80"]
    assert [each[4] for each in before] == [b"35"] * 4 + [b"5"]
    await desk.money.call("FLUSHALL")
    site = await another_site()
    assert [await held(desk, user) for user in users] == before
    viewer = await site.join("lowered")
    assert (await viewer.gift("rose", 6))["reason"] == "spend_limit"
    assert (await viewer.gift("rose", 5))["type"] == "ok"
    with pytest.raises(Refused, match="spend_limit"):
        await site.node.wallet.spend(a_gift("spent", 36))
    await site.node.wallet.spend(a_gift("spent", 35))
    await desk.assert_sound()


async def test_an_older_copy_of_the_store(desk: Desk, another_site: AnotherSite) -> None:
    """A store that lost its newest entries gets them back: the newest limit applies, each gift counts once."""
    await desk.buy("cleo", 1_000)
    assert (await limit(desk, "cleo", 100))["coins_per_day"] == 100
    await desk.give("cleo", 20)
    copied = {key: await desk.money.call("DUMP", key) for key in await desk.money.call("KEYS", "*")}
    await limit(desk, "cleo", 90)
    await limit(desk, "cleo", 200)
    await desk.give("cleo", 30)
    await desk.journal()
    before = await held(desk, "cleo")
    await desk.money.call("FLUSHALL")
    for key, dump in copied.items():
        await desk.money.call("RESTORE", key, 0, dump)
    await desk.money.call("HSET", keys.wallet_meta(keys.partition_of("cleo")), "opened", "another process")
    await another_site()
    assert await held(desk, "cleo") == before
    assert before[0] == b"90"
    assert before[4] == b"50"
