/** The gift tray: which rows are shown, for how long, and what their counters say. */
import assert from "node:assert/strict";

import { Tray } from "../../../server/web/watch/tray.js";
import { pass } from "../support/clock.js";
import { testsOn } from "../support/page.js";
import { gift, person, shown } from "../support/wire.js";

/** @import { OpenPage } from "../support/page.js" */

const test = testsOn("watch");

/** @param {OpenPage} page */
const rows = (page) => page.all("tray-row").filter(({ classList }) => !classList.contains("leaving"));
/** @param {OpenPage} page */
const names = (page) => rows(page).map(({ dataset }) => dataset.gift);
/**
 * @param {string} id
 * @param {number} tier
 */
const of = (id, tier = 1) => gift({ gift: shown(id, tier) });

test("a row says who sent what and how often", (page) => {
  const tray = new Tray(page.find("gift-tray"));
  tray.show(gift({ count: 5, from: person("bob"), test: true }));
  const [row] = rows(page);
  assert.deepEqual([row.textContent, row.dataset.count, row.dataset.gift], ["BBobsent Rose (test)×5", "5", "rose"]);
});

test("a streak keeps its row, and its counter never falls", (page) => {
  const tray = new Tray(page.find("gift-tray"));
  for (const count of [1, 5, 3]) tray.show(gift({ combo: { id: "tap", count } }));
  assert.deepEqual(rows(page).map(({ dataset }) => [dataset.combo, dataset.count]), [["tap", "5"]]);
  tray.show(gift({ combo: { id: "tap", count: 1 }, from: person("bob") }));
  tray.show(gift({ combo: { id: "tap", count: 1 }, gift: shown("whale") }));
  assert.deepEqual(rows(page).map(({ dataset }) => [dataset.gift, dataset.count]),
    [["rose", "5"], ["rose", "1"], ["whale", "1"]]);
});

test("at most three rows are shown: the cheapest leaves, among equals the one unchanged for longest", async (page) => {
  const tray = new Tray(page.find("gift-tray"));
  for (const [id, tier] of /** @type {[string, number][]} */ ([["a", 2], ["b", 1], ["c", 1]])) {
    tray.show(gift({ gift: shown(id, tier), combo: { id, count: 1 } }));
    await pass(100);
  }
  tray.show(gift({ gift: shown("b", 1), combo: { id: "b", count: 2 } }));
  await pass(100);
  tray.show(of("d", 3));
  assert.deepEqual(names(page), ["a", "b", "c"]); // nobody could have read a row that goes at once
  await pass(1300);
  assert.deepEqual(names(page), ["a", "b", "d"]);
  tray.show(of("e", 1));
  assert.deepEqual(names(page), ["a", "b", "d"]);
});

test("in a burst every row stays its time, and the gifts wait, the most expensive first", async (page) => {
  const tray = new Tray(page.find("gift-tray"));
  for (let n = 0; n < 20; n++) tray.show(of(`n${n}`, 1));
  tray.show(of("dear", 2));
  assert.deepEqual(names(page), ["n0", "n1", "n2"]);
  await pass(1490);
  assert.deepEqual(names(page), ["n0", "n1", "n2"]);
  await pass(20);
  assert.deepEqual(names(page), ["n1", "n2", "dear"]);
  await pass(3000);
  assert.deepEqual(names(page).length, 3);
  assert.ok(names(page).includes("dear"));
  await pass(60_000, 100);
  assert.deepEqual(names(page), []);
});

test("gifts that have waited too long are not shown, and a streak that waits grows", async (page) => {
  const tray = new Tray(page.find("gift-tray"));
  for (let n = 0; n < 3; n++) tray.show(of(`n${n}`, 1));
  for (const count of [1, 7, 4]) tray.show(gift({ combo: { id: "tap", count } }));
  for (let n = 0; n < 30; n++) tray.show(of("late", 1));
  await pass(4510);
  assert.deepEqual(rows(page).map(({ dataset }) => dataset.count), ["7", "1", "1"]);
  const shownRows = new Set();
  for (let step = 0; step < 40; step++) {
    for (const row of page.all("tray-row")) shownRows.add(row);
    await pass(500, 100);
  }
  assert.ok(shownRows.size <= 9, `${shownRows.size} rows`);
});

test("a row stays longer the more its gift costs, and every further gift extends it", async (page) => {
  const tray = new Tray(page.find("gift-tray"));
  tray.show(of("cheap", 1));
  tray.show(of("dear", 4));
  await pass(4490);
  assert.deepEqual(names(page), ["cheap", "dear"]);
  await pass(10);
  assert.deepEqual(names(page), ["dear"]);
  await pass(2990);
  assert.deepEqual(names(page), ["dear"]);
  await pass(10);
  assert.deepEqual(names(page), []);
  const tap = () => tray.show(gift({ combo: { id: "tap", count: 1 } }));
  tap();
  await pass(4000);
  tap();
  await pass(4000);
  assert.equal(rows(page).length, 1);
});

test("a row fades before it goes", async (page) => {
  const tray = new Tray(page.find("gift-tray"));
  tray.show(of("a"));
  await pass(4500);
  assert.deepEqual([rows(page).length, page.all("tray-row").length], [0, 1]);
  await pass(300);
  assert.equal(page.all("tray-row").length, 0);
});
