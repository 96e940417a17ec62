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
  assert.deepEqual([rows[0].className, rows[0].textContent], ["board-row rank-1 is-new", "1Aa20K"]);
});

test("rows are changed in place: nothing flashes", (page) => {
  const board = new Board(page.find("board"));
  board.draw(top(["a", 2], ["b", 1]));
  const [first] = page.all("board-row");
  board.draw(top(["a", 2], ["b", 1]));
  assert.equal(page.all("board-row")[0], first);
  board.draw(top(["a", 3], ["b", 1]));
  assert.deepEqual([page.all("board-row")[0], first.dataset.coins], [first, "3"]);
  board.draw([]);
  assert.deepEqual(page.all("board-row"), []);
});

test("people who pass each other keep their rows; who left takes theirs along", (page) => {
  const board = new Board(page.find("board"));
  board.draw(top(["a", 3], ["b", 2], ["c", 1]));
  const [a, b] = page.all("board-row");
  board.draw(top(["b", 9], ["a", 3], ["d", 2]));
  assert.deepEqual(page.all("board-row").slice(0, 2), [b, a]);
  assert.deepEqual(page.texts("board-row"), ["1Bb9", "2Aa3", "3Dd2"]);
  assert.equal(page.all("board-row")[2].className, "board-row rank-3 is-new");
  assert.deepEqual([a.className, b.className], ["board-row rank-2", "board-row rank-1"]);
  assert.deepEqual([a, b].map(({ style }) => Number(style.getPropertyValue("--share")).toFixed(2)), ["0.33", "1.00"]);
  board.draw([{ rank: 1, user: { user_id: "b", name: "Renamed" }, coins: 9 }]);
  assert.deepEqual(page.texts("board-row"), ["1RRenamed9"]);
});
