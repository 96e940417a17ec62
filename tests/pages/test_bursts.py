"""Many gifts at once: in a real window every row of the tray can be read, and the board does not flash."""

import pytest
from playwright.async_api import Page, expect

from server import limits
from tests.pages.tabs import Tabs
from tests.site import Site, Viewer, new_gift_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIFTS = 200
ROWS = 3
READ_MS = 1_500
ALL_OVER_MS = 40_000  # the gifts that wait are dropped after 10 s, and no row stays for longer than 8

# Notes on the list how long each row stood still, and the most that stood at once. Rows leave by fading.
# An observer gets a new row only when the whole frame of gifts is read, which takes a while.
TIME_ROWS = """(list) => {
  const since = new Map();
  list.stood = [];
  list.most = 0;
  const append = list.append.bind(list);
  list.append = (row) => {
    since.set(row, performance.now());
    append(row);
  };
  new MutationObserver((records) => {
    for (const { type, target } of records) {
      if (type !== "attributes" || !target.classList.contains("leaving") || !since.has(target)) continue;
      list.stood.push(performance.now() - since.get(target));
      since.delete(target);
    }
    list.most = Math.max(list.most, list.querySelectorAll(".tray-row:not(.leaving)").length);
  }).observe(list, { childList: true, subtree: true, attributeFilter: ["class"] });
}"""

# Marks each row with its person, and counts what begins to move on the board: a new row fades in.
MARK_ROWS = """(board) => {
  board.begun = 0;
  board.addEventListener("animationstart", () => { board.begun++; });
  for (const row of board.children) row.was = row.dataset.user;
}"""


async def rains(bot: Viewer, gifts: list[str]) -> None:
    """Gifts, as many to a frame as it may have; each is a row of its own."""
    for start in range(0, len(gifts), limits.COMMANDS_PER_FRAME_MAX):
        some = {new_gift_id(): gift for gift in gifts[start : start + limits.COMMANDS_PER_FRAME_MAX]}
        await bot.tell(
            [{"type": "gifts.send", "ref": id, "id": id, "gift": gift, "count": 1} for id, gift in some.items()]
        )
        await bot.happened("ok", ref=list(some)[-1])


async def has_got(page: Page, coins: int) -> None:
    await expect(page.get_by_test_id("coins")).to_have_attribute("data-value", str(coins))


async def test_each_row_of_a_burst_can_be_read(site: Site, tabs: Tabs) -> None:
    """Of two hundred gifts within a moment, cheap and dear ones, no row goes before a second and a half is over."""
    page = await tabs.watch(site.url, clock=True)
    tray = page.get_by_test_id("gift-tray")
    await tray.evaluate(TIME_ROWS)
    await site.give_coins("bot", 100_000)
    gifts = ["rose", "rose", "balloon", "rose", "whale"] * (GIFTS // 5)
    await rains(await site.join("bot", "bot"), gifts)
    await has_got(page, (3 * 1 + 50 + 1_000) * GIFTS // 5)
    await page.clock.run_for(ALL_OVER_MS)
    await expect(page.get_by_test_id("tray-row")).to_have_count(0)
    stood, most = await tray.evaluate("(list) => [list.stood, list.most]")
    assert len(stood) > 2 * ROWS
    assert min(stood) >= READ_MS
    assert most == ROWS


async def test_the_board_keeps_its_rows(site: Site, tabs: Tabs) -> None:
    """Sums grow, people pass each other, one comes: nobody else's row is made again, and none fades in again."""
    page = await tabs.watch(site.url, lively=True)
    people = {user: await site.join(user) for user in ("alice", "bob")}
    board, rows = page.get_by_test_id("board"), page.get_by_test_id("board-row")
    for user, viewer in people.items():
        await viewer.gift("crown", 2 if user == "alice" else 1)
    await expect(rows).to_have_count(2)
    await board.evaluate(
        "(board) => Promise.all(board.getAnimations({ subtree: true }).map(({ finished }) => finished))"
    )
    await board.evaluate(MARK_ROWS)
    given = {"alice": 198, "bob": 99}
    for _ in range(4):
        for user, viewer in people.items():
            count = 3 if user == "bob" else 1
            await viewer.gift("rose", 20 * count)
            given[user] += 20 * count
            row = page.locator(f"[data-testid=board-row][data-user={user}]")
            await expect(row).to_have_attribute("data-coins", str(given[user]))
    await expect(rows.first).to_have_attribute("data-user", "bob")  # he has passed her
    await site.give_coins("carol", 1_000)
    await (await site.join("carol")).gift("rose")
    await expect(rows).to_have_count(3)
    assert await rows.evaluate_all("(rows) => rows.map(({ was }) => was ?? 'new')") == ["bob", "alice", "new"]
    assert await board.evaluate("(board) => board.begun") <= 1
