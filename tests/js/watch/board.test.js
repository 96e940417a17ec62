/** The board of gifters. */
import assert from "node:assert/strict";

import { Board } from "../../../server/web/watch/board.js";
import { testsOn } from "../support/page.js";

const test = testsOn("watch");

/** @param {[name: string, coins: number][]} gave */
const top = (...gave) => gave.map(([name, coins], n) => ({ rank: n + 1, user: { user_id: name, name }, coins }));

test("the first five are shown, each with its share of the first person's coins", (page) => {
  new Board(page.find("board")).draw(top(["a", 20_000], ["b", 5000], ["c", 3], ["d", 2], ["e", 1], ["f", 1]));
  const rows = page.all("board-row");
  assert.deepEqual(rows.map(({ dataset }) => [dataset.user, dataset.coins]),
    [["a", "20000"], ["b", "5000"], ["c", "3"], ["d", "2"], ["e", "1"]]);
  assert.deepEqual(rows.map(({ style }) => style.getPropertyValue("--share")).slice(0, 2), ["1", "0.25"]);
  assert.deepEqual([rows[0].className, rows[0].textContent], ["board-row rank-1", "1Aa20K"]);
});

test("a board that did not change is not drawn again", (page) => {
  const board = new Board(page.find("board"));
  board.draw(top(["a", 2], ["b", 1]));
  const [first] = page.all("board-row");
  board.draw(top(["a", 2], ["b", 1]));
  assert.equal(page.all("board-row")[0], first);
  board.draw(top(["a", 3], ["b", 1]));
  assert.notEqual(page.all("board-row")[0], first);
  board.draw([]);
  assert.deepEqual(page.all("board-row"), []);
});
